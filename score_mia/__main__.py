"""`python -m score_mia COMMAND ...`; see score_mia.cli."""

from score_mia.cli import run

if __name__ == "__main__":
    run()

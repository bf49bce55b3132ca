"""`python -m score_mia COMMAND ...`, and the console script; see score_mia.cli."""

import sys

from score_mia import pages


def main() -> None:
    """Entry point of launch.py, of the console script and of `python -m score_mia`."""
    pages.restart(sys.argv)  # before anything is imported that takes a second
    from score_mia.cli import run

    run()


if __name__ == "__main__":
    main()

"""`python launch.py COMMAND --config=FILE --workdir=DIR`; see score_mia.cli."""

from score_mia.__main__ import main

if __name__ == "__main__":
    main()

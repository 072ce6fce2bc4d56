"""`python -m mcmargin`: the command line."""

from mcmargin.cli import main

if __name__ == "__main__":
    main()

"""`python -m mcmargin.cli`."""

from mcmargin.cli import main

if __name__ == "__main__":
    main()

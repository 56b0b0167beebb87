"""`python -m phase19`."""

from phase19.cli import main

if __name__ == "__main__":
    main()

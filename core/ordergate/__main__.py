"""`python -m ordergate` is the program `ordergate`."""

from ordergate.cli import main

if __name__ == "__main__":
    main()

"""`python -m ranvier` is the `ranvier` command."""

from ranvier.cli import main

if __name__ == "__main__":
    main()

"""`python -m ranvier` is the `ranvier` command."""

from .cli import main

if __name__ == "__main__":
    main()

"""Start of the `ranvier` command and of `python -m ranvier`. This file needs no optional package."""

import os
import sys


def main() -> None:
    """Run the command line; `--version` needs no extra, other commands need the extra `train`."""
    if sys.argv[1:] == ["--version"]:
        print(f"ranvier {version()}")
        return
    try:
        from ranvier.extras import needed

        with needed("the command line"):
            from ranvier import cli
    except ModuleNotFoundError as error:
        if os.environ.get("RANVIER_TRACE"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    cli.main()


def version() -> str:
    """Return the version of the installed package."""
    from importlib import metadata

    return metadata.version("ranvier")


if __name__ == "__main__":
    main()

"""The command ``factrfm``. It runs the installed packages even if others have the same names."""

from . import _packages


def main() -> None:
    """Run the command line."""
    _packages.load()
    from service.__main__ import main as run

    run()


if __name__ == "__main__":
    main()

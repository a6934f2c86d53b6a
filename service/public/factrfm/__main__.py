"""The command ``factrfm``. It runs the packages that it was installed with, whatever else has their names."""

from . import _packages


def main() -> None:
    """Run what the arguments say."""
    _packages.load()
    from service.__main__ import main as run

    run()


if __name__ == "__main__":
    main()

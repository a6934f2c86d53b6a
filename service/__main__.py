"""The program ``factrfm``: health checks at once, every other command by the command line."""

import sys

from service.local import health_check


def main() -> None:
    """Run what the arguments say."""
    code = health_check.answer(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    from service.cli import main as run

    run()


if __name__ == "__main__":
    main()

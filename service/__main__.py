"""The program ``factrfm``: plain health checks without imports, other commands by the command line."""

import sys

from service.local import health_check


def main() -> None:
    """Run the command line."""
    code = health_check.run(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    from service.cli import main as run

    run()


if __name__ == "__main__":
    main()

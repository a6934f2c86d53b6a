"""What the clients of a campaign ask for: tables and small jobs of every kind, the same for every campaign."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ROWS = {"small": (300, 6), "middle": (1100, 16), "many": (20_000, 16)}
FIT = {"iterations": 6, "ridge": 0.01, "kernel": "laplace", "encoding": "plain", "feature_matrix": "full"}
REFERENCE = "reference"
"""Name of the model that jobs of kind predict use."""


def table(name: str) -> bytes:
    """Return a table as npz. The target is a product of two columns, with noise."""
    n, d = ROWS[name]
    rng = np.random.default_rng(len(name))
    X = rng.normal(size=(n, d))
    body = io.BytesIO()
    np.savez(body, X=X, y=X[:, 0] * X[:, 1] + 0.1 * rng.normal(size=n))
    return body.getvalue()


def probe(name: str) -> np.ndarray:
    """Return rows that no training has seen."""
    return np.random.default_rng(99).normal(size=(40, ROWS[name][1]))


@dataclass(frozen=True)
class Recipe:
    """A job that gives the same result whenever it runs undisturbed. ``weight``: how often it is asked for."""

    name: str
    table: str
    body: dict[str, Any] = field(hash=False)
    weight: int = 1

    def request(self, datasets: dict[str, str]) -> dict[str, Any]:
        """Return the body of the request; ``datasets`` are the ids of the tables."""
        target = {} if self.body["kind"] == "predict" else {"target": "y"}
        return {**self.body, **target, "dataset": datasets[self.table]}


RECIPES = [
    Recipe("fit small", "small", {"kind": "fit", "spec": FIT}, 4),
    Recipe("fit diagonal", "small", {"kind": "fit", "spec": {**FIT, "feature_matrix": "diagonal"}}, 3),
    Recipe("fit middle", "middle", {"kind": "fit", "spec": {**FIT, "iterations": 12}}, 8),
    Recipe("fit gaussian", "middle", {"kind": "fit", "spec": {**FIT, "kernel": "gaussian", "iterations": 8}}, 4),
    Recipe("fit folds", "small", {"kind": "fit", "validation": {"folds": 2}, "spec": FIT}, 3),
    Recipe("fit folds middle", "middle", {"kind": "fit", "validation": {"folds": 3}, "spec": FIT}, 4),
    Recipe(
        "fit blocks",
        "middle",
        {
            "kind": "fit",
            "spec": {
                "solver": "blocks",
                "blocks": {"rows": 200, "learn": 3, "leaf": 250},
                "iterations": 2,
                "encoding": "plain",
                "exponent": 1.3,
                "feature_matrix": "full",
            },
        },
        4,
    ),
    Recipe("predict csv", "middle", {"kind": "predict", "model": REFERENCE, "format": "csv"}, 4),
    Recipe("predict many", "many", {"kind": "predict", "model": REFERENCE, "format": "parquet"}, 4),
    Recipe("predict parquet", "middle", {"kind": "predict", "model": REFERENCE, "format": "parquet"}, 3),
    Recipe(
        "tune",
        "small",
        {
            "kind": "tune",
            "spec": {**FIT, "iterations": 4},
            "search": {"trials": 12, "space": {"ridge": {"low": 1e-3, "high": 1.0, "log": True}}},
        },
        3,
    ),
    Recipe(
        "network",
        "small",
        {"kind": "network", "spec": {"hidden": [16], "steps": 300, "report_every": 50}},
        3,
    ),
]
POISON = Recipe("poison", "middle", {"kind": "fit", "spec": {**FIT, "iterations": 500}})

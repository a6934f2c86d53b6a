"""A messy table: its two files as they are, the same rows cleaned by hand, and how pandas reads it plainly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

TARGET = "target"
"""The target's name in a cleaned copy."""


@dataclass(frozen=True)
class Export:
    """``train`` and ``test`` are files of the same form, ``suffix`` tells which; ``target`` is its name in them.

    The cleaned copies have the rows of the files in their order, and ``TARGET``, missing where the file has none; in
    ``test`` every row has one. ``read`` is what a user of pandas writes to have a frame at all, and changes no cell.
    """

    name: str
    suffix: str
    target: str
    classes: bool
    train: bytes
    test: bytes
    clean_train: pd.DataFrame
    clean_test: pd.DataFrame
    read: Callable[[bytes], pd.DataFrame]

    def error(self, answers: Sequence[object]) -> float:
        """Return the share of wrong classes, or the RMSE over the deviation of the target."""
        if len(answers) != len(self.clean_test):
            raise ValueError(f"{self.name}: {len(answers)} predictions of {len(self.clean_test)} rows")
        truth = self.clean_test[TARGET]
        if self.classes:
            wrong = sum(str(answer) != label for answer, label in zip(answers, truth, strict=True))
            # an error of nothing has no ratio to another: half a row stands for it
            return max(wrong, 0.5) / len(truth)
        apart = np.asarray(answers, dtype=float) - truth.to_numpy(dtype=float)
        return float(np.sqrt(np.mean(apart**2)) / np.std(truth.to_numpy(dtype=float)))


def calendar(dates: pd.Series, name: str) -> dict[str, pd.Series]:
    """Return the columns that careful hands make of dates: days, month, weekday, and the hour where it varies."""
    found = {
        f"{name}_days": (dates - pd.Timestamp("2000-01-01")) / pd.Timedelta(days=1),
        f"{name}_month": dates.dt.month,
        f"{name}_weekday": dates.dt.weekday,
    }
    if (dates.dropna().dt.hour != 0).any():
        found[f"{name}_hour"] = dates.dt.hour
    return found

"""Write predictions to files: a column per target, and the probabilities of classes."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.ipc
import pyarrow.parquet as pq

from worker.contracts.base import Label
from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.spreadsheets import shown_table

Format = Literal["parquet", "csv", "arrow"]
PREFIX = "kept:"
"""In front of the name of a kept column that a column of the answer has too."""
MEDIA_TYPES: dict[Format, str] = {"parquet": media.PARQUET, "csv": media.CSV, "arrow": media.ARROW_FILE}


NOTHING_KEPT = pa.schema([])


class TableWriter:
    """Writes tables with one schema to one file, in order. ``spreadsheet``: see ``spreadsheets``."""

    def __init__(self, path: Path, form: Format, schema: pa.Schema, *, spreadsheet: bool = False) -> None:
        self._shown = shown_table if spreadsheet and form == "csv" else lambda table: table
        schema = self._shown(schema.empty_table()).schema
        writers: dict[Format, Any] = {
            "parquet": lambda: pq.ParquetWriter(path, schema),
            "csv": lambda: pa_csv.CSVWriter(path, schema),
            "arrow": lambda: pa.ipc.new_file(str(path), schema),
        }
        self._writer = writers[form]()

    def write_table(self, table: pa.Table) -> None:
        """Append rows."""
        self._writer.write_table(self._shown(table))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


class PredictionWriter(TableWriter):
    """Writes blocks of predictions to one file, in order."""

    def __init__(
        self,
        path: Path,
        form: Format,
        targets: Sequence[ModelColumn],
        classes: Sequence[Label] | None,
        *,
        spreadsheet: bool = False,
        kept: pa.Schema = NOTHING_KEPT,
    ) -> None:
        """``kept``: the columns of rows that stand in front of their answers."""
        self._names = [column.name for column in targets]
        self._classes = classes
        nothing = prediction_table(self._names, classes, *_nothing(len(targets), classes))
        super().__init__(path, form, beside(kept.empty_table(), nothing).schema, spreadsheet=spreadsheet)

    def write(self, predictions: np.ndarray, probabilities: np.ndarray | None, kept: pa.Table | None = None) -> None:
        """Append rows: labels (n,) with probabilities (n, classes), or outputs (n, targets)."""
        answer = prediction_table(self._names, self._classes, predictions, probabilities)
        self.write_table(answer if kept is None else beside(kept, answer))


def beside(kept: pa.Table, answer: pa.Table) -> pa.Table:
    """Return kept columns of rows and behind them their answers."""
    taken = set(answer.column_names)
    names = [f"{PREFIX}{name}" if name in taken else name for name in kept.column_names]
    return pa.Table.from_arrays([*kept.columns, *answer.columns], names=[*names, *answer.column_names])


def prediction_table(
    names: Sequence[str], classes: Sequence[Label] | None, predictions: np.ndarray, probabilities: np.ndarray | None
) -> pa.Table:
    """Return predictions as a table; the column ``probability:k`` holds the probability of class k."""
    if classes is None or probabilities is None:
        return pa.table({name: pa.array(predictions[:, index]) for index, name in enumerate(names)})
    # taking the predicted labels by class index avoids Python objects
    columns = {names[0]: label_array(classes).take(pa.array(probabilities.argmax(axis=1)))}
    columns |= {f"probability:{_text(label)}": probabilities[:, index] for index, label in enumerate(classes)}
    return pa.table(columns)


def label_array(classes: Sequence[Label]) -> pa.Array:
    """Return labels as an Arrow array; integers beyond int64 are uint64."""
    wide = any(type(label) is int and label >= 2**63 for label in classes)
    return pa.array(classes, pa.uint64()) if wide else pa.array(classes)


def _text(label: Label) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)


def _nothing(outputs: int, classes: Sequence[Label] | None) -> tuple[np.ndarray, np.ndarray | None]:
    if classes is None:
        return np.empty((0, outputs)), None
    return np.empty(0, dtype=object), np.empty((0, len(classes)))

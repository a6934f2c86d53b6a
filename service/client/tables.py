"""Conversion between request bodies and files, data frames and arrays."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worker.tables.frames import checked, frame_table, mapping_table
from worker.tables.media import COMPRESSED, NPY, NPZ, PARQUET, SUFFIXES, form_of


@dataclass(frozen=True)
class Body:
    """A body that is opened for every try. ``rebuild`` converts an answer to the type of the input."""

    open: Callable[[], BinaryIO]
    media_type: str
    encoding: str | None = None
    name: str | None = None
    rebuild: Callable[[pa.Table], Any] = lambda table: table

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe the body."""
        headers = {"Content-Type": self.media_type}
        return headers if self.encoding is None else {**headers, "Content-Encoding": self.encoding}


def body_of(data: Any) -> Body:
    """Return the body for a path, a data frame, an Arrow table, a mapping of columns, or a pair of arrays (X, y).

    Raises:
        TypeError: it is none of these.
        ValueError: a file's name tells no form, or arrays do not go together.
        OSError: a file cannot be read.
    """
    if isinstance(data, str | Path):
        return _of_file(Path(data))
    if isinstance(data, tuple) and len(data) == 2:
        return _of_arrays(*data)
    if isinstance(data, np.ndarray) and data.dtype.hasobject:
        raise TypeError("an array of numbers is a matrix; one that holds objects has no types: give a DataFrame")
    if isinstance(data, np.ndarray):
        return _in_memory(_saved(lambda target: np.save(target, data, allow_pickle=False)), NPY, _to_array)
    if isinstance(data, pa.Table):
        return _of_table(data, lambda table: table)
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _of_pandas(data)
    if hasattr(data, "to_arrow") and hasattr(data, "columns"):
        return _of_table(frame_table(data), lambda table: type(data)(table))
    if isinstance(data, Mapping):
        if any(isinstance(column, str) or not hasattr(column, "__len__") for column in data.values()):
            raise TypeError("a mapping holds columns, each a list: {'rooms': [3], 'city': ['Bern']}")
        return _of_table(mapping_table(data), lambda table: table.to_pydict())
    raise TypeError(
        f"a table is a path, a pandas or polars DataFrame, a pyarrow Table, a mapping of columns or a pair of arrays "
        f"(X, y), not {type(data).__name__}; one row of a DataFrame is frame.loc[[label]] or series.to_frame().T"
    )


def table_of(data: Any) -> Body:
    """Return the body for a table to upload.

    Raises:
        TypeError, ValueError, OSError: see ``body_of``; a matrix alone has no names and no target.
    """
    body = body_of(data)
    if body.media_type == NPY:
        raise ValueError(
            "a matrix alone has no target: give a pair of arrays (X, y), a file .npz, or a table with names"
        )
    return body


def rows_of(data: Any) -> Body:
    """Return the body for rows to predict or to explain.

    Raises:
        TypeError, ValueError, OSError: see ``body_of``; arrays with a target are no rows.
    """
    body = body_of(data)
    if body.media_type == NPZ:
        raise ValueError("an npz and a pair of arrays are for training; rows are one matrix: an array, or a file .npy")
    return body


def read_answer(content: bytes, body: Body, *, probabilities: bool) -> Any:
    """Return predictions in the type of the input; without ``probabilities`` the targets alone.

    Raises:
        ValueError: the model is a regression, and ``probabilities`` are asked for.
    """
    with pa.ipc.open_stream(content) as reader:
        table = reader.read_all()
    targets = [name for name in table.column_names if not name.startswith("probability:")]
    if not probabilities:
        table = table.select(targets)
    elif len(targets) == table.num_columns:
        raise ValueError("the model is a regression and has no probabilities")
    return body.rebuild(table)


def _of_file(path: Path) -> Body:
    media_type, encoding = form_of(path.name)
    if media_type is None:
        raise ValueError(
            f"{path}: the name must end in {', '.join(SUFFIXES)}, or one of these and {' or '.join(COMPRESSED)}; "
            "a dataset that is there is named by its id, ds_…"
        )
    with path.open("rb"):
        # raises OSError now, and not in the middle of a request
        return Body(lambda: path.open("rb"), media_type, encoding, path.name.partition(".")[0] or None)


def _of_arrays(X: Any, y: Any) -> Body:
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y):
        raise ValueError(f"arrays must be X (n, d) and y (n,) or (n, c), not {X.shape} and {y.shape}")
    return _in_memory(_saved(lambda target: np.savez(target, X=X, y=y)), NPZ)


def _of_pandas(frame: Any) -> Body:
    def rebuild(answer: pa.Table) -> Any:
        return answer.to_pandas().set_axis(frame.index, axis=0)

    return _of_table(frame_table(frame), rebuild)


def _of_table(table: pa.Table, rebuild: Callable[[pa.Table], Any]) -> Body:
    return _in_memory(_saved(lambda target: pq.write_table(checked(table), target)), PARQUET, rebuild)


def _to_array(answer: pa.Table) -> np.ndarray:
    columns = [answer.column(index).to_numpy() for index in range(answer.num_columns)]
    return columns[0] if len(columns) == 1 else np.column_stack(columns)


def _saved(write: Callable[[BinaryIO], object]) -> bytes:
    target = io.BytesIO()
    write(target)
    return target.getvalue()


def _in_memory(content: bytes, media_type: str, rebuild: Callable[[pa.Table], Any] = lambda table: table) -> Body:
    return Body(lambda: io.BytesIO(content), media_type, rebuild=rebuild)

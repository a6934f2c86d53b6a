"""Tables of every type of column in every form, for tests of what a cell means."""

import datetime as dt
import decimal
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

from service.client.tables import body_of
from support.tables import as_file, as_npz, as_parquet, as_stream
from worker.tables import media
from worker.tables.frames import frame_table

ROWS = 12
TEXTS = ["NA", "None", "?", "", " x", "x ", "\tx", "\u00a0x", "x", "y", "1.50", "1.5", "TRUE", "true", "007", "1e0"]
TEXTS += ["a,b", 'q"q', "two\nlines", "2020-01-01T00:00:00", "N/A", "é"]


def texts_of(*choices: str) -> st.SearchStrategy[list[str | None]]:
    return st.lists(st.sampled_from([*choices, None]), min_size=ROWS, max_size=ROWS)


def series(cells: st.SearchStrategy[list[Any]], dtype: str | type) -> st.SearchStrategy[pd.Series]:
    return cells.map(lambda found: pd.Series(found, dtype=dtype))


def permuted(values: list[Any], dtype: str | type) -> st.SearchStrategy[pd.Series]:
    return st.permutations(values).map(lambda found: pd.Series(found, dtype=dtype))


NUMBERS = [-2, 0, 1, 1, 3, 7, 8, 8, 9, 10, 11, 2**40]
HALVES = [0.5, -1.5, 2.0, 2.0, 3.25, 1e300, 1e-300, 0.0, 7.0, 8.0, 9.0, 12.125]
GAPS = [None, *NUMBERS[1:]]
MOMENTS = pd.to_datetime(["2020-01-01", "2020-01-01 05:00", "2021-03-04 05:06:07", None] * 3, format="ISO8601")
DTYPES = {
    "object texts": series(texts_of(*TEXTS), object),
    "str": series(texts_of(*TEXTS), "str"),
    "string[python]": series(texts_of(*TEXTS), "string[python]"),
    "string[pyarrow]": series(texts_of(*TEXTS), "string[pyarrow]"),
    "category of texts": series(texts_of(*TEXTS), "category"),
    "category of integers": permuted(NUMBERS, "category"),
    "category of integers with gaps": permuted(GAPS, "category"),
    "category of floats": permuted(HALVES, "category"),
    "category of booleans": permuted([True, False] * 6, "category"),
    "numbers as texts": permuted(["1.5", "1.50", "2", "1e0", " 3", "+4", "-1", "NA", "5", "6", "7", "8"], object),
    "booleans as texts": permuted(["true", "True", "FALSE", "false", "TRUE ", "NA"] * 2, object),
    "codes as texts": permuted(["007", "7", "0123", "80331", "x", "08", "8", "10", "00", "0", "1", "01"], object),
    "int8": permuted([0, 1, 2, 3] * 3, "int8"),
    "int64": permuted(NUMBERS, "int64"),
    "Int64": permuted(GAPS, "Int64"),
    "int64[pyarrow]": permuted(GAPS, "int64[pyarrow]"),
    "uint64": permuted([2**64 - 1, 2**63, *range(10)], "uint64"),
    "float64": permuted([np.nan, *HALVES[1:]], "float64"),
    "Float32": permuted([None, 0.1, 0.57, -2.25] * 3, "Float32"),
    "float16": permuted([0.5, 1.5, -2.25] * 4, "float16"),
    "Decimal": permuted([*map(decimal.Decimal, ("1.50", "0.57", "340.28")), None] * 3, object),
    "bool": permuted([True, False] * 6, "bool"),
    "boolean": permuted([True, False, None] * 4, "boolean"),
    "objects that are numbers": permuted([1, 2.5, 3, None] * 3, object),
    "objects of several kinds": permuted(
        [1, 2.0, 2.5, "x", "NA", True, None, decimal.Decimal("4.50"), "7", 8, " y", 9], object
    ),
    "dates": permuted([dt.date(2020, 1, 1), dt.date(2020, 1, 2), None] * 4, object),
    **{f"datetime64[{unit}]": permuted(list(MOMENTS), f"datetime64[{unit}]") for unit in ("s", "ms", "us", "ns")},
    "datetime64[us, UTC]": permuted([*MOMENTS[:3].tz_localize("UTC")] * 4, "datetime64[us, UTC]"),
}


def _cell(value: Any) -> Any:
    """A cell as JSON has it."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, dt.date) else value


def _csv(frame: pd.DataFrame, separator: str) -> bytes:
    return frame.to_csv(index=False, sep=separator).encode()


def json_table(frame: pd.DataFrame) -> dict[str, list[Any]]:
    rows = [[_cell(value) for value in row] for row in frame.astype(object).itertuples(index=False)]
    return {"columns": list(frame), "rows": rows}


def json_shapes(frame: pd.DataFrame) -> dict[str, dict[str, list[Any]]]:
    """Return every shape of a table in JSON, by its name."""
    table = json_table(frame)
    names, rows = table["columns"], table["rows"]
    return {
        "lists": table,
        "data": {"columns": names, "data": rows},
        "objects": {"rows": [dict(zip(names, row, strict=True)) for row in rows]},
    }


def cells_as_texts(frame: pd.DataFrame) -> list[list[str]]:
    """Return rows of texts; nothing is an empty one."""
    return [["" if cell is None else as_text(cell) for cell in row] for row in json_table(frame)["rows"]]


def _wide_texts(frame: pd.DataFrame) -> bytes:
    """An npz of fixed-width texts."""
    return as_npz(X=np.array(cells_as_texts(frame), dtype="U"), feature_names=np.array(list(frame)))


def as_text(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


FORMS: dict[str, Callable[[pd.DataFrame], tuple[bytes, str]]] = {
    "CSV": lambda frame: (_csv(frame, ","), media.CSV),
    "TSV": lambda frame: (_csv(frame, "\t"), media.TSV),
    "Parquet": lambda frame: (as_parquet(frame_table(frame)), media.PARQUET),
    "Parquet of pandas": lambda frame: (_pandas_parquet(frame), media.PARQUET),
    "Arrow file": lambda frame: (as_file(frame_table(frame)), media.ARROW_FILE),
    "Arrow stream": lambda frame: (as_stream(frame_table(frame)), media.ARROW_STREAM),
    "NPZ of texts": lambda frame: (_wide_texts(frame), media.NPZ),
    **{
        f"JSON, {shape}": lambda frame, shape=shape: (json.dumps(json_shapes(frame)[shape]).encode(), media.JSON)
        for shape in ("lists", "data", "objects")
    },
    "frame of the client": lambda frame: (body_of(frame).open().read(), body_of(frame).media_type),
}


def _pandas_parquet(frame: pd.DataFrame) -> bytes:
    target = io.BytesIO()
    try:
        frame.to_parquet(target, index=False)
    except (pa.ArrowException, OverflowError):
        # pandas writes no column of several kinds
        return as_parquet(frame_table(frame))
    return target.getvalue()

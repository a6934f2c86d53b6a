"""Original texts, stored beside the numbers and booleans that were parsed from them.

A model may read a column as categories that is numeric, boolean or empty in a dataset: there `1.50`, `TRUE` and `NA`
may be categories. So a stored table has a second column with the texts that the value does not reproduce, and null
elsewhere. Its name holds a NUL, which no name in a file does. Columns that reproduce every text have none, nor have
tables of older versions.
"""

from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.resources import ModelColumn
from worker.tables import values

SUFFIX = "\0written"
TEXT_TYPE = values.DECLARED


def text_column_name(name: str) -> str:
    """Return the name of the column with the original texts of a column."""
    return name + SUFFIX


def differing(texts: pa.Array, parsed: pa.Array) -> pa.Array:
    """Return the texts that the parsed values do not reproduce, null elsewhere."""
    same = pc.equal(texts, values.typed("", parsed, "categorical"))
    return pc.if_else(same.fill_null(False) if same.null_count else same, None, texts)


def any_differs(texts: pa.Array, parsed: pa.Array) -> bool:
    """Return whether the parsed values fail to reproduce a text."""
    return bool(differing(texts, parsed).null_count < len(texts))


def categories_among(columns: Sequence[ModelColumn]) -> list[str]:
    """Return the names of the columns that are read as the texts of their cells."""
    return [column.name for column in columns if column.type in values.AS_TEXTS]


def columns_to_read(stored: Sequence[str], columns: Sequence[str] | None, as_texts: Collection[str]) -> list[str]:
    """Return the names of the stored columns for ``columns`` (None: all) and for ``restore_texts``."""
    names = [name for name in stored if not name.endswith(SUFFIX)] if columns is None else list(columns)
    return names + [name for name in map(text_column_name, as_texts) if name in set(stored)]


def restore_texts(table: pa.Table) -> pa.Table:
    """Return a table with original texts in place of the parsed values."""
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return pa.table({name: _restore_column(name, columns) for name in columns if not name.endswith(SUFFIX)})


def _restore_column(name: str, columns: dict[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    texts = columns.get(text_column_name(name))
    if texts is None:
        return columns[name]
    parsed = pa.chunked_array([values.typed(name, chunk, "categorical") for chunk in columns[name].chunks], pa.string())
    return pc.coalesce(texts.cast(pa.string()), parsed)

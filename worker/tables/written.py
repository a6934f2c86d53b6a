"""Texts as they were written, beside the numbers and truth values that were made of them.

A model may have a column as categories where a dataset has it as numbers or truth values, or as empty: there `1.50`,
`TRUE` and `NA` may stand for themselves. So a stored table keeps such texts in a column of their own, wherever the
value does not give them back, and null elsewhere. Its name holds a NUL, which no name in a file does. Columns of which
every text is given back have none, and neither have tables of before.
"""

from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.resources import ModelColumn
from worker.tables import values

SUFFIX = "\0written"
TYPE = values.DECLARED


def texts_of(name: str) -> str:
    """Return the name of the column that holds the texts of a column."""
    return name + SUFFIX


def differing(texts: pa.Array, made: pa.Array) -> pa.Array:
    """Return the texts that what was made of them does not give back; null in the place of others."""
    same = pc.equal(texts, values.typed("", made, "categorical"))
    return pc.if_else(same.fill_null(False) if same.null_count else same, None, texts)


def any_differs(texts: pa.Array, made: pa.Array) -> bool:
    """Return whether what was made of texts does not give one of them back."""
    return bool(differing(texts, made).null_count < len(texts))


def categories_among(columns: Sequence[ModelColumn]) -> list[str]:
    """Return the names of the columns that a model has as categories."""
    return [column.name for column in columns if column.type == "categorical"]


def to_read(stored: Sequence[str], columns: Sequence[str] | None, as_texts: Collection[str]) -> list[str]:
    """Return the names to read of a stored table for ``columns`` (None: all) and what ``restored`` needs."""
    own = [name for name in stored if not name.endswith(SUFFIX)] if columns is None else list(columns)
    return own + [name for name in map(texts_of, as_texts) if name in set(stored)]


def restored(table: pa.Table) -> pa.Table:
    """Return what was read of a stored table, with texts as they were written in the place of what was made of them."""
    found = dict(zip(table.column_names, table.columns, strict=True))
    return pa.table({name: _restored(name, found) for name in found if not name.endswith(SUFFIX)})


def _restored(name: str, found: dict[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    texts = found.get(texts_of(name))
    if texts is None:
        return found[name]
    own = pa.chunked_array([values.typed(name, one, "categorical") for one in found[name].chunks], pa.string())
    return pc.coalesce(texts.cast(pa.string()), own)

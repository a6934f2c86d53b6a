"""Columns of the rows of a request that its answer repeats."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import pyarrow as pa
from fastapi import Query
from pydantic import Field

from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest
from worker.contracts.requests import MAX_KEPT
from worker.tables import media
from worker.tables.close_names import did_you_mean, shown
from worker.tables.files.raw_table import MAX_NAME_LENGTH, is_numbered
from worker.tables.rows import json_rows
from worker.tables.rows.table_rows import file_table
from worker.tables.values import decoded_type, is_text, typed

Keep = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=10 * MAX_NAME_LENGTH)]] | None,
    Query(
        max_length=MAX_KEPT,
        description="Columns of the rows to repeat in the answer: names separated by commas, or one a parameter. In "
        "CSV and Arrow they come first, and one that is called as a column of the answer is called kept:<name>; in "
        "JSON they are in kept. An NPY answer and NPY rows have none.",
    ),
]


class KeptColumns:
    """The columns that a request names; ``table`` once its rows are read."""

    def __init__(self, named: Sequence[str]) -> None:
        self._named = named
        self.table: pa.Table = pa.table({})

    def read(self, body: bytes, media_type: str, header: bool | None, max_rows: int) -> None:
        """Take the columns from a body. ``header``: see ``readers.read``.

        Raises:
            InvalidRequest: a column is not there; it is named, with those that may be meant. Or see ``RowReader.read``.
            UnreadableTable, TableTooLarge: see ``RowReader.read``.
        """
        if media_type == media.JSON:
            columns = json_rows.columns_of(json_rows.parsed(body))
            names = self._resolved(list(columns))
            self.table = pa.table({name: json_rows.column_of(name, columns[name]) for name in names})
        elif media_type == media.NPY:
            raise InvalidRequest.at("query:keep", "an npy body has no names of columns to keep")
        else:
            unnamed = header is None and all(map(is_numbered, self._named))
            self.take(file_table(body, media_type, max_rows, False if unnamed else header))

    def take(self, table: pa.Table) -> None:
        """Take the columns from a table of all cells of the rows.

        Raises:
            InvalidRequest: see ``read``.
        """
        chosen = table.select(self._resolved(table.column_names))
        self.table = pa.table(
            {name: _plain(name, column) for name, column in zip(chosen.column_names, chosen, strict=True)}
        )

    def _resolved(self, names: Sequence[str]) -> list[str]:
        there = set(names)
        # a name may hold a comma
        wanted = [name for text in self._named for name in ([text] if text in there else text.split(","))]
        wanted = [name if name in there else name.strip() for name in wanted]
        wanted = list(dict.fromkeys(name for name in wanted if name))
        unknown = [name for name in wanted if name not in there]
        if unknown:
            told = "; ".join(f"{shown(name)!r}{did_you_mean(name, names)}" for name in unknown[:3])
            raise InvalidRequest.at("query:keep", f"the rows have no column to keep that is called {told}")
        return wanted

    def cells(self) -> Mapping[str, list[Label | None]]:
        """Return the cells by column; numbers that JSON lacks are None."""
        return {
            name: [
                None if isinstance(cell, float) and not abs(cell) < float("inf") else cell
                for cell in column.to_pylist()
            ]
            for name, column in zip(self.table.column_names, self.table.columns, strict=True)
        }


def _plain(name: str, column: pa.ChunkedArray) -> pa.Array:
    """Return a column of numbers, booleans or texts as it is, and others as texts."""
    kind = decoded_type(column.type)
    array = column.combine_chunks()
    array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    if pa.types.is_dictionary(column.type):
        array = array.dictionary_decode()
    simple = is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return array if simple else typed(name, array, "categorical")

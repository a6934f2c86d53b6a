"""From an uploaded file to the typed table and the statistics of its columns."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from worker.contracts.errors import UnreadableTable
from worker.contracts.reading import ReadingOptions
from worker.contracts.resources import Column, DroppedColumn, Reading
from worker.tables.cells import dates
from worker.tables.delimited.header import FirstRowIsData
from worker.tables.files.describe import Blocks, describe
from worker.tables.files.free_text import as_free_text
from worker.tables.files.inference import ColumnForm, check_cells, column_forms
from worker.tables.files.raw_table import NO_HEADER, Limits, RawTable
from worker.tables.files.readers import OPEN, read
from worker.tables.storage import ROW_GROUP, iter_column, open_table
from worker.tables.values import AS_TEXTS, canonical

GROUP_BYTES = 2**23


@dataclass(frozen=True)
class IngestedTable:
    rows: int
    columns: list[Column]
    reading: Reading | None = None


def ingest(
    source: Path,
    media_type: str,
    destination: Path,
    *,
    max_cells: int,
    max_bytes: int,
    options: ReadingOptions = OPEN,
) -> IngestedTable:
    """Write the typed table of ``source`` to ``destination`` as Parquet, and describe its columns.

    Memory is bounded by a row group, whatever the length of the table. ``options``: see ``readers.read``; a first row
    of data is a row unless they say that it holds the names.

    Raises:
        UnreadableTable: naming row and column if they are known.
        TableTooLarge: more than ``max_cells`` cells or ``max_bytes`` bytes.
    """
    limits = Limits(max_bytes, max_cells)
    raw = read(source, media_type, limits, options)
    try:
        forms = column_forms(raw, max_cells)
    except FirstRowIsData:
        raw = read(source, media_type, limits, options.model_copy(update={"header": False}))
        forms = column_forms(raw, max_cells)
    raw, forms = _without_empty(raw, forms)
    rows = _write(raw, forms, destination, max_cells)
    if rows == 0:
        raise UnreadableTable(f"the table has a header and no rows{f'; {NO_HEADER}' if raw.guessed_header else ''}")
    with open_table(destination) as file:
        columns = [
            _described(name, form, _blocks(file, name, rows, form), raw, rows, options, destination.parent)
            for name, form in zip(raw.names, forms, strict=True)
        ]
    return IngestedTable(rows, _indexed(columns, rows, raw), raw.reading)


def _described(
    name: str, form: ColumnForm, blocks: Blocks, raw: RawTable, rows: int, options: ReadingOptions, folder: Path
) -> Column:
    """Return a column with its statistics, and what told its type."""
    told = {
        "missing_words": options.missing,
        "decimal": form.decimal,
        "date_order": form.date_order,
        "inferred_from": form.inferred_from,
    }
    column = describe(name, form.type, blocks, folder, index=name in raw.index).model_copy(update=told)
    return as_free_text(column, rows, blocks)


def _without_empty(raw: RawTable, forms: list[ColumnForm]) -> tuple[RawTable, list[ColumnForm]]:
    """Return a table and its forms without the columns that have neither a name nor a value."""
    empty = [name for name, form in zip(raw.names, forms, strict=True) if form.empty and name in raw.unnamed]
    if raw.reading is None or not empty or len(empty) == len(forms):
        return raw, forms
    places = [place for place, name in enumerate(raw.names) if name not in empty]
    reading = raw.reading.model_copy(
        update={
            "dropped_columns": [DroppedColumn(column=name, reason="it has no name and no value") for name in empty],
            "renamed": {name: old for name, old in raw.reading.renamed.items() if name not in empty},
        }
    )
    table = replace(
        raw,
        names=[raw.names[place] for place in places],
        batches=lambda: ([batch[place] for place in places] for batch in raw.batches()),
        reading=reading,
    )
    return table, [forms[place] for place in places]


def _indexed(columns: list[Column], rows: int, raw: RawTable) -> list[Column]:
    """Return columns of which a first one without a name, whose values name the rows, is the index of a data frame."""
    first, *others = columns
    names_rows = first.distinct == rows > 1 and (first.integer or first.type in (*AS_TEXTS, "datetime"))
    if raw.reading is None or not raw.reading.header or first.name not in raw.unnamed or not names_rows:
        return columns
    return [first.model_copy(update={"index": True}), *others]


def _blocks(file: pq.ParquetFile, name: str, rows: int, form: ColumnForm) -> Blocks:
    """Return a function that yields the blocks of a column; a single block is read only once. Dates are seconds."""

    def read(block: pa.Array) -> pa.Array:
        cells = canonical(block)
        return dates.seconds(cells, form.date_order) if form.type == "datetime" else cells

    if rows > ROW_GROUP:
        return lambda: map(read, iter_column(file, name))
    blocks = [read(block) for block in iter_column(file, name)]
    return lambda: iter(blocks)


def _write(raw: RawTable, forms: list[ColumnForm], destination: Path, max_cells: int) -> int:
    schema = pa.schema([field for name, form in zip(raw.names, forms, strict=True) for field in form.fields(name)])
    rows = 0
    group: list[pa.RecordBatch] = []
    group_rows, group_bytes = 0, 0
    with pq.ParquetWriter(destination, schema) as writer:
        for batch in raw.batches():
            rows += len(batch[0])
            check_cells(rows, len(forms), max_cells)
            parts = [form.parts(name, column) for name, form, column in zip(raw.names, forms, batch, strict=True)]
            columns = [array for arrays in parts for array in arrays]
            group.append(pa.record_batch(columns, schema=schema))
            group_rows += group[-1].num_rows
            group_bytes += group[-1].nbytes
            # combine small batches: each row group has an entry in the file's footer, which is in memory
            if group_bytes >= GROUP_BYTES or group_rows >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(group), row_group_size=ROW_GROUP)
                group, group_rows, group_bytes = [], 0, 0
        if group:
            writer.write_table(pa.Table.from_batches(group), row_group_size=ROW_GROUP)
    return rows

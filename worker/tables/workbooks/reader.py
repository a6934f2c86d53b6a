"""Read a sheet of an XLSX workbook as a table."""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import python_calamine as calamine

from worker.contracts.errors import UnreadableTable
from worker.contracts.reading import ReadingOptions
from worker.tables.close_names import did_you_mean, shown
from worker.tables.delimited.dialect import Dialect
from worker.tables.delimited.reader import CutText, open_cut_text
from worker.tables.files.raw_table import Limits, RawTable
from worker.tables.values import without_missing
from worker.tables.workbooks.package import SAVE, check_is_workbook, check_memory, plain_copy
from worker.tables.workbooks.sheet import NUMBER, Cell, WrittenSheet, write_sheet

NAMED = 20
"""Sheets that a message names."""


def read_workbook(source: Path, options: ReadingOptions, limits: Limits) -> RawTable:
    """Open a sheet of a workbook. ``options``: see ``readers.read``.

    Its rows become a text of separated cells, which is read as such a text is: names, titles and blank rows are found
    alike. A column of numbers or of booleans stays one, with what is no value where a cell holds an error.

    Raises:
        UnreadableTable: the file is no workbook, or has no such sheet, or none with cells.
        TableTooLarge: it, or one of its sheets, is too large.
    """
    check_is_workbook(source)
    header = options.header is not False
    text = _TextFile(source.parent)
    with plain_copy(source, limits.max_bytes) as copy, text.path.open("w", encoding="utf-8", newline="") as target:
        check_memory(Path(copy.name), limits.max_cells)
        name, written = _written(Path(copy.name), options.sheet, lambda rows: write_sheet(rows, target, header=header))
    table = open_cut_text(CutText(text.path, text, Dialect(",")), header=options.header)
    if table.reading is None:
        raise AssertionError("a text tells how it was read")
    reading = table.reading.model_copy(
        update={"separator": None, "encoding": None, "skipped_rows": written.skipped, "sheet": name}
    )
    return replace(table, reading=reading, batches=lambda: _typed(table, written.kinds))


class _TextFile:
    """An empty file that is deleted with this object, unless its folder already was."""

    def __init__(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(dir=folder, prefix="sheet-")
        os.close(handle)
        self.path = Path(name)
        weakref.finalize(self, self.path.unlink, missing_ok=True)


def _written(
    workbook: Path, named: str | None, write: Callable[[Iterator[list[Cell]]], WrittenSheet]
) -> tuple[str, WrittenSheet]:
    """Write the sheet that is named, else the first visible one with cells. Return its name too."""
    try:
        with calamine.CalamineWorkbook.from_path(workbook) as book:
            sheets = [
                sheet
                for sheet in sorted(
                    book.sheets_metadata, key=lambda one: one.visible != calamine.SheetVisibleEnum.Visible
                )
                if sheet.typ == calamine.SheetTypeEnum.WorkSheet
            ]
            names = [sheet.name for sheet in sheets]
            if named is not None and named not in names:
                told = ", ".join(repr(shown(name)) for name in names[:NAMED])
                raise UnreadableTable(
                    f"the workbook has no sheet {shown(named)!r}{did_you_mean(named, names)}; it has {told or 'none'}"
                    f"{', …' if len(names) > NAMED else ''}"
                )
            for name in names if named is None else [named]:
                sheet = book.get_sheet_by_name(name)
                if sheet.start is not None:
                    return name, write(sheet.iter_rows())
    except BaseException as error:
        # the panics of Rust are no Exception
        if not isinstance(error, calamine.CalamineError) and type(error).__module__ != "pyo3_runtime":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UnreadableTable(f"the workbook cannot be read: {reason}; open it in Excel and {SAVE}") from error
    what = "no sheet of the workbook has cells" if named is None else f"the sheet {shown(named)!r} has no cells"
    raise UnreadableTable(f"{what}; a table has a row of names and at least one row")


def _typed(table: RawTable, kinds: list[str | None]) -> Iterator[list[pa.Array]]:
    """Yield batches with columns of numbers and of booleans as such."""
    types = {kind: pa.float64() if kind == NUMBER else pa.bool_() for kind in kinds if kind is not None}
    for batch in table.batches():
        yield [
            column if kind is None else without_missing(column, ()).cast(types[kind])
            for column, kind in zip(batch, kinds, strict=True)
        ]

"""Escape texts that a spreadsheet program would run as formulas (CSV injection).

A spreadsheet takes a CSV cell that begins with one of MARKS for a formula. A leading apostrophe makes it a text. That
changes the data, so it is optional.
"""

import pyarrow as pa

MARKS = ("=", "+", "-", "@", "\t", "\r", "\n")


def shown(text: str) -> str:
    """Return ``text``, with a leading apostrophe if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(MARKS) else text


def shown_table(table: pa.Table) -> pa.Table:
    """Return the table with escaped texts and column names."""
    columns = [
        pa.array([None if text is None else shown(text) for text in column.to_pylist()], pa.string())
        if pa.types.is_string(column.type)
        else column
        for column in table.columns
    ]
    return pa.Table.from_arrays(columns, names=[shown(name) for name in table.column_names])

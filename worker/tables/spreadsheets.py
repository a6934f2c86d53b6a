"""Texts that a spreadsheet program would run as formulas, marked so that it shows them instead.

A CSV has no types: what begins with one of MARKS is a formula to a spreadsheet, whoever wrote it. A leading apostrophe
tells it that this is text. The mark changes the data, so it is made only when it is asked for.
"""

import pyarrow as pa

MARKS = ("=", "+", "-", "@", "\t", "\r", "\n")


def shown(text: str) -> str:
    """Return ``text``, with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(MARKS) else text


def shown_table(table: pa.Table) -> pa.Table:
    """Return the table with its texts and its column names marked. Numbers and booleans stay what they are."""
    columns = [
        pa.array([None if text is None else shown(text) for text in column.to_pylist()], pa.string())
        if pa.types.is_string(column.type)
        else column
        for column in table.columns
    ]
    return pa.Table.from_arrays(columns, names=[shown(name) for name in table.column_names])

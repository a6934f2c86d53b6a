"""Columns of free text, told by their cells: most are sentences, and nearly every one is there once."""

import pyarrow.compute as pc

from worker.contracts.resources import Column
from worker.tables.files.describe import Blocks
from worker.tables.left_out import nearly_all_differ

SENTENCE = r"\S\s+\S+\s+\S+\s+\S|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]{10}"
"""Four words, or so many characters of a script that has no blanks between words."""
MOST = 0.5
INFERRED_FROM = "sentences"


def as_free_text(column: Column, rows: int, blocks: Blocks) -> Column:
    """Return a column of texts with the type text if its cells are free text, else as it is."""
    if column.type != "categorical" or column.inferred_from != "texts" or not nearly_all_differ(column, rows):
        return column
    sentences = sum(pc.sum(pc.match_substring_regex(block, SENTENCE), min_count=0).as_py() for block in blocks())
    if sentences < MOST * (rows - column.missing):
        return column
    return column.model_copy(update={"type": "text", "inferred_from": INFERRED_FROM})

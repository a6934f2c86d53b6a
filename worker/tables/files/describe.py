"""Statistics of a column, in memory that does not grow with the table.

A column is read in blocks, and every value becomes 64 bits: the bits of a number, the hash of a text. To count distinct
values, the distinct words of each block are partitioned by a hash into temporary files, one partition at a time is
sorted in memory, and so the column is read once. Frequent words are few in each block, so no partition grows with them.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType
from worker.contracts.resources import CUT_MARK, MAX_TOP_LENGTH, Column, TopValue
from worker.tables.cells.dates import iso_texts
from worker.tables.values import as_floats

TOP_VALUES = 10
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
MEANT = r"^[€$£¥]?\s*[+-]?\s*[0-9]{1,3}([ .,']?[0-9]{3})*([.,][0-9]+)?\s*[€$£¥%]?$"
"""A formatted number, with a decimal comma, thousands separators or a currency sign."""
MAX_ODD_SHARE = 0.5
MAX_COUNTED = 10_000
PARTITION_ROWS = 2**20
"""About this many values are sorted at a time: 8 MiB, and as much again for their rows."""
MIXER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: multiplying by it spreads bit patterns evenly (Knuth, TAOCP 3, 6.4)."""

Blocks = Callable[[], Iterator[pa.Array]]
Words = Callable[[], Iterator[np.ndarray]]
Entries = Callable[[], Iterator[np.ndarray]]
"""Arrays (k, width) of 64-bit numbers, a row for each distinct word of a block; its first column is the word."""


def describe(name: str, kind: ColumnType, blocks: Blocks, folder: Path | None = None, *, index: bool = False) -> Column:
    """Return the statistics of a column; each call of ``blocks`` yields its values in order, dates as seconds.

    ``folder``: for temporary files of a long column, 16 bytes per value; None: the default folder. ``index``: the
    column is the index of a data frame.
    """
    if kind == "datetime":
        return _moments(_numbers(name, blocks, folder), blocks, index=index)
    if kind == "numeric":
        column = _numbers(name, blocks, folder)
        first = _first_missing(blocks) if column.missing else None
        return column.model_copy(update={"index": index, "first_missing": first})
    rows, missing = 0, 0
    for block in blocks():
        rows += len(block)
        missing += block.null_count
    distinct, frequent = _frequent(_hashes(blocks), rows - missing, folder)
    return Column(
        name=name,
        type=kind,
        index=index,
        missing=missing,
        first_missing=_first_missing(blocks) if missing else None,
        distinct=distinct,
        top=_top(blocks, frequent),
        not_numbers=_not_numbers(blocks, rows - missing) if kind == "categorical" else None,
    )


def _moments(column: Column, blocks: Blocks, *, index: bool) -> Column:
    """Return the statistics of seconds as those of dates."""
    first, last = (None, None) if column.distinct == 0 else iso_texts((float(column.min or 0), float(column.max or 0)))
    missing_row = _first_missing(blocks) if column.missing else None
    return Column(
        name=column.name,
        type="datetime",
        index=index,
        missing=column.missing,
        first_missing=missing_row,
        distinct=column.distinct,
        min=first,
        max=last,
    )


def _first_missing(blocks: Blocks) -> int | None:
    row = 0
    for block in blocks():
        if block.null_count:
            return row + int(pc.index(pc.is_null(block), True).as_py()) + 1
        row += len(block)
    return None


def _numbers(name: str, blocks: Blocks, folder: Path | None) -> Column:
    missing, known, count, integer = 0, 0, 0, True
    low, high, mean, squares = np.inf, -np.inf, 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for values, nulls in _floats(blocks):
            missing += nulls
            known += len(values)
            finite = values[np.isfinite(values)]
            if not len(finite):
                continue
            low, high = min(low, finite.min()), max(high, finite.max())
            integer = integer and bool((finite == np.round(finite)).all())
            # combine means and squares of blocks: Chan, Golub and LeVeque 1983
            shift, share = finite.mean() - mean, len(finite) / (count + len(finite))
            squares += ((finite - finite.mean()) ** 2).sum() + shift**2 * share * count
            mean += shift * share
            count += len(finite)
    partitions = _partitions(lambda: map(_distinct_entries, _words(blocks)), known, folder)
    distinct = sum(len(_distinct(entries[:, 0])) for entries in partitions)
    if not count:
        return Column(name=name, type="numeric", missing=missing, distinct=distinct, infinite=known)
    std = float(np.sqrt(squares / count))
    return Column(
        name=name,
        type="numeric",
        missing=missing,
        distinct=distinct,
        min=float(low),
        mean=float(mean) if np.isfinite(mean) else None,
        std=std if np.isfinite(std) else None,
        max=float(high),
        infinite=known - count,
        integer=integer and known == count,
    )


def _floats(blocks: Blocks) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the present values, with -0 as 0, and the number of missing ones."""
    for block in blocks():
        yield as_floats(block.drop_null()).to_numpy(zero_copy_only=False) + 0.0, block.null_count


def _words(blocks: Blocks) -> Iterator[np.ndarray]:
    """Yield the present values as 64 bits; integers unchanged, because float64 may round several to one."""
    for block in blocks():
        numbers = block.drop_null().to_numpy(zero_copy_only=False)
        yield numbers + 0.0 if numbers.dtype.kind == "f" else numbers


def _hashes(blocks: Blocks) -> Words:
    def hashes() -> Iterator[np.ndarray]:
        for block in blocks():
            coded = block.drop_null().dictionary_encode()
            words = np.array([hash(value) for value in coded.dictionary.to_pylist()], dtype=np.int64)
            yield words[coded.indices.to_numpy()]

    return hashes


def _distinct(words: np.ndarray) -> np.ndarray:
    """Return the distinct words, sorted."""
    # np.unique without indices uses a hash table, which takes 15 times as long
    ordered = np.sort(words)
    is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    distinct: np.ndarray = ordered[is_first]
    return distinct


def _distinct_entries(block: np.ndarray) -> np.ndarray:
    return _distinct(block.view(np.uint64))[:, None]


def _tallies(words: Words) -> Entries:
    """Return a function that yields for each block its distinct words, with the first row and the count of each."""

    def tallies() -> Iterator[np.ndarray]:
        row = 0
        for block in words():
            values, first, counts = np.unique(block.view(np.uint64), return_index=True, return_counts=True)
            yield np.column_stack([values, (first + row).astype(np.uint64), counts.astype(np.uint64)])
            row += len(block)

    return tallies


def _partitions(entries: Entries, rows: int, folder: Path | None) -> Iterator[np.ndarray]:
    """Yield the entries of each partition, in order. Entries of equal words are in one partition."""
    n_partitions = -(-rows // PARTITION_ROWS)
    if n_partitions <= 1:
        blocks = list(entries())
        if blocks:
            yield np.concatenate(blocks)
        return
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(n_partitions)]
        width = 1
        for block in entries():
            width = block.shape[1]
            partition = (block[:, 0] * MIXER >> np.uint64(32)) % np.uint64(n_partitions)
            order = np.argsort(partition, kind="stable")
            starts = np.searchsorted(partition[order], np.arange(1, n_partitions))
            for file, part in zip(files, np.split(block[order], starts), strict=True):
                file.write(part.tobytes())
        for file in files:
            file.seek(0)
            yield np.frombuffer(file.read(), np.uint64).reshape(-1, width)


def _frequent(words: Words, rows: int, folder: Path | None) -> tuple[int, list[tuple[int, int]]]:
    """Return the number of distinct words, and (word, count) of the most frequent; ties by first row."""
    distinct = 0
    frequent: list[tuple[int, int, int]] = []
    for entries in _partitions(_tallies(words), rows, folder):
        values, first, inverse = np.unique(entries[:, 0], return_index=True, return_inverse=True)
        counts = np.bincount(inverse, weights=entries[:, 2], minlength=len(values)).astype(np.int64)
        places = entries[first, 1]
        distinct += len(values)
        best = np.lexsort((places, -counts))[:TOP_VALUES]
        frequent += [(-int(counts[at]), int(places[at]), int(values[at].view(np.int64))) for at in best]
    return distinct, [(word, -count) for count, _, word in sorted(frequent)[:TOP_VALUES]]


def _top(blocks: Blocks, frequent: list[tuple[int, int]]) -> list[TopValue]:
    """Return the values of the ``frequent`` hashes, with their counts."""
    counts = dict(frequent)
    values: dict[int, str | bool] = {}
    for block in blocks():
        if len(values) == len(counts):
            break
        for value in block.drop_null().unique().to_pylist():
            if hash(value) in counts:
                values.setdefault(hash(value), value)
    return [TopValue(value=_short(values[word]), count=count) for word, count in frequent]


def _not_numbers(blocks: Blocks, known: int) -> list[TopValue] | None:
    """Return the most frequent non-numbers if most texts are plain or formatted numbers; None if all are numbers."""
    counts: Counter[str] = Counter()
    others = 0
    for block in blocks():
        texts = block.drop_null()
        odd = texts.filter(pc.invert(pc.match_substring_regex(texts, NUMBER)))
        others += len(odd) - pc.sum(pc.match_substring_regex(odd, MEANT), min_count=0).as_py()
        if others > known * MAX_ODD_SHARE:
            return None
        for value, count in zip(*(column.to_pylist() for column in odd.value_counts().flatten()), strict=True):
            if value in counts or len(counts) < MAX_COUNTED:
                counts[value] += count
    return [TopValue(value=_short(value), count=count) for value, count in counts.most_common(TOP_VALUES)] or None


def _short(value: str | bool) -> str | bool:
    return value if isinstance(value, bool) or len(value) <= MAX_TOP_LENGTH else value[: MAX_TOP_LENGTH - 1] + CUT_MARK

"""Rows of numbers in local files, and a tree grown through them: memory is that of a batch or of one small region."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worker.engine.blocks.machines import at_most
from worker.engine.blocks.split import grow
from worker.engine.blocks.tree import Tree, assign
from worker.training.cost import REGION_BYTES

BATCH_BYTES = 32 * 2**20
LEVELS = 4
"""A region is cut so often at once: that writes (1 + overlap)^4 of it, beside what is there."""
FILLED = 0.8
"""What is cut by a sample is to take such a share of the memory that a region may: a sample tells its rows roughly."""
SAMPLE_ROWS = 1000
"""So many rows of a sample tell a direction well enough; what is too large then is cut by a sample of its own."""


class RowFile:
    """Rows of ``width`` numbers of float64, one after another in a file without a header."""

    def __init__(self, path: Path, width: int) -> None:
        self._path = path
        self.width = width
        self.rows = 0
        path.touch(exist_ok=False)

    @property
    def bytes(self) -> int:
        """Length of the file."""
        return 8 * self.rows * self.width

    def append(self, rows: np.ndarray) -> None:
        """Write rows (n, width) behind those that are there."""
        with self._path.open("ab") as file:
            np.ascontiguousarray(rows, dtype=np.float64).tofile(file)
        self.rows += len(rows)

    def batches(self, rows: int | None = None) -> Iterator[Tensor]:
        """Yield the rows in order, (k, width) float64; ``rows``: at most so many at a time."""
        k = rows or max(BATCH_BYTES // (8 * self.width), 1)
        with self._path.open("rb") as file:
            while (batch := np.fromfile(file, np.float64, k * self.width)).size:
                yield torch.from_numpy(batch.reshape(-1, self.width))

    def read(self) -> Tensor:
        """Return all rows."""
        return torch.cat([torch.empty((0, self.width), dtype=torch.float64), *self.batches(max(self.rows, 1))])

    def delete(self) -> None:
        """Delete the file."""
        self._path.unlink()


@dataclass(frozen=True)
class Columns:
    """Where encoded values, targets and marks are in a row of a file.

    ``d`` encoded values, ``c`` targets, then the row's number in its dataset, which block has trained it (−1 for none),
    and 1 if it is held out.
    """

    d: int
    c: int

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return self.d + self.c + 3

    def packed(self, X: Tensor, Y: Tensor, numbers: Tensor, own: Tensor, held_out: Tensor) -> Tensor:
        """Return rows of a file (n, width): X (n, d), Y (n, c), numbers, own, held_out (n,) beside each other."""
        return torch.cat([X, Y, *(marks.double().unsqueeze(1) for marks in (numbers, own, held_out))], 1)

    def X(self, rows: Tensor) -> Tensor:  # noqa: N802 - the matrix's name
        """Return the encoded values (n, d)."""
        return rows[:, : self.d]

    def Y(self, rows: Tensor) -> Tensor:  # noqa: N802
        """Return the targets (n, c)."""
        return rows[:, self.d : self.d + self.c]

    def numbers(self, rows: Tensor) -> Tensor:
        """Return the rows' numbers in their dataset (n,) int64."""
        return rows[:, -3].long()

    def own(self, rows: Tensor) -> Tensor:
        """Return the blocks (n,) int64."""
        return rows[:, -2].long()

    def held_out(self, rows: Tensor) -> Tensor:
        """Return which rows are held out, (n,) bool."""
        return rows[:, -1] != 0


class LeafRows:
    """A tree through the rows of a file, and the rows of each of its leaves.

    A region of the rows that is too large for memory is cut by a sample of its rows into smaller ones, which are
    written in one pass. Rows that are held out grow no tree, and come to the leaves that they would train.
    """

    def __init__(
        self,
        columns: Columns,
        M: Tensor,
        leaf_rows: int,
        overlap: float,
        seed: int = 0,
        region_bytes: int | None = None,
    ) -> None:
        self._columns = columns
        self._M = M
        self._leaf_rows = leaf_rows
        self._overlap = overlap
        self._seed = seed
        self._region_bytes = REGION_BYTES if region_bytes is None else region_bytes
        self.tree = Tree.single_leaf(columns.d)

    def leaves(self, rows: RowFile, folder: Path) -> Iterator[tuple[int, Tensor]]:
        """Yield the number and the rows of one leaf after another; the tree is whole when all have come.

        Of a leaf with more training rows than it may have, and of rows that are held out there, as many as that are
        drawn. ``rows`` is deleted. ``folder``: for files of regions.
        """
        regions = [(0, rows)]
        while regions:
            leaf, region = regions.pop()
            if region.bytes <= self._region_bytes:
                yield from self._leaves_of(leaf, region.read())
            elif (subtree := self._cut_by_sample(region)).leaves == 1:
                # few that train, or rows that cannot be told apart
                yield leaf, self._drawn_of_region(leaf, region)
            else:
                numbers = self._joined(leaf, subtree)
                regions += reversed(list(zip(numbers, self._divided(region, subtree, numbers, folder), strict=True)))
            region.delete()

    def _cut_by_sample(self, region: RowFile) -> Tree:
        """Return a tree whose leaves are small enough for memory, or as small as a sample can tell."""
        training = sum(int((~self._columns.held_out(batch)).sum()) for batch in region.batches())
        if training <= self._leaf_rows:
            return Tree.single_leaf(self._columns.d)
        most = max(self._region_bytes // (8 * region.width), 2)
        drawn = at_most(torch.arange(training), most, self._seed)
        trains = (self._columns.X(batch[~self._columns.held_out(batch)]) for batch in region.batches())
        sample = _taken(trains, drawn)
        share = len(sample) / training
        # with the rows that are held out
        fitting = int(FILLED * most * training / region.rows)
        # each level of cuts repeats rows on disk
        after_levels = math.ceil(len(sample) * ((1 + self._overlap) / 2) ** LEVELS)
        rows = max(int(share * max(fitting, self._leaf_rows)), min(SAMPLE_ROWS, len(sample) // 2), after_levels)
        return grow(sample, self._M, rows, self._overlap)[0]

    def _divided(self, region: RowFile, subtree: Tree, numbers: list[int], folder: Path) -> list[RowFile]:
        """Return the rows of each leaf of ``subtree`` as a file of its own."""
        files = [RowFile(folder / f"region-{self.tree.leaves}-{number}", region.width) for number in numbers]
        for batch in region.batches():
            assignment = assign(subtree, self._columns.X(batch))
            for own, file in enumerate(files):
                file.append(batch[assignment.of(own)].numpy())
        return files

    def _joined(self, leaf: int, subtree: Tree) -> list[int]:
        """Put ``subtree`` in the place of a leaf. Return the numbers of its leaves."""
        following = self.tree.leaves
        self.tree = self.tree.with_subtree(leaf, subtree)
        return [leaf, *range(following, self.tree.leaves)]

    def _drawn(self, leaf: int, held_out: Tensor) -> Tensor:
        """Return which rows of a leaf are kept, (k,): training rows, then those that are held out."""
        seed = self._seed + leaf
        parts = (torch.nonzero(which).squeeze(1) for which in (~held_out, held_out))
        return torch.cat([at_most(part, self._leaf_rows, seed) for part in parts])

    def _drawn_of_region(self, leaf: int, region: RowFile) -> Tensor:
        held_out = torch.cat([self._columns.held_out(batch) for batch in region.batches()])
        drawn = self._drawn(leaf, held_out)
        order = drawn.argsort()
        rows = _taken(region.batches(), drawn[order])
        return rows[order.argsort()]

    def _leaves_of(self, leaf: int, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
        held_out = self._columns.held_out(rows)
        training, others = rows[~held_out], rows[held_out]
        del rows
        subtree, rows_of = grow(self._columns.X(training), self._M, self._leaf_rows, self._overlap)
        joining = assign(subtree, self._columns.X(others))
        for own, place in enumerate(self._joined(leaf, subtree)):
            of_leaf = torch.cat([training[rows_of[own]], others[joining.of(own)]])
            yield place, of_leaf[self._drawn(place, self._columns.held_out(of_leaf))]


def _taken(batches: Iterable[Tensor], places: Tensor) -> Tensor:
    """Return the rows at some ascending places of all rows of the batches."""
    found, start = [], 0
    for batch in batches:
        inside = (places >= start) & (places < start + len(batch))
        found.append(batch[places[inside] - start])
        start += len(batch)
    return torch.cat(found)

"""Rows of numbers in local files, and a tree grown through them: memory is that of a batch or of one small region."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worker.engine.blocks.machines import at_most
from worker.engine.blocks.split import cut_rows, grow
from worker.engine.blocks.tree import Tree, assign, projections
from worker.training.cost import REGION_BYTES

BATCH_BYTES = 32 * 2**20


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

    def packed(self, X: Tensor, Y: Tensor, first: int, own: Tensor, held_out: Tensor) -> Tensor:
        """Return rows of a file (n, width): X (n, d), Y (n, c), own (n,), held_out (n,) beside each other.

        ``first``: the number of the first of them in the dataset.
        """
        numbers = torch.arange(first, first + len(X))
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

    Rows that are held out grow no tree, and come to the leaves that they would train.
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
        regions = [(0, rows, sum(len(X) for X in self._training(rows)))]
        while regions:
            leaf, region, training = regions.pop()
            if region.bytes <= self._region_bytes:
                yield from self._leaves_of(leaf, region.read())
                region.delete()
                continue
            few = training <= self._leaf_rows
            cut = None if few else cut_rows(partial(self._training, region), self._M, self._overlap)
            if cut is None:
                # few enough, or rows that cannot be told apart
                yield leaf, self._drawn_of_region(leaf, region)
                region.delete()
                continue
            right = self.tree.leaves
            self.tree = self.tree.with_cut(leaf, cut.direction, cut.threshold, cut.lower, cut.upper, cut.spread)
            sides = [RowFile(folder / f"region-{right}-{side}", region.width) for side in ("left", "right")]
            counts = [0, 0]
            for batch in region.batches():
                distances = projections(self._columns.X(batch), cut.direction.unsqueeze(0)).squeeze(1)
                trains = ~self._columns.held_out(batch)
                for side, inside in enumerate((distances <= cut.upper, distances > cut.lower)):
                    sides[side].append(batch[inside].numpy())
                    counts[side] += int((inside & trains).sum())
            region.delete()
            regions += [(right, sides[1], counts[1]), (leaf, sides[0], counts[0])]

    def _drawn(self, leaf: int, held_out: Tensor) -> Tensor:
        """Return which rows of a leaf are kept, (k,): training rows, then those that are held out."""
        seed = self._seed + leaf
        parts = (torch.nonzero(which).squeeze(1) for which in (~held_out, held_out))
        return torch.cat([at_most(part, self._leaf_rows, seed) for part in parts])

    def _drawn_of_region(self, leaf: int, region: RowFile) -> Tensor:
        held_out = torch.cat([self._columns.held_out(batch) for batch in region.batches()])
        drawn = self._drawn(leaf, held_out)
        order = drawn.argsort()
        places, found, start = drawn[order], [], 0
        for batch in region.batches():
            inside = (places >= start) & (places < start + len(batch))
            found.append(batch[places[inside] - start])
            start += len(batch)
        rows = torch.cat(found)
        return rows[order.argsort()]

    def _training(self, region: RowFile) -> Iterator[Tensor]:
        for batch in region.batches():
            yield self._columns.X(batch[~self._columns.held_out(batch)])

    def _leaves_of(self, leaf: int, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
        training = rows[~self._columns.held_out(rows)]
        subtree = grow(self._columns.X(training), self._M, self._leaf_rows, self._overlap)
        following = self.tree.leaves
        self.tree = self.tree.with_subtree(leaf, subtree)
        assignment = assign(subtree, self._columns.X(rows))
        for number in range(subtree.leaves):
            own = rows[assignment.of(number)]
            place = following + number - 1 if number else leaf
            yield place, own[self._drawn(place, self._columns.held_out(own))]

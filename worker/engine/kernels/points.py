"""The rows that a kernel is taken against, as a feature matrix M sees them, and pairs of rows in tiles.

Radial kernels are functions of r = ‖x − z‖_M, inner-product kernels of t = xᵀMz; M is (d, d), or (d,) when diagonal.
"""

import math
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from worker.engine.kernels.base import Kernel

SUM_ROWS = 128
"""Rows of a tile that are summed in float64 at a time."""

TILE = (512, 2048)
"""Work on pairs of rows goes in tiles of so many: they stay in the cache, and matrix products with fewer are slow."""
CARD_TILE = (4096, 8192)
"""The same on a GPU, which starts one piece of work after another and must not run dry between them."""
ORIGIN_ROWS = 1000
"""About so many rows, evenly apart, tell where the middle of all is."""


def outputs(P: Tensor, alpha: Tensor) -> Tensor:
    """Return P alpha, (m, c); from the left, for a matrix product with few columns is several times slower."""
    return (alpha.T @ P.T).T


def times_metric(X: Tensor, M: Tensor) -> Tensor:
    """Return X M, (n, d)."""
    return X * M if M.ndim == 1 else X @ M


class KernelPoints:
    """The rows X (n, d) that a kernel is taken against, as M sees them: what every block of pairs needs of them.

    Radial kernels do not change when all rows are moved, so ``X`` is kept relative to the rows' median: squared
    distances come out as differences of squared lengths, and the smaller those are, the less rounding leaves. A mean
    would be taken away by a single huge row, and all others would then look like one.

    Equal rows come out at distance zero: rounding leaves a squared distance as uncertain as a few units in the last
    place of the squared lengths, and that much is taken off before it is clamped at zero. Without it a pair of equal
    rows would look apart, and a kernel with a cusp would give it a huge slope.

    ``tile``: rows and columns of the tiles in which pairs are worked on. None: what suits the device.
    """

    def __init__(self, X: Tensor, M: Tensor, kernel: Kernel, tile: tuple[int, int] | None = None) -> None:
        self.M = M
        self.kernel = kernel
        self._tile = tile or (TILE if X.device.type == "cpu" else CARD_TILE)
        self.origin = X[:: max(len(X) // ORIGIN_ROWS, 1)].median(0).values if kernel.radial else None
        self.X = X if self.origin is None else X - self.origin
        self.squares = self._lengths(self.X, self.XM) if kernel.radial else None

    def __len__(self) -> int:
        return len(self.X)

    @cached_property
    def XM(self) -> Tensor:  # noqa: N802
        """The rows times M, (n, d)."""
        return times_metric(self.X, self.M)

    def release(self) -> None:
        """Give back the memory that only pairs among the points need, until they are asked for."""
        vars(self).pop("XM", None)

    def products(self, Q: Tensor) -> Tensor:
        """Return what the kernel is a function of, (m, n), between rows Q (m, d) and the points."""
        return self._pairs(*self._apply_metric(Q), slice(None))

    def blocks(self, Q: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield rows, points and the products between them, in tiles. Each overwrites the one before."""
        height, columns = self._shape(len(Q))
        work = self.X.new_empty(height * columns)
        for start in range(0, len(Q), height):
            rows = slice(start, min(start + height, len(Q)))
            QM, squares = self._apply_metric(Q[rows])
            for points in self._columns(0, columns):
                yield rows, points, self._pairs(QM, squares, points, part(work, rows, points))

    def own_products(self, rows: slice, columns: slice, out: Tensor | None = None) -> Tensor:
        """Return the same between some ``rows`` of the points and others, ``columns``, which do not begin after.

        The distance of a row to itself is exactly zero.
        """
        P = self._pairs(self.XM[rows], None if self.squares is None else self.squares[rows], columns, out)
        if self.kernel.radial and columns.start <= rows.start < columns.stop:
            P.diagonal(rows.start - columns.start).zero_()
        return P

    def triangle(self, bandwidth: float | None, out: Tensor | None = None) -> Tensor:
        """Return K, (n, n), of the points with themselves: its upper triangle only, what lies below is undefined."""
        n = len(self)
        K = self.X.new_empty((n, n)) if out is None else out
        work = self.workspace()
        for rows, columns in self.tiles():
            P = self.own_products(rows, columns, part(work, rows, columns))
            K[rows, columns] = self.kernel.value_(P, bandwidth)
        return K

    def own_distances(self) -> Tensor:
        """Return the distance of every pair of points, (n (n − 1) / 2,)."""
        pairs = []
        for rows, columns in self.tiles():
            P = self.own_products(rows, columns)
            above = torch.ones_like(P, dtype=torch.bool)
            pairs.append(P.masked_select(above.triu_(1) if rows.start == columns.start else above))
        return torch.cat(pairs).sqrt_()

    def own_pairs(self) -> tuple[Tensor, Tensor]:
        """Return both rows of every pair, in the order of ``own_distances``."""
        first, second = [], []
        for rows, columns in self.tiles():
            i = torch.arange(rows.start, rows.stop, device=self.X.device).unsqueeze(1)
            j = torch.arange(columns.start, columns.stop, device=self.X.device)
            above = j > i if rows.start == columns.start else torch.ones(len(i), len(j), dtype=torch.bool).to(i.device)
            first.append(i.expand_as(above).masked_select(above))
            second.append(j.expand_as(above).masked_select(above))
        return torch.cat(first), torch.cat(second)

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Yield rows and columns of tiles that cover every pair once.

        The first of some rows begins on the diagonal, with a square that holds its pairs twice.
        """
        n = len(self)
        for start in range(0, n, self._tile[0]):
            rows = slice(start, min(start + self._tile[0], n))
            for columns in self._columns(start, self._tile[1]):
                yield rows, columns

    def workspace(self) -> Tensor:
        """Return memory as large as the largest tile; ``part`` lays a tile over it."""
        return self.X.new_empty(min(self._tile[0], len(self)) * min(self._tile[1], len(self)))

    def _shape(self, rows: int) -> tuple[int, int]:
        """Return height and width of tiles between so many rows and the points.

        Where there is less of one there is more of the other: to start a piece of work takes longer than a little work.
        """
        height, columns = self._tile
        area = height * columns
        columns = min(max(columns, area // max(rows, 1)), len(self))
        return min(max(height, area // max(columns, 1)), max(rows, 1)), columns

    def _columns(self, first: int, width: int) -> Iterator[slice]:
        for start in range(first, len(self), width):
            yield slice(start, min(start + width, len(self)))

    def _apply_metric(self, Q: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return rows times M, (m, d), as the points see them, and their squared lengths under it."""
        Q = Q if self.origin is None else Q - self.origin
        QM = times_metric(Q, self.M)
        return QM, None if self.squares is None else self._lengths(Q, QM)

    @property
    def rounding_factor(self) -> float:
        """What is left of a squared length when as much is taken off as rounding leaves uncertain."""
        return 1.0 - (4.0 + math.sqrt(self.X.shape[1])) * torch.finfo(self.X.dtype).eps

    def _lengths(self, X: Tensor, XM: Tensor) -> Tensor:
        return (XM * X).sum(1).mul_(self.rounding_factor)

    def _pairs(self, QM: Tensor, squares: Tensor | None, points: slice, out: Tensor | None = None) -> Tensor:
        X = self.X[points]
        if squares is None or self.squares is None:
            return torch.mm(QM, X.T, out=out)
        P = torch.addmm(self.squares[points].expand(len(QM), len(X)), QM, X.T, alpha=-2.0, out=out)
        return P.add_(squares.unsqueeze(1)).clamp_(min=0)


def part(work: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return the beginning of the memory ``work`` as a matrix of so many rows and columns."""
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    return work[: shape[0] * shape[1]].view(shape)


def predict_rows(X: Tensor, points: KernelPoints, alpha: Tensor, bandwidth: float | None) -> Tensor:
    """Return f(X) = K alpha, (m, c), with K between X and the training rows, in tiles.

    Sums are of float64 in any case: large alpha of both signs cancel, and in float32 an answer would change in its
    third digit with the rows beside it.
    """
    wide = alpha.double()
    found = wide.new_zeros((len(X), alpha.shape[1]))
    for rows, columns, P in points.blocks(X):
        K = points.kernel.value_(P, bandwidth)
        # in parts, so that a processor finds what it has just widened in its cache
        size = SUM_ROWS if K.device.type == "cpu" else len(K)
        parts = (K[start : start + size].double() for start in range(0, len(K), size))
        found[rows] += torch.cat([outputs(part, wide[columns]) for part in parts])
    return found.to(alpha.dtype)

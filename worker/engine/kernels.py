"""Kernels under a feature matrix M: each a value and one derivative profile.

Radial kernels are functions of r = ‖x − z‖_M, inner-product kernels of t = xᵀMz. Only φ′(r)/r and k′(t) enter the
feature updates. ``M`` is (d, d), or (d,) when diagonal.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from worker.engine.errors import NonFiniteValues

COINCIDENT = 1e-10
"""Rows closer than this under M are one point: the kernel has no gradient between them."""
TILE = (512, 2048)
"""Work on pairs of rows goes in tiles of so many: they stay in the cache, and matrix products with fewer are slow."""
CARD_TILE = (4096, 8192)
"""The same on a GPU, which starts one piece of work after another and must not run dry between them."""
LEAST_BANDWIDTH = 1e-100
"""Powers of smaller ones overflow."""
ORIGIN_ROWS = 1000
"""About so many rows, evenly apart, tell where the middle of all is."""
LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class Kernel:
    """A kernel by name. ``exponent`` is for ``generalized`` alone."""

    name: str
    exponent: float | None = None

    @property
    def radial(self) -> bool:
        """Whether the kernel is a function of the distance; else of the inner product."""
        return self.name in ("laplace", "gaussian", "generalized")

    def value_(self, P: Tensor, bandwidth: float | None) -> Tensor:
        """Turn squared distances, or inner products, into kernel values in place."""
        if self.name == "quadratic":
            return P.square_()
        L = _needed(bandwidth)
        if self.name == "exponential":
            return _exp_(P, L**-2)
        if self.power == 2.0:
            return _exp_(P, -(self._length(L) ** -2))
        return _exp_(_to_power_(P, self.power), -(L**-self.power))

    def profile_(self, P: Tensor, bandwidth: float | None, work: Tensor | None = None) -> Tensor:
        """Turn squared distances into φ′(r)/r, zero between coincident rows, or inner products into k′(t), in place.

        ``work``: memory of the same shape to write over.
        """
        if self.name == "quadratic":
            return P.mul_(2.0)
        L = _needed(bandwidth)
        if self.name == "exponential":
            return _exp_(P, L**-2).mul_(L**-2)
        # at an infinite distance every radial kernel is flat: one pass, where a mask takes several
        torch.threshold_(P, COINCIDENT**2, math.inf)
        q = self.power
        if q == 2.0:
            L = self._length(L)
            return _exp_(P, -(L**-2)).mul_(-2 * L**-2)
        # φ′(r)/r = −q L^−q r^(q−2) exp(−(r/L)^q)
        if q == 1.0:
            decay = torch.mul(P.sqrt_(), -LOG2_E / L, out=work).exp2_()
            return P.reciprocal_().mul_(decay).mul_(-1 / L)
        logarithm = P.log2_()
        raised = torch.mul(logarithm, q / 2, out=work).exp2_()
        return logarithm.mul_(q / 2 - 1).sub_(raised, alpha=LOG2_E * L**-q).exp2_().mul_(-q * L**-q)

    @property
    def power(self) -> float:
        """The q of exp(−(r/L)^q), where the gaussian's L is √2 of its bandwidth."""
        if self.name == "gaussian":
            return 2.0
        return 1.0 if self.exponent is None else self.exponent

    def _length(self, bandwidth: float) -> float:
        return bandwidth * math.sqrt(2) if self.name == "gaussian" else bandwidth


def _needed(bandwidth: float | None) -> float:
    if bandwidth is None:
        raise ValueError("this kernel needs a bandwidth")
    return bandwidth


def _exp_(P: Tensor, factor: float) -> Tensor:
    """Turn P into exp(factor · P) in place; powers of two are about three times as quick as torch's exp."""
    return P.mul_(factor * LOG2_E).exp2_()


def _to_power_(P: Tensor, q: float) -> Tensor:
    """Turn r² into r^q in place; a square root, or a logarithm and its inverse, are quicker than a power."""
    return P.sqrt_() if q == 1.0 else P.log2_().mul_(q / 2).exp2_()


def outputs(P: Tensor, alpha: Tensor) -> Tensor:
    """Return P alpha, (m, c); from the left, for a matrix product with few columns is several times slower."""
    return (alpha.T @ P.T).T


def times_metric(X: Tensor, M: Tensor) -> Tensor:
    """Return X M, (n, d)."""
    return X * M if M.ndim == 1 else X @ M


class Landmarks:
    """The rows X (n, d) that a kernel is taken against, as M sees them: what every block of pairs needs of them.

    Radial kernels do not change when all rows are moved, so ``X`` is kept relative to the rows' median: squared
    distances come out as differences of squared lengths, and the smaller those are, the less rounding leaves. A mean
    would be taken away by a single huge row, and all others would then look like one.

    Equal rows come out at distance zero: rounding leaves a squared distance as uncertain as a few units in the last
    place of the squared lengths, and that much is taken off before it is clamped at zero. Without it a pair of equal
    rows would look apart, and a kernel with a cusp would give it a huge slope.
    """

    def __init__(self, X: Tensor, M: Tensor, kernel: Kernel) -> None:
        self.M = M
        self.kernel = kernel
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
        """Give back the memory that only pairs among the landmarks need, until they are asked for."""
        vars(self).pop("XM", None)

    def products(self, Q: Tensor) -> Tensor:
        """Return what the kernel is a function of, (m, n), between rows Q (m, d) and the landmarks."""
        return self._pairs(*self._seen(Q), slice(None))

    def blocks(self, Q: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield rows, landmarks and the products between them, in tiles. Each overwrites the one before."""
        height, columns = self._shape(len(Q))
        work = self.X.new_empty(height * columns)
        for start in range(0, len(Q), height):
            rows = slice(start, min(start + height, len(Q)))
            QM, squares = self._seen(Q[rows])
            for marks in self._columns(0, columns):
                yield rows, marks, self._pairs(QM, squares, marks, part(work, rows, marks))

    def own_products(self, rows: slice, columns: slice, out: Tensor | None = None) -> Tensor:
        """Return the same between some ``rows`` of the landmarks and others, ``columns``, which do not begin after.

        The distance of a row to itself is exactly zero.
        """
        P = self._pairs(self.XM[rows], None if self.squares is None else self.squares[rows], columns, out)
        if self.kernel.radial and columns.start <= rows.start < columns.stop:
            P.diagonal(rows.start - columns.start).zero_()
        return P

    def triangle(self, bandwidth: float | None, out: Tensor | None = None) -> Tensor:
        """Return K, (n, n), of the landmarks with themselves: its upper triangle only, what lies below is undefined."""
        n = len(self)
        K = self.X.new_empty((n, n)) if out is None else out
        work = self.workspace()
        for rows, columns in self.tiles():
            P = self.own_products(rows, columns, part(work, rows, columns))
            K[rows, columns] = self.kernel.value_(P, bandwidth)
        return K

    def own_distances(self) -> Tensor:
        """Return the distance of every pair of landmarks, (n (n − 1) / 2,)."""
        found = []
        for rows, columns in self.tiles():
            P = self.own_products(rows, columns)
            above = torch.ones_like(P, dtype=torch.bool)
            found.append(P.masked_select(above.triu_(1) if rows.start == columns.start else above))
        return torch.cat(found).sqrt_()

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

    @property
    def _tile(self) -> tuple[int, int]:
        return TILE if self.X.device.type == "cpu" else CARD_TILE

    def _shape(self, rows: int) -> tuple[int, int]:
        """Return height and width of tiles between so many rows and the landmarks.

        Where there is less of one there is more of the other: to start a piece of work takes longer than a little work.
        """
        height, columns = self._tile
        area = height * columns
        columns = min(max(columns, area // max(rows, 1)), len(self))
        return min(max(height, area // max(columns, 1)), max(rows, 1)), columns

    def _columns(self, first: int, width: int) -> Iterator[slice]:
        for start in range(first, len(self), width):
            yield slice(start, min(start + width, len(self)))

    def _seen(self, Q: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return rows times M, (m, d), as the landmarks see them, and their squared lengths under it."""
        Q = Q if self.origin is None else Q - self.origin
        QM = times_metric(Q, self.M)
        return QM, None if self.squares is None else self._lengths(Q, QM)

    @property
    def kept(self) -> float:
        """What is left of a squared length when as much is taken off as rounding leaves uncertain."""
        return 1.0 - (4.0 + math.sqrt(self.X.shape[1])) * torch.finfo(self.X.dtype).eps

    def _lengths(self, X: Tensor, XM: Tensor) -> Tensor:
        return (XM * X).sum(1).mul_(self.kept)

    def _pairs(self, QM: Tensor, squares: Tensor | None, marks: slice, out: Tensor | None = None) -> Tensor:
        X = self.X[marks]
        if squares is None or self.squares is None:
            return torch.mm(QM, X.T, out=out)
        P = torch.addmm(self.squares[marks].expand(len(QM), len(X)), QM, X.T, alpha=-2.0, out=out)
        return P.add_(squares.unsqueeze(1)).clamp_(min=0)


def part(work: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return the beginning of the memory ``work`` as a matrix of so many rows and columns."""
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    return work[: shape[0] * shape[1]].view(shape)


def median_bandwidth(X: Tensor, M: Tensor, kernel: Kernel, factor: float, rows: Tensor) -> float | None:
    """Return ``factor`` times the median distance under M between the given ``rows`` (indices) of X.

    For the exponential kernel it is ``factor`` times the median of ‖x‖_M, so that k stays finite; quadratic has none.

    Raises:
        NonFiniteValues: the rows are too far apart.
    """
    if kernel.name == "quadratic":
        return None
    S = X[rows]
    if kernel.radial:
        distances = Landmarks(S, M, kernel).own_distances()
        typical = float(distances.median()) if distances.numel() else 0.0
    else:
        typical = float((times_metric(S, M) * S).sum(1).clamp(min=0).sqrt().median())
    if not math.isfinite(factor * typical):
        raise NonFiniteValues(
            "the distances between rows are beyond all numbers; look for huge inputs, or use precision 'float64'"
        )
    # Rows that all coincide have no length of their own.
    return max(factor * typical, LEAST_BANDWIDTH) if typical > 0 else factor

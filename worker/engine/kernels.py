"""Kernels under a feature matrix M: each a value and one derivative profile.

Radial kernels are functions of r = ‖x − z‖_M, inner-product kernels of t = xᵀMz. Only φ′(r)/r and k′(t) enter the
feature updates. ``M`` is (d, d), or (d,) when diagonal.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

COINCIDENT = 1e-10
"""Rows closer than this under M are one point: the kernel has no gradient between them."""
BLOCK_NUMBERS = 2**20
"""Work on pairs of rows goes in blocks of about so many pairs: they stay in the processor's cache."""
BLOCK_ROWS = 128
"""A block has at least so many rows, for matrix products with fewer are slow."""


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
            return P.div_(L * L).exp_()
        if self.name == "gaussian":
            return P.mul_(-0.5 / L**2).exp_()
        q = self.power
        return _to_power_(P, q).mul_(-(L**-q)).exp_()

    def profile_(self, P: Tensor, bandwidth: float | None) -> Tensor:
        """Turn squared distances into φ′(r)/r, zero between coincident rows, or inner products into k′(t), in place."""
        if self.name == "quadratic":
            return P.mul_(2.0)
        L = _needed(bandwidth)
        if self.name == "exponential":
            return P.div_(L * L).exp_().div_(L * L)
        coincident = P <= COINCIDENT**2
        if self.name == "gaussian":
            return P.mul_(-0.5 / L**2).exp_().mul_(-1.0 / L**2).masked_fill_(coincident, 0.0)
        # φ′(r)/r = −q L^−q (r^q / r²) exp(−(r/L)^q)
        q = self.power
        P.masked_fill_(coincident, 1.0)
        raised = _to_power_(P.clone(), q)
        P.reciprocal_().mul_(raised)
        decay = raised.mul_(-(L**-q)).exp_()
        return P.mul_(decay).mul_(-q * L**-q).masked_fill_(coincident, 0.0)

    @property
    def power(self) -> float:
        """The q of exp(−(r/L)^q)."""
        return 1.0 if self.exponent is None else self.exponent


def _needed(bandwidth: float | None) -> float:
    if bandwidth is None:
        raise ValueError("this kernel needs a bandwidth")
    return bandwidth


def _to_power_(P: Tensor, q: float) -> Tensor:
    """Turn r² into r^q in place; a square root is several times quicker than a power."""
    return P.sqrt_() if q == 1.0 else P.pow_(q / 2)


def times_metric(X: Tensor, M: Tensor) -> Tensor:
    """Return X M, (n, d)."""
    return X * M if M.ndim == 1 else X @ M


class Landmarks:
    """The rows X (n, d) that a kernel is taken against, as M sees them: what every block of pairs needs of them.

    Radial kernels do not change when all rows are moved, so ``X`` is kept relative to the rows' mean: squared distances
    come out as differences of squared lengths, and the smaller those are, the less rounding leaves.

    Equal rows come out at distance zero: rounding leaves a squared distance as uncertain as a few units in the last
    place of the squared lengths, and that much is taken off before it is clamped at zero. Without it a pair of equal
    rows would look apart, and a kernel with a cusp would give it a huge slope.
    """

    def __init__(self, X: Tensor, M: Tensor, kernel: Kernel) -> None:
        self.M = M
        self.kernel = kernel
        self.origin = X.mean(0) if kernel.radial else None
        self.X = X if self.origin is None else X - self.origin
        self._squares = self._lengths(self.X, times_metric(self.X, M)) if kernel.radial else None

    def __len__(self) -> int:
        return len(self.X)

    def products(self, Q: Tensor) -> Tensor:
        """Return what the kernel is a function of, (m, n), between rows Q (m, d) and the landmarks."""
        Q = Q if self.origin is None else Q - self.origin
        QM = times_metric(Q, self.M)
        return self._pairs(QM, self.X, None if self._squares is None else (self._lengths(Q, QM), self._squares))

    def own_products(self, rows: slice, first: int = 0, out: Tensor | None = None) -> Tensor:
        """Return the same between some ``rows`` of the landmarks and all from the ``first`` on.

        The distance of a row to itself is exactly zero.
        """
        squares = None if self._squares is None else (self._squares[rows], self._squares[first:])
        P = self._pairs(times_metric(self.X[rows], self.M), self.X[first:], squares, out)
        if self.kernel.radial:
            P.diagonal(rows.start - first).zero_()
        return P

    def triangle(self, bandwidth: float | None) -> Tensor:
        """Return K, (n, n), of the landmarks with themselves: its upper triangle only, what lies below is undefined."""
        n = len(self)
        K = self.X.new_empty((n, n))
        for rows in self.slabs():
            self.kernel.value_(self.own_products(rows, rows.start, K[rows, rows.start :]), bandwidth)
        return K

    def own_distances(self) -> Tensor:
        """Return the distance of every pair of landmarks, (n (n − 1) / 2,)."""
        found = []
        for rows in self.slabs():
            P = self.own_products(rows, rows.start)
            found.append(P.masked_select(torch.ones_like(P, dtype=torch.bool).triu_(1)))
        return torch.cat(found).sqrt_()

    def slabs(self) -> Iterator[slice]:
        """Yield blocks of rows which, each with all columns from its first row on, cover every pair once."""
        n, start = len(self), 0
        while start < n:
            stop = min(start + rows_in_block(n - start), n)
            yield slice(start, stop)
            start = stop

    def _lengths(self, X: Tensor, XM: Tensor) -> Tensor:
        kept = 1.0 - (4.0 + X.shape[1] ** 0.5) * torch.finfo(X.dtype).eps
        return (XM * X).sum(1).mul_(kept)

    def _pairs(self, QM: Tensor, X: Tensor, squares: tuple[Tensor, Tensor] | None, out: Tensor | None = None) -> Tensor:
        if squares is None:
            return torch.mm(QM, X.T, out=out)
        left, right = squares
        P = torch.addmm(right.expand(len(QM), len(X)), QM, X.T, alpha=-2.0, out=out)
        return P.add_(left.unsqueeze(1)).clamp_(min=0)


def rows_in_block(columns: int) -> int:
    """Return how many rows a block of pairs with so many columns has."""
    return max(BLOCK_ROWS, BLOCK_NUMBERS // max(columns, 1))


def median_bandwidth(X: Tensor, M: Tensor, kernel: Kernel, factor: float, rows: Tensor) -> float | None:
    """Return ``factor`` times the median distance under M between the given ``rows`` (indices) of X.

    For the exponential kernel it is ``factor`` times the median of ‖x‖_M, so that k stays finite; quadratic has none.
    """
    if kernel.name == "quadratic":
        return None
    S = X[rows]
    if kernel.radial:
        distances = Landmarks(S, M, kernel).own_distances()
        typical = float(distances.median()) if distances.numel() else 0.0
    else:
        typical = float((times_metric(S, M) * S).sum(1).clamp(min=0).sqrt().median())
    # Rows that all coincide have no length of their own.
    return factor * typical if typical > 0 else factor

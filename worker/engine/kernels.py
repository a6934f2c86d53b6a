"""Kernels under a feature matrix M: each a value and one derivative profile .

Radial kernels are functions of r = ‖x − z‖_M, inner-product kernels of t = xᵀMz. Only φ′(r)/r and k′(t) enter the
feature updates. ``M`` is (d, d), or (d,) when diagonal.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

COINCIDENT = 1e-10
"""Rows closer than this under M are one point: the kernel has no gradient between them."""


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
        if q == 1.0:
            return P.sqrt_().mul_(-1.0 / L).exp_()
        return P.pow_(q / 2).mul_(-(L**-q)).exp_()

    def profile_(self, P: Tensor, bandwidth: float | None) -> Tensor:
        """Turn squared distances into φ′(r)/r, zero between coincident rows, or inner products into k′(t), in place."""
        if self.name == "quadratic":
            return P.mul_(2.0)
        L = _needed(bandwidth)
        if self.name == "exponential":
            return P.div_(L * L).exp_().div_(L * L)
        if self.name == "gaussian":
            apart = P > COINCIDENT**2
            return P.mul_(-0.5 / L**2).exp_().mul_(-1.0 / L**2).mul_(apart)
        # φ′(r)/r = −q L^−q r^(q−2) exp(−(r/L)^q)
        q = self.power
        apart = P > COINCIDENT**2
        P.masked_fill_(~apart, 1.0)
        slope = P.pow(q / 2 - 1)
        return self.value_(P, L).mul_(slope).mul_(-q * L**-q).mul_(apart)

    @property
    def power(self) -> float:
        """The q of exp(−(r/L)^q)."""
        return 1.0 if self.name == "laplace" else float(self.exponent or 1.0)


def _needed(bandwidth: float | None) -> float:
    if bandwidth is None:
        raise ValueError("this kernel needs a bandwidth")
    return bandwidth


def times_metric(X: Tensor, M: Tensor) -> Tensor:
    """Return X M, (n, d)."""
    return X * M if M.ndim == 1 else X @ M


def pair_products(X: Tensor, Z: Tensor, M: Tensor, kernel: Kernel, *, same: bool = False) -> Tensor:
    """Return what the kernel is a function of, (n, m): squared distances under M, or inner products.

    ``same`` says that X and Z are the same rows: distances on the diagonal are then exactly zero. Elsewhere equal rows
    come out at zero too: squared distances are computed as differences of squared lengths, so rounding leaves them as
    uncertain as a few units in the last place of those, and that much is taken off before they are clamped at zero.
    Without it a pair of equal rows would look apart, and a kernel with a cusp would give it a huge slope.
    """
    XM = times_metric(X, M)
    if not kernel.radial:
        return XM @ Z.T
    ZM = XM if same else times_metric(Z, M)
    kept = 1.0 - (4.0 + X.shape[1] ** 0.5) * torch.finfo(X.dtype).eps
    left = (XM * X).sum(1, keepdim=True).mul_(kept)
    right = left.T if same else (ZM * Z).sum(1).mul_(kept).unsqueeze(0)
    P = torch.addmm(left.expand(X.shape[0], Z.shape[0]), XM, Z.T, alpha=-2.0)
    P.add_(right).clamp_(min=0)
    if same:
        P.fill_diagonal_(0.0)
    return P


def kernel_matrix(
    X: Tensor, Z: Tensor, M: Tensor, kernel: Kernel, bandwidth: float | None, *, same: bool = False
) -> Tensor:
    """Return K, (n, m)."""
    return kernel.value_(pair_products(X, Z, M, kernel, same=same), bandwidth)


def median_bandwidth(X: Tensor, M: Tensor, kernel: Kernel, factor: float, rows: Tensor) -> float | None:
    """Return ``factor`` times the median distance under M between the given ``rows`` (indices) of X.

    For the exponential kernel it is ``factor`` times the median of ‖x‖_M, so that k stays finite; quadratic has none.
    """
    if kernel.name == "quadratic":
        return None
    S = X[rows]
    if not kernel.radial:
        typical = float((times_metric(S, M) * S).sum(1).clamp(min=0).sqrt().median())
    else:
        P = pair_products(S, S, M, kernel, same=True)
        above = torch.triu_indices(len(rows), len(rows), 1, device=X.device)
        distances = P[above[0], above[1]]
        typical = float(distances.median().sqrt()) if distances.numel() else 0.0
    # Rows that all coincide have no length of their own.
    return factor * typical if typical > 0 else factor

"""FACT and AGOP, what a fitted kernel machine says about its features, and the next M that comes of them.

FACT: Features at Convergence Theorem (arXiv 2507.05644), here in closed form for kernel machines.
"""

import torch
from torch import Tensor

from worker.engine.errors import NonFiniteValues
from worker.engine.kernels import KernelPoints, outputs, part
from worker.engine.weights import weighted_mean

BLOCK_ROWS = 256
"""AGOP takes the gradients of so many rows at a time, unless its caller says otherwise."""


def fact(points: KernelPoints, alpha: Tensor, bandwidth: float | None) -> Tensor:
    """Return FACT = Σᵢ J_f(xᵢ)ᵀ αᵢ xᵢᵀ, (d, d), or its diagonal (d,) when M is diagonal.

    radial: M Xᵀ(diag(C1) − C)X, a graph Laplacian; inner product: M XᵀCX, with Cᵢⱼ = (αᵢ·αⱼ) times the profile.
    C is symmetric, so each pair is visited once, in tiles: memory is two of them, and an (n, d) matrix.
    """
    # a graph Laplacian does not change when all rows are moved
    X, M, kernel = points.X, points.M, points.kernel
    # Xᵀ(diag(C1) − C)X, or XᵀCX, is XᵀZ and its transpose, where Z is of the pairs above the diagonal alone
    Z = torch.zeros_like(X)
    degrees = X.new_zeros(len(X))
    first, second = points.workspace(), points.workspace()
    for rows, columns in points.tiles():
        C, work = part(first, rows, columns), part(second, rows, columns)
        kernel.profile_(points.own_products(rows, columns, C), bandwidth, work)
        C.mul_(torch.mm(alpha[rows], alpha[columns].T, out=work))
        if rows.start == columns.start:
            C[:, : len(C)].mul_(0.5)
        Z[rows] += outputs(C, X[columns])
        if kernel.radial:
            degrees[rows] += C.sum(1)
            degrees[columns] += C.sum(0)
    if kernel.radial:
        Z = torch.addcmul(-Z, degrees.unsqueeze(1), X, value=0.5)
    if M.ndim == 1:
        return M * (X * Z).sum(0) * 2
    half = X.T @ Z
    return M @ (half + half.T)


def agop(
    points: KernelPoints,
    alpha: Tensor,
    bandwidth: float | None,
    *,
    centered: bool = False,
    weights: Tensor | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Tensor:
    """Return AGOP = (1/n) Σᵢ J_f(xᵢ)ᵀJ_f(xᵢ), (d, d), or its diagonal (d,) when M is diagonal.

    With ``weights`` (n,) each row counts so many times, and n is their sum.

    ``centered`` subtracts each output's mean gradient first. One output and one block of rows at a time: memory is a
    block of the n × n weights, work n²·c·d.
    """
    X, M, kernel = points.X, points.M, points.kernel
    n, d = X.shape
    c = alpha.shape[1]
    diagonal = M.ndim == 1
    total = X.new_zeros(d if diagonal else (d, d))
    means = X.new_zeros((c, d))
    for start in range(0, n, block_rows):
        rows = slice(start, min(start + block_rows, n))
        profile = kernel.profile_(points.own_products(rows, slice(0, n)), bandwidth)
        degrees = outputs(profile, alpha)
        for k in range(c):
            G = outputs(profile, alpha[:, k : k + 1] * X)
            if kernel.radial:
                G = degrees[:, k : k + 1] * X[rows] - G
            copies = G if weights is None else weights[rows].unsqueeze(1) * G
            means[k] += copies.sum(0)
            total += (G * copies).sum(0) if diagonal else G.T @ copies
    count = n if weights is None else weights.sum()
    total = total / count
    if centered:
        means = means / count
        total = total - (means.square().sum(0) if diagonal else means.T @ means)
    return M * total * M if diagonal else M @ total @ M


def next_from_few_rows(
    points: KernelPoints, alpha: Tensor, bandwidth: float | None, M: Tensor, *, geometric: bool = False
) -> Tensor:
    """Return what ``next_from_fact`` makes of ``fact``, (d, d), without a decomposition of (d, d): for n < d.

    FACT is (M Xᵀ)(L X) with L = diag(C1) − C, or C, of (n, n). With QR decompositions of the two factors all that is
    left is the SVD of an (n, n) matrix, and no singular value is squared on the way.
    """
    C = points.kernel.profile_(points.own_products(slice(0, len(points)), slice(0, len(points))), bandwidth)
    C.mul_(alpha @ alpha.T)
    L = (C + C.T).double() / 2
    if points.kernel.radial:
        L = torch.diag(L.sum(1)) - L
    right = L @ points.X.double()
    if geometric:
        right = right @ M.double()
    Q, R = torch.linalg.qr(points.XM.T.double())
    try:
        U, values, _ = torch.linalg.svd(R @ torch.linalg.qr(right.T).R.T)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise NonFiniteValues("FACT has no singular values to be found; look for huge inputs") from error
    return _from_root(Q @ U, values.sqrt() if geometric else values)


def agop_power_of_few_rows(
    points: KernelPoints,
    alpha: Tensor,
    bandwidth: float | None,
    power: float,
    *,
    centered: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    """Return AGOP^power, (d, d), as ``matrix_power`` makes it of ``agop``, by matrices of (n, n): for n < d.

    The gradients of output k are W_k X M, so AGOP is (M Xᵀ) T (X M) with T = (1/n) Σₖ W_kᵀ W_k.
    """
    n = len(points)
    profile = points.kernel.profile_(points.own_products(slice(0, n), slice(0, n)), bandwidth).double()
    T = torch.zeros_like(profile)
    for k in range(alpha.shape[1]):
        W = profile * alpha[:, k].double()
        if points.kernel.radial:
            W = torch.diag(W.sum(1)) - W
        if centered:
            W = W - weighted_mean(W, weights)
        T += W.T @ (W if weights is None else weights.double().unsqueeze(1) * W)
    count = n if weights is None else weights.double().sum()
    Q, R = torch.linalg.qr(points.XM.T.double())
    values, vectors = _eigen(R @ (T / count) @ R.T)
    return _from_root(Q @ vectors, values.clamp(min=0).pow(power))


def _from_root(root: Tensor, values: Tensor) -> Tensor:
    """Return the symmetric matrix of these eigenvectors (d, r) and eigenvalues (r,); of all others it has 0."""
    M: Tensor = (root * values) @ root.T
    return (M + M.T) / 2


def _eigen(S: Tensor) -> tuple[Tensor, Tensor]:
    try:
        values, vectors = torch.linalg.eigh((S + S.T) / 2)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        largest = float(S.abs().max())
        raise NonFiniteValues(f"a matrix with entries up to {largest:g} has no eigenvalues to be found") from error
    return values, vectors


def matrix_power(S: Tensor, power: float) -> Tensor:
    """Return S^power of a symmetric positive semidefinite S, in float64; negative eigenvalues are cut at 0.

    Raises:
        NonFiniteValues: S holds NaN, infinities, or numbers too far apart for its eigenvalues to be found.
    """
    S = S.double()
    if S.ndim == 1:
        return S.clamp(min=0).pow(power)
    values, vectors = _eigen(S)
    return _from_root(vectors, values.clamp(min=0).pow(power))


def next_from_fact(F: Tensor, M: Tensor, *, geometric: bool) -> Tensor:
    """Return (F Fᵀ)^½, or with ``geometric`` (F M² Fᵀ)^¼, in float64."""
    F, M = F.double(), M.double()
    if F.ndim == 1:
        return (F.abs() * M).sqrt() if geometric else F.abs()
    if geometric:
        return matrix_power(F @ M @ M @ F.T, 0.25)
    return matrix_power(F @ F.T, 0.5)


def rescaled(M: Tensor, scale: str) -> Tensor:
    """Return M with trace d (``trace``), largest entry 1 (``max``), or as it is (``none``)."""
    if scale == "none":
        return M
    diagonal = M if M.ndim == 1 else M.diagonal()
    # the largest entry of a positive semidefinite matrix lies on its diagonal
    return M * (len(diagonal) / diagonal.sum()) if scale == "trace" else M / diagonal.max()

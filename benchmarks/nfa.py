"""Why the Neural Feature Ansatz, WᵀW ∝ AGOP^s, usually holds, and where it fails while FACT holds.

Why it holds. For a kernel k(xᵀMz), FACT and AGOP are one double sum Σᵢⱼ (·) M xᵢ (αᵢ·αⱼ) xⱼᵀ M. FACT weighs a pair by
k′(xᵢᵀMxⱼ), AGOP by τ(xᵢ, M, xⱼ) = (1/n) Σ_l k′(x_lᵀMxᵢ) k′(x_lᵀMxⱼ). Where τ is nearly proportional to k′ the two
agree. On addition modulo a prime, with pairs of one-hot codes, τ is fitted by k′ over all pairs by least squares.

Where it fails. Inputs have two coordinates that are quiet, standard normal in one row of a hundred and zero in all
others, and two that are loud, normal with standard deviation 1/ε in every row. The target is Σ x² over the quiet
coordinates plus ε Σ x² over the loud ones, which f(x) = aᵀ(Wx)² fits exactly. How much weight a coordinate needs is set
by its coefficient q alone: with weight decay the cheapest a w² = q has w² ∝ q^⅔, so WᵀW is about 1 on the quiet
coordinates and ε^⅔ on the loud ones. AGOP is also weighed by how large and how frequent the inputs are: 4q² E x² is
0.04 on the quiet coordinates and 4 on the loud ones, whatever ε. As ε falls WᵀW lives on the quiet coordinates, and
AGOP, at any power that is not tiny, on the loud ones. FACT weighs by the gradient of the loss, and does not mind.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.report import Cell, Report
from worker.engine.config import FitConfig
from worker.engine.features import agop, fact, matrix_power
from worker.engine.kernels import KernelPoints
from worker.engine.network import LOSSES, NetworkConfig, agreement, build, correlation, statistics
from worker.engine.problem import Iterate
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets

MODULUS, QUICK_MODULUS = 61, 31
ITERATIONS, QUICK_ITERATIONS = 40, 10
EVERY = 5
KERNELS = {
    "quadratic": FitConfig(kernel="quadratic", ridge=1e-3, precision="float64"),
    "exponential, L = 2": FitConfig(kernel="exponential", bandwidth=2.0, ridge=1e-3, precision="float64"),
    "exponential, L = 1": FitConfig(kernel="exponential", bandwidth=1.0, ridge=1e-3, precision="float64"),
}
SCATTERED_PAIRS = 4000

ROWS = 2000
BLOCK = 2
"""Quiet coordinates, and loud ones."""
WIDTH = 12
WEIGHT_DECAY = 5e-3
SHARE = 0.01
CASES = ((1.0, SHARE), (0.3, SHARE), (0.1, SHARE), (0.03, SHARE), (0.01, SHARE), (0.03, 1.0), (0.03, 0.1))
"""ε, and the share of rows in which the quiet inputs are not zero."""
QUICK_CASES = ((1.0, SHARE), (0.1, SHARE), (0.03, SHARE))
ROUNDS, QUICK_ROUNDS = 4000, 1500


def add_options(parser: argparse.ArgumentParser) -> None:
    """This benchmark has no options of its own."""
    del parser


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    _report_agreement(arguments, report)
    _report_failure(arguments, report)


@dataclass(frozen=True, eq=False)
class Pairs:
    """k′ and τ of all pairs of training rows, (n, n), and αᵢ·αⱼ."""

    slopes: Tensor
    tau: Tensor
    products: Tensor


def _report_agreement(arguments: argparse.Namespace, report: Report) -> None:
    modulus = QUICK_MODULUS if arguments.quick else MODULUS
    X, codes, training = _addition(modulus, arguments.seed)
    rows: list[list[Cell]] = []
    last: dict[str, Pairs] = {}
    for name, config in KERNELS.items():
        for seen in _iterates(X, codes, training, config, modulus, arguments):
            pairs = _pairs(X[training], seen, config)
            rows.append([name, seen.iteration, seen.metrics["validation_accuracy"], *_fits(pairs)])
            rows[-1] += _features(X[training], seen, config)
            last[name] = pairs
            print(*(f"{cell:.4g}" if isinstance(cell, float) else cell for cell in rows[-1]), flush=True)
    columns = ["kernel", "iteration", "test accuracy", "R²", "R², no intercept", "R² of the terms"]
    columns += ["corr(FACT, AGOP)", "corr(FACT, AGOP^½)"]
    report.table(f"τ fitted by k′ over all pairs of {len(training)} rows, addition modulo {modulus}", columns, rows)
    report.note(
        "R² is of the line through all pairs, R² without an intercept of τ = b k′ (negative: worse than the mean of "
        "τ), R² of the terms of (αᵢ·αⱼ) τ by (αᵢ·αⱼ) k′, which is what is summed. FACT here is (FACT FACTᵀ)^½. With a "
        "wide exponential kernel k′ hardly varies between pairs, so there is little to fit and R² is small, while the "
        "terms agree. The paper reports R² = 0.987 on this task, for the kernel machine that it trains."
    )
    report.picture("pairs", _scattered(last, arguments.seed), "τ against k′ at the last iteration, with the line.")


def _addition(modulus: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return all pairs as one-hot codes (p², 2p), their sums, and which half of them to train on."""
    a, b = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus)).T
    X = torch.cat([nn.functional.one_hot(a, modulus), nn.functional.one_hot(b, modulus)], 1).double()
    order = torch.randperm(modulus**2, generator=torch.Generator().manual_seed(seed))
    return X, (a + b) % modulus, order[: modulus**2 // 2]


def _iterates(
    X: Tensor, codes: Tensor, training: Tensor, config: FitConfig, modulus: int, arguments: argparse.Namespace
) -> Iterator[Iterate]:
    iterations = QUICK_ITERATIONS if arguments.quick else ITERATIONS
    config = replace(config, iterations=iterations)
    held_out = torch.ones(len(X), dtype=torch.bool).index_fill_(0, training, False)
    test = (X[held_out], codes[held_out])
    for state in iterate(X[training], codes[training], ClassTargets(modulus), config, validation=test):
        if state.current.iteration % EVERY == 0:
            yield state.current


def _pairs(X: Tensor, seen: Iterate, config: FitConfig) -> Pairs:
    kernel = config.kernel_function
    slopes = kernel.profile_(KernelPoints(X, seen.M, kernel).products(X), seen.bandwidth)
    return Pairs(slopes, slopes @ slopes.T / len(X), seen.alpha @ seen.alpha.T)


def _fits(pairs: Pairs) -> list[float]:
    slopes, tau = pairs.slopes, pairs.tau
    plain = correlation(slopes, tau) or 0.0
    terms = correlation(slopes * pairs.products, tau * pairs.products) or 0.0
    steepness = (slopes * tau).sum() / slopes.square().sum()
    missed = (tau - steepness * slopes).square().sum() / (tau - tau.mean()).square().sum()
    return [plain**2, float(1 - missed), terms**2]


def _features(X: Tensor, seen: Iterate, config: FitConfig) -> list[float | None]:
    arguments = (KernelPoints(X, seen.M, config.kernel_function), seen.alpha, seen.bandwidth)
    F, G = fact(*arguments), agop(*arguments)
    symmetric = matrix_power(F @ F.T, 0.5)
    return [correlation(symmetric, G), correlation(symmetric, matrix_power(G, 0.5))]


def _scattered(last: dict[str, Pairs], seed: int) -> Figure:
    figure = Figure(figsize=(4 * len(last), 3.4))
    panels = figure.subplots(1, len(last), squeeze=False)[0]
    for panel, (name, pairs) in zip(panels, last.items(), strict=True):
        slopes, tau = pairs.slopes.flatten(), pairs.tau.flatten()
        drawn = torch.randint(len(slopes), (SCATTERED_PAIRS,), generator=torch.Generator().manual_seed(seed))
        panel.scatter(slopes[drawn].tolist(), tau[drawn].tolist(), s=3, alpha=0.3)
        centred = slopes - slopes.mean()
        steepness = float(centred @ tau / (centred @ centred))
        ends = [float(slopes.min()), float(slopes.max())]
        panel.plot(ends, [float(tau.mean()) + steepness * (x - float(slopes.mean())) for x in ends], color="black")
        panel.set_title(f"{name}: R² = {_fits(pairs)[0]:.3f}", fontsize=9)
        panel.set_xlabel("k′(xᵢᵀMxⱼ)")
    panels[0].set_ylabel("τ(xᵢ, M, xⱼ)")
    return figure


def _report_failure(arguments: argparse.Namespace, report: Report) -> None:
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    rows: list[list[float]] = []
    for epsilon, share in QUICK_CASES if arguments.quick else CASES:
        X, Y = _quiet_and_loud(epsilon, share, arguments.seed)
        rows.append([epsilon, share, *_failure(_trained(X, Y, rounds, arguments.seed), X, Y)])
        print(*(f"{cell:.4g}" for cell in rows[-1]), flush=True)
    columns = ["ε", "share of rows with quiet inputs", "WᵀW, quiet", "WᵀW, loud", "AGOP, quiet", "AGOP, loud"]
    columns += ["FACT", "bFACT", "AGOP", "AGOP^½", "AGOP^¼", "eNFA", "eNFA^½", "residual gradient", "loss"]
    report.table("Correlation with WᵀW of the first layer (bFACT: WWᵀ)", columns, rows)
    report.note(
        f"Two-layer network of {WIDTH} units without biases, {ROWS} rows, squared error, λ = {WEIGHT_DECAY}; the last "
        "rows vary how often the quiet inputs speak. WᵀW and AGOP are shown by their mean diagonal entries. The "
        "correlations are of all entries, centred: where two matrices live on different coordinates they fall below 0."
    )
    failing = [row[:2] for row in rows if row[6] > 0.99 and max(row[8:10]) < 0.1]
    at = ", ".join(f"ε = {epsilon:g} with share {share:g}" for epsilon, share in failing) or "nowhere"
    report.note(f"FACT above 0.99 with AGOP and AGOP^½ both below 0.1: {at}.")


def _quiet_and_loud(epsilon: float, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return inputs (n, 4), two quiet coordinates and two loud ones, and targets (n, 1)."""
    generator = torch.Generator().manual_seed(seed)
    quiet, loud = torch.randn(2, ROWS, BLOCK, generator=generator, dtype=torch.float64)
    quiet[int(share * ROWS) :] = 0
    loud /= epsilon
    Y = quiet.square().sum(1) + epsilon * loud.square().sum(1)
    return torch.cat([quiet, loud], 1), Y.unsqueeze(1)


def _trained(X: Tensor, Y: Tensor, rounds: int, seed: int) -> nn.Sequential:
    """Return f(x) = aᵀ(Wx)² brought from random weights to a critical point of mean squared error and weight decay.

    For each W the last layer takes its exact minimiser, a ridge regression, and L-BFGS descends what is left, in units
    of each coordinate's root mean square. Neither changes the critical points; plain descent takes far longer, for the
    inputs' scales are far apart.
    """
    network = build(NetworkConfig(hidden=(WIDTH,), activation="quadratic", bias=False, seed=seed), X.shape[1], 1)
    network.double()
    scale = X.square().mean(0).sqrt()
    V = network[0].weight.detach().clone().requires_grad_()
    identity = torch.eye(WIDTH, dtype=X.dtype)

    def best_last_layer() -> tuple[Tensor, Tensor]:
        H = (X @ (V / scale).T).square()
        return torch.linalg.solve(2 * H.T @ H / len(X) + WEIGHT_DECAY * identity, 2 * H.T @ Y / len(X)), H

    def objective() -> Tensor:
        descent.zero_grad()
        a, H = best_last_layer()
        weights = (V / scale).square().sum() + a.square().sum()
        value = LOSSES["squared"](H @ a, Y).mean() + WEIGHT_DECAY / 2 * weights
        value.backward()
        return value

    descent = torch.optim.LBFGS(
        [V], max_iter=rounds, history_size=100, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    descent.step(objective)
    with torch.no_grad():
        network[0].weight.copy_(V / scale)
        network[2].weight.copy_(best_last_layer()[0].T)
    return network


def _failure(network: nn.Sequential, X: Tensor, Y: Tensor) -> list[float]:
    arguments = (network, X, Y, LOSSES["squared"], WEIGHT_DECAY)
    found, layer = agreement(*arguments)[0], statistics(*arguments)[0]
    inner = layer.weight.T @ layer.weight
    diagonals = [float(part.mean()) for S in (inner, layer.agop) for part in S.diagonal().split(BLOCK)]
    quarter = correlation(matrix_power(layer.agop, 0.25), inner)
    powers = [found.agop, found.agop_root, quarter, found.enfa, found.enfa_root]
    with torch.no_grad():
        loss = float(LOSSES["squared"](network(X), Y).mean())
    return [*diagonals, found.fact, found.bfact, *powers, found.residual_gradient, loss]

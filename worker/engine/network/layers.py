"""The Features at Convergence Theorem on the linear layers of a torch network.

A layer u = W h(x), with or without a bias beside it, of a network trained on (1/n) Σᵢ ℓᵢ + (λ/2) Σ‖W‖² has
∇_W = G + λW with G = (1/n) Σᵢ (∇_u ℓᵢ) h(xᵢ)ᵀ. At a critical point G = −λW. Multiplied by Wᵀ from the left, with
∇_h ℓ = Wᵀ ∇_u ℓ, that is WᵀW = −(1/(nλ)) Σᵢ (∇_h ℓᵢ) h(xᵢ)ᵀ = −WᵀG/λ =: FACT; its transpose multiplied by W is
WWᵀ = −(1/(nλ)) Σᵢ (W h(xᵢ)) (∇_u ℓᵢ)ᵀ = −WGᵀ/λ =: bFACT (arXiv 2507.05644, section 3). A bias changes neither.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.engine.errors import InvalidConfig, NonFiniteValues
from worker.engine.features import matrix_power
from worker.engine.network.perceptron import Loss, evaluating

CHUNK_ROWS = 1024
"""The statistics are gathered over so many rows at a time."""


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """What one layer W (o, i) says of its features.

    ``gradient`` (o, i) of the mean loss without the penalty; ``fact``, ``agop``, ``enfa`` (i, i), to set beside WᵀW;
    ``bfact`` (o, o), to set beside WWᵀ.
    """

    name: str
    weight: Tensor
    gradient: Tensor
    fact: Tensor
    bfact: Tensor
    agop: Tensor
    enfa: Tensor


@dataclass(frozen=True)
class LayerAgreement:
    """Pearson correlations of a layer's statistics with WᵀW (``bfact``: with WWᵀ), None where one is constant.

    ``fact_symmetrised`` is (FACT FACTᵀ)^½; ``_root`` is the power ½. ``residual_gradient`` is ‖∇_W‖ / (λ‖W‖) of the
    objective, 0 at a critical point, None for W = 0.
    """

    name: str
    n_inputs: int
    n_outputs: int
    fact: float | None
    fact_symmetrised: float | None
    bfact: float | None
    agop: float | None
    agop_root: float | None
    enfa: float | None
    enfa_root: float | None
    residual_gradient: float | None
    weight_norm: float


def agreement(
    module: nn.Module,
    X: Tensor,
    Y: Tensor,
    loss: Loss,
    weight_decay: float,
    *,
    layers: Sequence[str] | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> list[LayerAgreement]:
    """Return how far each linear layer is explained by FACT and its rivals; arguments as of ``statistics``.

    Raises:
        InvalidConfig: as ``statistics``.
        NonFiniteValues: so does it, and where a statistic has grown beyond all numbers.
    """
    found = statistics(module, X, Y, loss, weight_decay, layers=layers, chunk_rows=chunk_rows)
    for layer in found:
        matrices = (layer.gradient, layer.fact, layer.bfact, layer.agop, layer.enfa)
        if not all(bool(torch.isfinite(one).all()) for one in matrices):
            raise NonFiniteValues(
                f"the statistics of layer {layer.name!r} grew beyond all numbers; use a smaller learning_rate"
            )
    return [_compared(layer, weight_decay) for layer in found]


def statistics(
    module: nn.Module,
    X: Tensor,
    Y: Tensor,
    loss: Loss,
    weight_decay: float,
    *,
    layers: Sequence[str] | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> list[LayerStatistics]:
    """Return FACT, bFACT, AGOP and eNFA of the linear layers of any module, at its present weights.

    ``layers``: names as in ``module.named_modules()``; all ``nn.Linear`` when None. The objective is the mean of
    ``loss`` over the rows + (``weight_decay``/2) Σ‖W‖². Gradients are those that pass through the layer. Where one
    weight serves at many positions of a row, in many calls or in many layers, the theorem holds for the sum, and that
    is what is returned, once, under the first name. The module runs as in evaluation. Work is one backward pass for the
    loss and one for each output; memory is one chunk of rows.

    Raises:
        InvalidConfig: no weight decay, a name that is no linear layer in use, or a loss that is not one value a row.
        NonFiniteValues: the gradients hold NaN or infinities.
    """
    if not 0 < weight_decay < math.inf:
        raise InvalidConfig(f"weight_decay must be finite and above 0, not {weight_decay}")
    if chunk_rows < 1:
        raise InvalidConfig(f"chunk_rows must be at least 1, not {chunk_rows}")
    if len(X) != len(Y):
        raise InvalidConfig(f"X and Y must have as many rows, not {len(X)} and {len(Y)}")
    sums = _chosen(module, layers)
    for x, y in zip(torch.split(X, chunk_rows), torch.split(Y, chunk_rows), strict=True):
        _gather(module, x, y, loss, sums)
    return [total.statistics(name, len(X), weight_decay) for name, total in sums.items()]


def correlation(A: Tensor, B: Tensor) -> float | None:
    """Return the Pearson correlation of the entries of A and B, None where one of them is constant."""
    a, b = (T.double().flatten() for T in (A, B))
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    return float(a @ b) / scale if scale > 0 else None


class _Sums:
    """Sums over rows for one weight W: (∇_u ℓ) hᵀ, (∇_u ℓ)(∇_u ℓ)ᵀ and J_uᵀJ_u; all else is products of them with W."""

    def __init__(self, layers: list[nn.Linear]) -> None:
        self.layers = layers
        self.W = W = layers[0].weight.detach()
        self.gradient = torch.zeros_like(W)
        self.loss_squares = W.new_zeros((len(W), len(W)))
        self.output_squares = W.new_zeros((len(W), len(W)))
        self.called = False

    def statistics(self, name: str, n: int, weight_decay: float) -> LayerStatistics:
        if not self.called:
            raise InvalidConfig(f"layer {name!r} is not called by the module; leave it out of layers")
        W = self.W
        G, of_loss, of_outputs = self.gradient / n, self.loss_squares / n, self.output_squares / n
        if not all(bool(torch.isfinite(T).all()) for T in (W, G, of_loss, of_outputs)):
            raise NonFiniteValues(f"the weights or gradients of layer {name!r} hold NaN or infinite values")
        return LayerStatistics(
            name,
            W.clone(),
            G,
            fact=-(W.T @ G) / weight_decay,
            bfact=-(W @ G.T) / weight_decay,
            agop=W.T @ of_outputs @ W,
            enfa=W.T @ of_loss @ W,
        )


def _chosen(module: nn.Module, names: Sequence[str] | None) -> dict[str, _Sums]:
    """Return a place for the sums of every weight asked for, by the first name of a layer that has it."""
    linear = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    if names is None and not linear:
        raise InvalidConfig("the module has no linear layer")
    chosen: dict[str, _Sums] = {}
    for name in linear if names is None else names:
        if name not in linear:
            raise InvalidConfig(f"layers must name linear layers of the module, not {name!r}")
        layer = linear[name]
        if not any(layer in total.layers for total in chosen.values()):
            tied = [other for other in linear.values() if other is not layer and other.weight is layer.weight]
            chosen[name] = _Sums([layer, *tied])
    return chosen


def _gather(module: nn.Module, X: Tensor, Y: Tensor, loss: Loss, sums: dict[str, _Sums]) -> None:
    """Add some rows to the sums."""
    with evaluating(module), torch.enable_grad(), _tapped(sums) as calls:
        outputs = module(X)
        losses = loss(outputs, Y)
    if losses.shape != (len(X),):
        raise InvalidConfig(f"loss must return one value a row, shape ({len(X)},), not {tuple(losses.shape)}")
    taps = [tap for _, _, tap in calls]
    for total, h, U in _through(losses, calls, taps):
        total.gradient += U.T @ h
        total.loss_squares += U.T @ U
    for column in outputs.flatten(1).unbind(1):
        for total, _, U in _through(column, calls, taps):
            total.output_squares += U.T @ U


_Call = tuple[_Sums, Tensor, Tensor]
"""A call of a layer: its sums, its input, and a zero added to its output to take gradients by."""


def _through(values: Tensor, calls: list[_Call], taps: list[Tensor]) -> Iterator[_Call]:
    """Yield the sums of each call, its input and ∇_u of each row's value, both with a row for every position."""
    gradients = torch.autograd.grad(values.sum(), taps, retain_graph=True, allow_unused=True, materialize_grads=True)
    for (total, h, _), U in zip(calls, gradients, strict=True):
        yield total, h.flatten(0, -2), U.flatten(0, -2)


@contextmanager
def _tapped(sums: dict[str, _Sums]) -> Iterator[list[_Call]]:
    """Record every call of the layers while the context lasts.

    The tap sees frozen layers too, and what follows may overwrite the layer's output in place without harm.
    """
    calls: list[_Call] = []

    def hook_of(total: _Sums) -> Callable[..., Tensor]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            h = args[0] if args else kwargs["input"]
            tap = torch.zeros_like(output, requires_grad=True)
            total.called = True
            # the caller may overwrite its input in place as well
            calls.append((total, h.detach().clone(), tap))
            return output + tap

        return hook

    handles = [
        layer.register_forward_hook(hook_of(total), with_kwargs=True)
        for total in sums.values()
        for layer in total.layers
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _compared(layer: LayerStatistics, weight_decay: float) -> LayerAgreement:
    W = layer.weight.double()
    inner, outer = W.T @ W, W @ W.T
    norm = float(W.norm())
    rest = float((layer.gradient.double() + weight_decay * W).norm())
    fact = layer.fact.double()
    return LayerAgreement(
        layer.name,
        n_inputs=W.shape[1],
        n_outputs=W.shape[0],
        fact=correlation(fact, inner),
        fact_symmetrised=correlation(matrix_power(fact @ fact.T, 0.5), inner),
        bfact=correlation(layer.bfact, outer),
        agop=correlation(layer.agop, inner),
        agop_root=correlation(matrix_power(layer.agop, 0.5), inner),
        enfa=correlation(layer.enfa, inner),
        enfa_root=correlation(matrix_power(layer.enfa, 0.5), inner),
        residual_gradient=rest / (weight_decay * norm) if norm > 0 else None,
        weight_norm=norm,
    )

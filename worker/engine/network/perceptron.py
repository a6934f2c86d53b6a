"""Multilayer perceptrons to see the theorem on: how they are built and trained."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.engine.errors import InvalidConfig, NonFiniteValues

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes outputs and targets of some rows and returns one value a row, (n,)."""


def squared(outputs: Tensor, Y: Tensor) -> Tensor:
    """Return ‖f(x) − y‖²/c of every row, whose mean is the mean squared error; both are (n, c)."""
    if outputs.shape != Y.shape:
        raise InvalidConfig(f"loss 'squared' needs targets shaped as outputs, {_shape(outputs)}, not {_shape(Y)}")
    return (outputs - Y).square().mean(1)


def cross_entropy(outputs: Tensor, Y: Tensor) -> Tensor:
    """Return −log softmax(f(x))_y of every row; outputs (n, c), class codes (n,)."""
    if Y.shape != outputs.shape[:1] or Y.is_floating_point():
        raise InvalidConfig(
            f"loss 'cross_entropy' needs class codes shaped ({len(outputs)},), not {Y.dtype}{_shape(Y)}"
        )
    return functional.cross_entropy(outputs, Y, reduction="none")


class Quadratic(nn.Module):
    """The activation u²."""

    def forward(self, u: Tensor) -> Tensor:
        return u.square()


LOSSES: Mapping[str, Loss] = {"squared": squared, "cross_entropy": cross_entropy}
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "quadratic": Quadratic,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}


@dataclass(frozen=True)
class NetworkConfig:
    """A multilayer perceptron and how to train it, full batch.

    The learning rate holds for the first part of the steps and falls to zero along a half cosine over the last
    ``cooldown`` share of them, so that the gradient comes to rest. A gradient longer than ``max_gradient_norm``, its
    decay included, is shortened to it: steep beginnings then do not blow up, and critical points stay where they are.

    Raises:
        InvalidConfig: naming the parameter, its value and what would be right.
    """

    hidden: tuple[int, ...] = (256, 256, 256)
    activation: str = "relu"
    bias: bool = True
    loss: str = "squared"
    weight_decay: float = 5e-3
    learning_rate: float = 0.1
    momentum: float = 0.9
    max_gradient_norm: float | None = 1.0
    steps: int = 3000
    cooldown: float = 0.5
    report_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("activation", ACTIVATIONS), ("loss", LOSSES)):
            if getattr(self, name) not in allowed:
                raise InvalidConfig(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if any(width < 1 for width in self.hidden):
            raise InvalidConfig(f"hidden must hold widths of at least 1, not {self.hidden}")
        for name in ("weight_decay", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidConfig(f"{name} must be finite and above 0, not {getattr(self, name)}")
        if self.max_gradient_norm is not None and not 0 < self.max_gradient_norm < math.inf:
            raise InvalidConfig(
                f"max_gradient_norm must be finite and above 0, or None for no bound, not {self.max_gradient_norm}"
            )
        if not 0 <= self.momentum < 1:
            raise InvalidConfig(f"momentum must lie in [0, 1), not {self.momentum}")
        if not 0 <= self.cooldown <= 1:
            raise InvalidConfig(f"cooldown must lie in [0, 1], not {self.cooldown}")
        if self.steps < 0:
            raise InvalidConfig(f"steps must be at least 0, not {self.steps}")
        if self.report_every < 1:
            raise InvalidConfig(f"report_every must be at least 1, not {self.report_every}")

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        cooling = self.cooldown * self.steps
        left = self.steps - step
        return self.learning_rate * (0.5 - 0.5 * math.cos(math.pi * left / cooling) if left < cooling else 1.0)


@dataclass(frozen=True, eq=False)
class NetworkState:
    """Where training stands after ``step`` steps: the trained parameters, their momentum, and the objective.

    ``loss`` is the mean over the rows; ``penalty`` is (λ/2) Σ‖W‖² over the parameters of two or more dimensions.
    """

    step: int
    weights: dict[str, Tensor]
    momentum: dict[str, Tensor]
    loss: float
    penalty: float


def build(config: NetworkConfig, n_features: int, n_outputs: int) -> nn.Sequential:
    """Return the untrained network, in float32 on the CPU; its weights are drawn by the seed alone.

    Weights are uniform with variance 2 / inputs in hidden layers and 1 / inputs in the last; biases start at zero.
    """
    generator = torch.Generator().manual_seed(config.seed)
    network = nn.Sequential()
    widths = (n_features, *config.hidden, n_outputs)
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        last = i == len(config.hidden)
        layer = nn.Linear(inputs, outputs, bias=config.bias, device="meta").to_empty(device="cpu")
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear" if last else "relu", generator=generator)
        if config.bias:
            nn.init.zeros_(layer.bias)
        network.append(layer)
        if not last:
            network.append(ACTIVATIONS[config.activation]())
    return network


def train(
    module: nn.Module, X: Tensor, Y: Tensor, config: NetworkConfig, state: NetworkState | None = None
) -> Iterator[NetworkState]:
    """Train by full-batch gradient descent with momentum; yield a state every ``report_every`` steps and at the end.

    A fresh run yields step 0 too. The caller may stop at any state and go on from it later, with the same result bit
    for bit on the same machine. ``module`` is moved to the device and dtype of X and holds the weights of the state
    last yielded. Matrices decay; vectors (biases) and frozen parameters do not. The module runs as in evaluation,
    without dropout: the theorem is about one fixed function of the weights.

    Raises:
        InvalidConfig: targets that the loss cannot take, or a state of another module.
        NonFiniteValues: X or the targets hold NaN or infinities, or the objective grew beyond all numbers.
    """
    for name, values in (("X", X), ("Y", Y)):
        if not bool(torch.isfinite(values).all()):
            raise NonFiniteValues(
                f"{name} holds NaN or infinite values (as {values.dtype}); look for huge numbers in the columns"
            )
    module.to(X.device, X.dtype)
    parameters = {name: W for name, W in module.named_parameters() if W.requires_grad}
    momentum = {name: torch.zeros_like(W) for name, W in parameters.items()}
    step = 0
    if state is not None:
        if state.weights.keys() != parameters.keys():
            raise InvalidConfig(f"the state is of a module with {sorted(state.weights)}, not {sorted(parameters)}")
        with torch.no_grad():
            for name, W in parameters.items():
                W.copy_(state.weights[name])
                momentum[name].copy_(state.momentum[name])
        step = state.step
    while True:
        with evaluating(module), torch.enable_grad():
            loss = LOSSES[config.loss](module(X), Y).mean()
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
        due = step % config.report_every == 0 or step >= config.steps
        if due and (state is None or step > state.step):
            yield _snapshot(step, parameters, momentum, float(loss.detach()), config.weight_decay)
        if step >= config.steps:
            return
        rate = config.learning_rate_at(step)
        with torch.no_grad():
            downhill = [
                G.add(W, alpha=config.weight_decay) if W.ndim > 1 else G
                for W, G in zip(parameters.values(), gradients, strict=True)
            ]
            shortened = _shortening(downhill, config.max_gradient_norm)
            for (name, W), G in zip(parameters.items(), downhill, strict=True):
                momentum[name].mul_(config.momentum).add_(G * shortened)
                W.sub_(momentum[name], alpha=rate)
        step += 1


def _shortening(gradients: Sequence[Tensor], longest: float | None) -> Tensor | float:
    """Return what to multiply gradients by so that together they are at most so long; nothing leaves the device."""
    if longest is None:
        return 1.0
    length = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(G) for G in gradients]))
    shortening: Tensor = (longest / length).clamp(max=1.0)
    return shortening


def _snapshot(
    step: int, parameters: dict[str, nn.Parameter], momentum: dict[str, Tensor], loss: float, weight_decay: float
) -> NetworkState:
    squares = sum(float(W.detach().double().square().sum()) for W in parameters.values() if W.ndim > 1)
    penalty = weight_decay / 2 * squares
    if not math.isfinite(loss + penalty):
        raise NonFiniteValues(f"the objective grew beyond all numbers by step {step}; use a smaller learning_rate")
    weights = {name: W.detach().clone() for name, W in parameters.items()}
    return NetworkState(step, weights, {name: V.clone() for name, V in momentum.items()}, loss, penalty)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part of the module into evaluation, and back as it was."""
    were_training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in were_training:
            part.training = True


def _shape(T: Tensor) -> str:
    return str(tuple(T.shape))

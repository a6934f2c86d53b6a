"""The Features at Convergence Theorem on trained networks, layer by layer.

A multilayer perceptron with three hidden layers of 256 rectified units is trained full batch with weight decay, on
scikit-learn's digits and, with --data, on MNIST, with mean squared error and with cross-entropy. Pixels are scaled to
[0, 1] and centred by the training rows' mean. After every hundred steps or so each layer's statistics are correlated,
entry by entry, with WᵀW (bFACT: with WWᵀ). The theorem speaks of critical points: the residual gradient,
‖∇_W‖ / (λ‖W‖) of the objective, says how near one the layer is. Nothing is chosen on test rows.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import one_hot

from benchmarks.report import Cell, Report
from worker.engine.network import LOSSES, LayerAgreement, NetworkConfig, agreement, build, train

DIGITS_TRAINING_ROWS = 1400
MNIST_ROWS = 3000
REPORTS = 20
"""A run is looked at about so many times."""
STATISTICS = {
    "fact": "FACT",
    "fact_symmetrised": "√(FACT·FACTᵀ)",
    "bfact": "bFACT",
    "agop": "AGOP",
    "agop_root": "AGOP^½",
    "enfa": "eNFA",
    "enfa_root": "eNFA^½",
}
DIGITS = (
    NetworkConfig(
        loss="squared", weight_decay=5e-3, learning_rate=0.4, momentum=0.95, steps=2000, max_gradient_norm=None
    ),
    NetworkConfig(
        loss="cross_entropy", weight_decay=2e-2, learning_rate=0.4, momentum=0.95, steps=2000, max_gradient_norm=None
    ),
    NetworkConfig(
        loss="cross_entropy", weight_decay=5e-3, learning_rate=0.4, momentum=0.95, steps=8000, max_gradient_norm=None
    ),
)
MNIST = (
    NetworkConfig(
        loss="squared", weight_decay=5e-3, learning_rate=0.4, momentum=0.95, steps=2000, max_gradient_norm=None
    ),
    NetworkConfig(
        loss="cross_entropy", weight_decay=2e-2, learning_rate=0.4, momentum=0.95, steps=2000, max_gradient_norm=None
    ),
)
QUICK_STEPS = 500


@dataclass(frozen=True, eq=False)
class Images:
    """Centred pixels (n, d) and class codes (n,), to train on and to test on."""

    name: str
    X: Tensor
    codes: Tensor
    X_test: Tensor
    codes_test: Tensor


@dataclass(frozen=True)
class Moment:
    """What is seen at one step of training."""

    step: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    layers: list[LayerAgreement]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder that holds image/mnist.npz; without it, digits alone")
    parser.add_argument("--mnist-rows", type=int, default=MNIST_ROWS, help="training rows of MNIST, drawn by the seed")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    runs: dict[str, list[Moment]] = {}
    for images, config in _cases(arguments):
        name = f"{images.name}, {config.loss.replace('_', '-')}, λ = {config.weight_decay:g}"
        print(f"{name}: {len(images.X)} training rows, learning rate {config.learning_rate}", flush=True)
        runs[name] = []
        for moment in _moments(images, config):
            runs[name].append(moment)
            print(*(f"{cell:.4g}" if isinstance(cell, float) else cell for cell in _summary(moment)), flush=True)
    ends = [_layer_row(name, layer) for name, moments in runs.items() for layer in moments[-1].layers]
    columns = ["run", "layer", *STATISTICS.values(), "residual gradient", "‖W‖"]
    report.table("Correlation by layer at the end", columns, ends)
    _tell_goal(runs, report)
    columns = ["step", "loss", "train accuracy", "test accuracy", *STATISTICS.values(), "residual gradient"]
    for name, moments in runs.items():
        report.table(f"Over training, worst layer: {name}", columns, [_summary(moment) for moment in _thinned(moments)])
    report.picture("training", _drawn(runs), "Correlation over training, of the layer where it is least.")


def _cases(arguments: argparse.Namespace) -> Iterator[tuple[Images, NetworkConfig]]:
    digits = _digits(arguments.seed)
    for config in DIGITS[:2] if arguments.quick else DIGITS:
        yield digits, _sized(config, arguments)
    if arguments.data is not None:
        mnist = _mnist(arguments.data, 500 if arguments.quick else arguments.mnist_rows, arguments.seed)
        for config in MNIST[:1] if arguments.quick else MNIST:
            yield mnist, _sized(config, arguments)


def _sized(config: NetworkConfig, arguments: argparse.Namespace) -> NetworkConfig:
    steps = QUICK_STEPS if arguments.quick else config.steps
    return replace(config, steps=steps, report_every=steps // (5 if arguments.quick else REPORTS), seed=arguments.seed)


def _digits(seed: int) -> Images:
    digits = load_digits()
    X, codes = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))
    return _split("digits", X, codes, order[:DIGITS_TRAINING_ROWS], order[DIGITS_TRAINING_ROWS:])


def _mnist(folder: Path, rows: int, seed: int) -> Images:
    """Return MNIST with its official test rows, and so many of the other rows to train on."""
    with np.load(folder / "image" / "mnist.npz", allow_pickle=False) as stored:
        X, codes = torch.tensor(stored["X"]), torch.tensor(stored["y"])
        kept = torch.tensor(np.concatenate([stored["train_idx"], stored["val_idx"]])).long()
        test = torch.tensor(stored["test_idx"]).long()
    drawn = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))[:rows]]
    return _split(f"MNIST ({rows} rows)", X.flatten(1).float() / 255, codes, drawn, test)


def _split(name: str, X: Tensor, codes: Tensor, training: Tensor, test: Tensor) -> Images:
    X = X - X[training].mean(0)
    return Images(name, X[training], codes[training].long(), X[test], codes[test].long())


def _moments(images: Images, config: NetworkConfig) -> Iterator[Moment]:
    n_classes = int(images.codes.max()) + 1
    Y = one_hot(images.codes, n_classes).float() if config.loss == "squared" else images.codes
    network = build(config, images.X.shape[1], n_classes)
    for state in train(network, images.X, Y, config):
        layers = agreement(network, images.X, Y, LOSSES[config.loss], config.weight_decay)
        yield Moment(
            state.step,
            state.loss,
            _accuracy(network, images.X, images.codes),
            _accuracy(network, images.X_test, images.codes_test),
            layers,
        )


def _accuracy(network: nn.Module, X: Tensor, codes: Tensor) -> float:
    with torch.no_grad():
        return float((network(X).argmax(1) == codes).double().mean())


def _summary(moment: Moment) -> list[Cell]:
    """Return the least correlation over layers of each statistic, and the largest residual gradient."""
    accuracies = [moment.train_accuracy, moment.test_accuracy]
    least = [_least(moment.layers, statistic) for statistic in STATISTICS]
    return [moment.step, moment.loss, *accuracies, *least, max(layer.residual_gradient or 0 for layer in moment.layers)]


def _least(layers: Sequence[LayerAgreement], statistic: str) -> float:
    """Return the least correlation; a layer whose statistic is constant has none, and counts as nought."""
    return min(getattr(layer, statistic) or 0.0 for layer in layers)


def _layer_row(name: str, layer: LayerAgreement) -> list[Cell]:
    shape = f"{layer.n_inputs} → {layer.n_outputs}"
    correlations = [getattr(layer, statistic) for statistic in STATISTICS]
    return [name, shape, *correlations, layer.residual_gradient, layer.weight_norm]


def _tell_goal(runs: dict[str, list[Moment]], report: Report) -> None:
    for name, moments in runs.items():
        least = min(_least(moments[-1].layers, statistic) for statistic in ("fact", "bfact"))
        verdict = "reached" if least >= 0.999 else "missed"
        report.note(f"{name}: FACT and bFACT in every layer at least {least:.5f}; the goal of 0.999 is {verdict}.")
    report.note(
        "A layer whose residual gradient is not small has not come to rest, and the theorem does not speak of it yet. "
        "With little weight decay cross-entropy needs more steps, and rectified units make the gradient jump where "
        "rows sit at a kink."
    )


def _thinned(moments: list[Moment]) -> list[Moment]:
    return [moment for i, moment in enumerate(moments) if i % 2 == 0 or moment is moments[-1]]


def _drawn(runs: dict[str, list[Moment]]) -> Figure:
    figure = Figure(figsize=(4 * len(runs), 3.4))
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for panel, (name, moments) in zip(panels, runs.items(), strict=True):
        for statistic, label in STATISTICS.items():
            steps = [moment.step for moment in moments]
            panel.plot(steps, [_least(moment.layers, statistic) for moment in moments], label=label)
        panel.set_title(name, fontsize=9)
        panel.set_xlabel("step")
        panel.set_ylim(-0.2, 1.02)
    panels[0].set_ylabel("correlation, worst layer")
    panels[-1].legend(fontsize=7)
    return figure

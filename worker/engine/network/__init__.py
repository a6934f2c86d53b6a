"""Torch networks, and how far the Features at Convergence Theorem explains their linear layers."""

from worker.engine.network.layers import (
    CHUNK_ROWS,
    LayerAgreement,
    LayerStatistics,
    agreement,
    correlation,
    statistics,
)
from worker.engine.network.perceptron import (
    ACTIVATIONS,
    LOSSES,
    Loss,
    NetworkConfig,
    NetworkState,
    build,
    cross_entropy,
    squared,
    train,
)

__all__ = [
    "ACTIVATIONS",
    "CHUNK_ROWS",
    "LOSSES",
    "LayerAgreement",
    "LayerStatistics",
    "Loss",
    "NetworkConfig",
    "NetworkState",
    "agreement",
    "build",
    "correlation",
    "cross_entropy",
    "squared",
    "statistics",
    "train",
]

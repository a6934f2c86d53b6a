"""Checkpoints of a fit: the newest iterate, the best one, and what was seen on the way.

The newest file decides where a fit goes on; the best file is what the fit would answer with if it ended here. Both hold
tensors and JSON. In a cross-validation the trail carries the scores of the folds that are done.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from worker.contracts.messages import ArtifactRef, Checkpoint
from worker.contracts.resources import IterationSummary
from worker.engine.recursion import FitState, Iterate
from worker.store.artifacts import Artifacts
from worker.store.tensors import pack, unpack


@dataclass(frozen=True)
class Score:
    """How one iteration of a fold did: its validation loss (parts in order of weight) and the ridge it chose."""

    loss: tuple[float, ...]
    ridge: float


@dataclass
class Trail:
    """What a fit remembers beside the state of the recursion.

    ``folds``: scores of each finished fold, by iteration; ``scores`` those of the fold under way. ``history`` and
    ``matrices`` belong to the fit under way.
    """

    folds: list[list[Score]] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    history: list[IterationSummary] = field(default_factory=list)
    matrices: list[ArtifactRef] = field(default_factory=list)

"""Comparison of models: specs, metrics, and learned feature matrices."""

from collections.abc import Mapping, Sequence

import numpy as np

from service.models.feature_matrix import LearnedMatrix, importance, learned_something
from worker.contracts.resources.comparison import ComparedFeature, ComparedMetric, ComparedOption, Comparison
from worker.store.models import ModelRecord

MAX_COMPARED = 10
"""Largest number of models or jobs to compare."""


def compare(records: Sequence[ModelRecord], matrices: Sequence[LearnedMatrix]) -> Comparison:
    """Return the comparison of models; ``matrices`` are in the same order."""
    models = [record.resource for record in records]
    specs = [model.spec for model in models]
    options = [(name, [spec.get(name) for spec in specs]) for name in _names(specs)]
    described = [{entry.feature: entry for entry in importance(learned)} for learned in matrices]
    shares = [{name: entry.share for name, entry in by_name.items()} for by_name in described]
    traces = [{name: entry.trace_share for name, entry in by_name.items()} for by_name in described]
    features = sorted(_names(shares), key=lambda name: -max(by_name.get(name) or 0.0 for by_name in shares))
    return Comparison(
        models=models,
        metrics=[
            ComparedMetric(metric=name, values=[model.metrics.get(name) for model in models])
            for name in _names([model.metrics for model in models])
        ],
        spec=[
            ComparedOption(option=name, values=values)
            for name, values in options
            if any(value != values[0] for value in values)
        ],
        features_learned=[learned_something(learned) for learned in matrices],
        features=[
            ComparedFeature(
                feature=name,
                shares=[by_name.get(name) for by_name in shares],
                trace_shares=[by_name.get(name) for by_name in traces],
            )
            for name in features
        ],
        similarity=[[similarity(matrix, other) for other in matrices] for matrix in matrices],
    )


def similarity(matrix: LearnedMatrix, other: LearnedMatrix) -> float | None:
    """Return the cosine between two feature matrices as vectors. A column of only one of them counts as zeros.

    None if they share no column.
    """
    place = {name: index for index, name in enumerate(other.names)}
    mine = [index for index, name in enumerate(matrix.names) if name in place]
    if not mine:
        return None
    theirs = [place[matrix.names[index]] for index in mine]
    inner = float((matrix.M[np.ix_(mine, mine)].astype(float) * other.M[np.ix_(theirs, theirs)]).sum())
    lengths = float(np.linalg.norm(matrix.M.astype(float)) * np.linalg.norm(other.M.astype(float)))
    return min(inner / lengths, 1.0) if lengths > 0 else 0.0


def _names(mappings: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the keys of all mappings, in order of first occurrence."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))

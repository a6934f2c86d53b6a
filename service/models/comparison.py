"""Models side by side: what they were told, how they did, and how alike the features are that they learned."""

from collections.abc import Mapping, Sequence

import numpy as np

from service.models.feature_matrix import LearnedMatrix, importance, learned_something
from worker.contracts.comparison import ComparedFeature, ComparedMetric, ComparedOption, Comparison
from worker.store.models import ModelRecord

MAX_COMPARED = 10
"""So many models, or jobs on a page, stand side by side."""


def compare(records: Sequence[ModelRecord], matrices: Sequence[LearnedMatrix]) -> Comparison:
    """Return the comparison of models, each with its matrix, in their order."""
    models = [record.resource for record in records]
    specs = [model.spec for model in models]
    options = [(name, [spec.get(name) for spec in specs]) for name in _names(specs)]
    described = [{one.feature: one for one in importance(learned)} for learned in matrices]
    shares = [{name: one.share for name, one in found.items()} for found in described]
    traces = [{name: one.trace_share for name, one in found.items()} for found in described]
    features = sorted(_names(shares), key=lambda name: -max(one.get(name) or 0.0 for one in shares))
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
                shares=[one.get(name) for one in shares],
                trace_shares=[one.get(name) for one in traces],
            )
            for name in features
        ],
        similarity=[[similarity(one, other) for other in matrices] for one in matrices],
    )


def similarity(one: LearnedMatrix, other: LearnedMatrix) -> float | None:
    """Return the cosine between two feature matrices as vectors; a column that only one of them has counts as zeros.

    None where they have no column in common: then there is nothing to compare.
    """
    place = {name: index for index, name in enumerate(other.names)}
    mine = [index for index, name in enumerate(one.names) if name in place]
    if not mine:
        return None
    theirs = [place[one.names[index]] for index in mine]
    inner = float((one.M[np.ix_(mine, mine)].astype(float) * other.M[np.ix_(theirs, theirs)]).sum())
    lengths = float(np.linalg.norm(one.M.astype(float)) * np.linalg.norm(other.M.astype(float)))
    return min(inner / lengths, 1.0) if lengths > 0 else 0.0


def _names(mappings: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the names of all, in the order in which they come first."""
    return list(dict.fromkeys(name for one in mappings for name in one))

"""Models side by side. Every list of values is in the order of the models."""

from typing import Any

from pydantic import Field

from worker.contracts.base import Contract
from worker.contracts.resources.models import Model


class ComparedMetric(Contract):
    """One metric; null where a model has none of that name."""

    metric: str
    values: list[float | None]


class ComparedOption(Contract):
    """An option of the spec in which the models differ."""

    option: str
    values: list[Any]


class ComparedFeature(Contract):
    """An original column and its share by each model, see FeatureShare; null where a model does not read it."""

    feature: str
    shares: list[float | None]
    trace_shares: list[float | None]


class Comparison(Contract):
    """Models side by side."""

    models: list[Model]
    metrics: list[ComparedMetric]
    spec: list[ComparedOption] = Field(description="Only what differs.")
    features_learned: list[bool] = Field(
        description="False if a model's M is the identity: it learned nothing about its columns."
    )
    features: list[ComparedFeature] = Field(description="The most important in any model first.")
    similarity: list[list[float | None]] = Field(
        description=(
            "Cosine between each two feature matrices, by encoded column; a column that a model lacks counts as 0. "
            "Null for two models without a common column."
        )
    )

"""What the rows to validate on also chose: their figures are a little too good then, and say so wherever they stand."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.contracts.specs import CHOICES

PREFIX = "validation_"
OPTIMISTIC = "so their figures are a little too good"


def validation_chose(request: Mapping[str, Any]) -> list[str]:
    """Return what validation rows choose in a job, by its request with every default resolved: options of the spec.

    None of a network, whose validation rows choose nothing, of a prediction, and of a fit without validation.
    """
    if request.get("kind") not in ("fit", "tune") or request.get("validation") is None:
        return []
    spec = request["spec"]
    searched = (request.get("search") or {}).get("space") or {}
    chosen = [name for name in (*CHOICES, "ridge") if spec.get(name) == "auto" or name in searched]
    chosen += [name for name in searched if name not in chosen]
    update_is_learned = spec.get("update") != "none" or "update" in searched
    if update_is_learned and (spec.get("iterations", 0) > 0 or "iterations" in searched):
        chosen = [*(name for name in chosen if name != "iterations"), "iteration"]
    return chosen


def validation_chose_before(
    metrics: Iterable[str], spec: Mapping[str, Any], raced: Sequence[Mapping[str, Any]], iterations: int
) -> list[str]:
    """Return the same of a model that was stored before models said it: what its row still tells.

    ``raced``: the short runs that its options were settled by.
    """
    if not any(name.startswith(PREFIX) for name in metrics):
        return []
    chosen = [name for name in CHOICES if len({run.get(name) for run in raced}) > 1]
    if raced or spec.get("ridge") == "auto":
        chosen.append("ridge")
    return [*chosen, "iteration"] if iterations > 0 else chosen


def in_words(chosen: Sequence[str]) -> str:
    """Return names of options as they stand in a sentence: the ridge, the bandwidth factor and the iteration."""
    names = [f"the {name.replace('_', ' ')}" for name in chosen]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

"""Resolve every default of a training request."""

from typing import Any

from worker.contracts.base import Task
from worker.contracts.errors import InvalidRequest
from worker.contracts.requests import FitRequest, NetworkRequest, TableRequest, TuneRequest
from worker.contracts.search import SearchOption
from worker.training import search_space

Training = FitRequest | TuneRequest | NetworkRequest


def resolve(request: Training, features: list[str], task: Task) -> Training:
    """Return the request with every default resolved.

    Raises:
        InvalidRequest: the space of a search, or the loss of a network, is invalid.
    """
    read = {*features, *request.targets, request.weights}
    types = {name: kind for name, kind in request.columns.items() if name in read}
    changes: dict[str, Any] = {"task": task, "features": features, "exclude": [], "columns": types}
    if isinstance(request, NetworkRequest):
        _check_loss(request, task)
    elif isinstance(request, TuneRequest):
        space = search_space.resolve(request.spec, request.search.space)
        spec = search_space.close_options(request.spec.resolved(), space)
        changes |= {"spec": spec, "search": request.search.model_copy(update={"space": space})}
    else:
        changes["spec"] = request.spec.resolved()
    return request.model_copy(update=changes)


def check_solver(request: Training) -> None:
    """See that the solver takes weights of rows, where there are some.

    Raises:
        InvalidRequest: it does not.
    """
    solver = None if isinstance(request, NetworkRequest) else request.spec.solver
    if request.weighs and solver in ("cg", "blocks"):
        field = "weights" if request.weights is not None else "class_weight"
        raise InvalidRequest.at(
            "/spec/solver",
            f"solver {solver!r} takes no weights of rows: use 'auto' or 'cholesky', or leave out {field}",
        )


MAX_LEAVES = 20_000
"""Each is a part of the job, with a file of its own."""


def joined(request: Training) -> bool:
    """Return whether rows that a fraction holds out join the training rows in the end."""
    if not isinstance(request, FitRequest) or request.validation is None:
        return False
    return request.spec.refit and request.validation.fraction is not None


def by_blocks(request: Training, rows: int, most: int) -> Training:
    """Return the request of a fit of more than ``most`` training rows with solver 'blocks', where it leaves it open."""
    if not isinstance(request, FitRequest) or request.spec.solver != "auto" or rows <= most or request.weighs:
        return request
    if request.spec.encoding == "statistics":
        # their tree reads rows again and again, and does not know which of them train
        return request
    if request.validation is not None and request.validation.folds is not None:
        return request
    return request.model_copy(update={"spec": request.spec.model_copy(update={"solver": "blocks"}).resolved()})


def check_leaves(request: Training, rows: int) -> None:
    """See that a tree over so many training rows has not too many leaves.

    Raises:
        InvalidRequest: it has.
    """
    if not isinstance(request, FitRequest) or request.spec.solver != "blocks":
        return
    blocks = request.spec.blocks
    leaves = 0 if blocks is None else blocks.leaves(rows)
    if blocks is not None and leaves > MAX_LEAVES:
        raise InvalidRequest.at(
            "/spec/blocks/leaf",
            f"{rows} rows in leaves of {blocks.leaf} make about {leaves} leaves, and at most {MAX_LEAVES} are allowed: "
            "take larger leaves or less overlap",
        )


def leaves_encoding(request: Training) -> bool:
    """Return whether the request may use the expanded encoding or another one."""
    if isinstance(request, TuneRequest) and "encoding" in (request.search.space or {}):
        return {"plain", "expanded"} <= {*(request.search.space or {})["encoding"].corners}
    return request.spec.encoding == "auto"


def without_expanded(request: Training) -> Training:
    """Return the request without the expanded encoding."""
    changes: dict[str, Any] = {"spec": request.spec.model_copy(update={"encoding": "plain"})}
    if isinstance(request, TuneRequest) and "encoding" in (request.search.space or {}):
        space = {**(request.search.space or {}), "encoding": SearchOption(choices=["plain"])}
        changes["search"] = request.search.model_copy(update={"space": space})
    return request.model_copy(update=changes)


def may_expand(request: Training) -> bool:
    """Return whether the request may use the expanded encoding."""
    tried = (request.search.space or {}).get("encoding") if isinstance(request, TuneRequest) else None
    possible = {request.spec.encoding, *(tried.corners if tried is not None else ())}
    return bool({"expanded", "statistics", "auto"} & possible)


def _check_loss(request: NetworkRequest, task: Task) -> None:
    if request.spec.loss == "cross_entropy" and task == "regression":
        raise InvalidRequest.at("/spec/loss", "cross_entropy is for a classification; a regression has loss 'squared'")


def split_sizes(request: TableRequest, rows: int, held_out: int | None) -> tuple[int, int]:
    """Return the maximal number of training rows, and the number of validation rows."""
    if held_out is not None:
        return rows, held_out
    if request.validation is None or request.validation.folds is not None:
        return rows, 0
    # one row trains, as in tables.encoding.splits
    scored = min(max(1, round(rows * (request.validation.fraction or 0.0))), rows - 1)
    return rows - scored, scored

"""Refusal of unknown and repeated query parameters: a misspelt ``?dryrun=true`` would start the job."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from service.http.validation_errors import MAX_PLACES, invalid_request
from worker.contracts.errors import FieldError
from worker.tables.close_names import close_names, shown


async def reject_unknown_parameters(request: Request) -> None:
    """Refuse unknown and repeated query parameters: a dependency of routes.

    Raises:
        InvalidRequest: names each of them, with a similar parameter.
    """
    if not request.scope["query_string"]:
        return
    known = _known(request.scope["route"])
    counts = Counter(name for name, _ in request.query_params.multi_items())
    wrong = [name for name, count in counts.items() if name not in known or (count > 1 and not known[name])]
    if wrong:
        places = wrong[:MAX_PLACES]
        raise invalid_request([FieldError(f"query:{shown(name)}", _message(name, known)) for name in places])


def _message(name: str, known: Mapping[str, bool]) -> str:
    if name in known:
        return "it is told twice; tell it once"
    names = sorted(known)
    close = close_names(name, names, most=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names) or 'none'}"
    return f"there is no such parameter ({hint})"


def _known(route: APIRoute) -> dict[str, bool]:
    """Return the query parameters of a route, and whether each may be repeated."""
    return {
        field.alias: _is_list(field.field_info.annotation)
        for field in get_flat_params(route.dependant)
        if isinstance(field.field_info, params.Query)
    }


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))

"""A parameter of a query that is none is refused: ``?dryrun=true`` would start the job that it was to try."""

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from service.http.validation_errors import MAX_PLACES
from worker.contracts.errors import FieldError, InvalidRequest
from worker.tables.close_names import close_names, shown


async def known_queries(request: Request) -> None:
    """Refuse what no parameter of the route is: a dependency of routes.

    Raises:
        InvalidRequest: naming each, with the parameter that may be meant.
    """
    if not request.scope["query_string"]:
        return
    known = _known(request.scope["route"])
    unknown = [name for name in request.query_params if name not in known][:MAX_PLACES]
    if unknown:
        errors = tuple(FieldError(f"query:{shown(name)}", _message(name, known)) for name in unknown)
        raise InvalidRequest(f"{errors[0].pointer}: {errors[0].message}", errors=errors)


def _message(name: str, known: frozenset[str]) -> str:
    names = sorted(known)
    close = close_names(name, names, most=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names) or 'none'}"
    return f"there is no such parameter ({hint})"


def _known(route: APIRoute) -> frozenset[str]:
    return frozenset(
        field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, params.Query)
    )

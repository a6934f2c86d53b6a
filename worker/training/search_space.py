"""The space of a search over the training spec: valid values, conditional options, and specs of samples."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from worker.contracts.errors import FieldError, InvalidRequest, pointer
from worker.contracts.search import OptionValue, SearchOption
from worker.contracts.specs import AUTO_CANDIDATES, FitSpec

Space = dict[str, SearchOption]
Params = Mapping[str, OptionValue]

CONDITIONS: dict[str, tuple[str, OptionValue]] = {
    "geometric_average": ("update", "fact"),
    "agop_power": ("update", "nfa"),
    "center_gradients": ("update", "nfa"),
    "exponent": ("kernel", "generalized"),
    "bandwidth_factor": ("bandwidth", "median"),
    "encoding": ("standardize", True),
}
"""Conditional options: each applies only if another option has a certain value."""

SHARED = ("seed",)
"""The seed splits the rows, and trials on different rows cannot be compared."""

DEFAULT: Space = {
    "bandwidth_factor": SearchOption(low=0.3, high=30, log=True),
    "encoding": SearchOption(choices=["plain", "expanded"]),
    "exponent": SearchOption(low=0.7, high=2),
    "feature_matrix": SearchOption(choices=["full", "diagonal"]),
    "geometric_average": SearchOption(choices=[False, True]),
    "ridge": SearchOption(low=1e-5, high=10, log=True),
    "update": SearchOption(choices=["fact", "nfa"]),
}


def around(spec: FitSpec) -> FitSpec:
    """Return the base spec of a search: the first candidate of ``spec``."""
    return spec.candidates()[0]


def close_options(requested: FitSpec, space: Space) -> FitSpec:
    """Return the spec with 'auto' only for options whose candidates are all in the space."""
    spec = around(requested)
    closed: dict[str, Any] = {}
    for name, values in AUTO_CANDIDATES.items():
        tried = [value for value in values if name in space and space[name].holds(value)]
        if getattr(requested, name) == "auto" and len(tried) < len(values):
            closed[name] = tried[0] if tried else getattr(spec, name)
    return requested.model_copy(update=closed)


def resolve(requested: FitSpec, space: Space | None) -> Space:
    """Return the validated space for a spec; conditional options come last.

    Raises:
        InvalidRequest: an option is unknown, a value is invalid, or two options exclude each other.
    """
    spec = around(requested)
    if space is None:
        named = {name for name in requested.model_fields_set if getattr(requested, name) == getattr(spec, name)}
        free = {name: option for name, option in DEFAULT.items() if name not in named}
        space = {name: option for name, option in free.items() if _possible(spec, free, name)}
        if not space:
            raise InvalidRequest.at("/search/space", "the spec names all that is searched by default; give a space")
    wrong = [error for name in space for error in _check_option(spec, space, name)]
    _refuse(wrong)
    resolved = {name: _typed(name, space[name]) for name in sorted(space, key=lambda name: (name in CONDITIONS, name))}
    _refuse(_check_pairs(spec, resolved))
    return resolved


def applies(spec: FitSpec, name: str, params: Params) -> bool:
    """Return whether an option applies with ``params``; other options are as in ``spec``."""
    if name not in CONDITIONS:
        return True
    parent, needed = CONDITIONS[name]
    return bool(params.get(parent, getattr(spec, parent)) == needed)


def configured(spec: FitSpec, params: Params) -> FitSpec:
    """Return ``spec`` with ``params`` set, and without options that do not apply."""
    values: dict[str, Any] = {**spec.model_dump(), **params}
    for name in CONDITIONS:
        if not applies(spec, name, params) and (name in params or applies(spec, name, {})):
            del values[name]
    return around(FitSpec.model_validate(values))


def values_of(spec: FitSpec, space: Space) -> dict[str, OptionValue]:
    """Return the values of ``spec`` for the options of the space."""
    return {name: getattr(spec, name) for name in space if applies(spec, name, {})}


def _check_option(spec: FitSpec, space: Space, name: str) -> list[FieldError]:
    """Return the errors of an option and of each of its values."""
    place = pointer("search", "space", name)
    if name not in FitSpec.model_fields:
        return [FieldError(place, f"the spec has no option {name!r}; it has {', '.join(FitSpec.model_fields)}")]
    if name in SHARED:
        return [FieldError(place, f"{name} splits the rows, and trials on different rows cannot be compared")]
    if not _possible(spec, space, name):
        parent, needed = CONDITIONS[name]
        return [FieldError(place, f"{name} is for {parent} {needed!r}, which this search never tries")]
    option = space[name]
    if option.choices is None and not _kinds(name) & {"number", "integer"}:
        return [FieldError(place, f"{name} is no number; give choices")]
    if _is_integer(name) and option.choices is None and option.step is not None and not option.step.is_integer():
        return [FieldError(f"{place}/step", f"{name} is a whole number; its step must be one too, not {option.step:g}")]
    ends = ("low", "high") if option.choices is None else tuple(f"choices/{i}" for i in range(len(option.choices)))
    context = _context(space, name)
    return [
        FieldError(f"{place}/{end}", message)
        for end, value in zip(ends, option.corners, strict=True)
        if (message := _refusal(spec, {**context, name: value})) is not None
    ]


def _check_pairs(spec: FitSpec, space: Space) -> list[FieldError]:
    """Return the errors of pairs of options that exclude each other."""
    wrong = []
    for first, second in combinations(space, 2):
        for value in space[first].corners:
            for other in space[second].corners:
                params = {**_context(space, first), **_context(space, second), first: value, second: other}
                if not (applies(spec, first, params) and applies(spec, second, params)):
                    continue
                message = _refusal(spec, params)
                if message is not None:
                    text = f"{other!r} does not go together with {first} {value!r}: {message}"
                    wrong.append(FieldError(pointer("search", "space", second), text))
    return wrong


def _possible(spec: FitSpec, space: Space, name: str) -> bool:
    if name not in CONDITIONS:
        return True
    parent, needed = CONDITIONS[name]
    tried = space[parent].choices or [] if parent in space else [getattr(spec, parent)]
    return needed in tried


def _context(space: Space, name: str) -> dict[str, OptionValue]:
    """Return the params that the option needs to apply."""
    if name not in CONDITIONS or CONDITIONS[name][0] not in space:
        return {}
    parent, needed = CONDITIONS[name]
    return {parent: needed}


def _refusal(spec: FitSpec, params: Params) -> str | None:
    try:
        configured(spec, params)
    except ValidationError as error:
        return "; ".join(entry["msg"].removeprefix("Value error, ") for entry in error.errors(include_url=False))
    return None


def _typed(name: str, option: SearchOption) -> SearchOption:
    """Return the option marked as integer if it is one, and without duplicate choices."""
    if option.choices is not None:
        return option.model_copy(update={"choices": list(dict.fromkeys(option.choices))})
    if _is_integer(name):
        return option.model_copy(update={"integer": True})
    return option


def _is_integer(name: str) -> bool:
    return _kinds(name) & {"number", "integer"} == {"integer"}


def _kinds(name: str) -> set[str]:
    """Return the JSON types of an option of the spec."""
    schema = FitSpec.model_json_schema()["properties"][name]
    return {variant["type"] for variant in [schema, *schema.get("anyOf", [])] if "type" in variant}


def _refuse(wrong: list[FieldError]) -> None:
    if wrong:
        raise InvalidRequest(f"{wrong[0].pointer}: {wrong[0].message}", errors=tuple(wrong))

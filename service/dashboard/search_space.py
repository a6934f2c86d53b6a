"""The form of a search's space: each option of the spec, whether it is searched, in which range or list of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.dashboard.fields import Field, grouped
from worker.contracts.search import SearchOption
from worker.contracts.specs import FitSpec
from worker.training.search_space import DEFAULT, SHARED

RANGE = ("low", "high", "step", "log")


@dataclass(frozen=True)
class Searched:
    """One option. ``range`` holds the inputs of one, and is empty where the option is no number."""

    option: Field
    ticked: bool
    way: Literal["range", "choices"]
    range: list[Field]
    choices: Field


def searched(given: Mapping[str, Any] | None) -> list[Searched]:
    """Return the options that a search may try, those of the space that is ``given`` or of the default one first."""
    space = {name: option.model_dump() for name, option in DEFAULT.items()} if given is None else given
    names = [*space, *(name for name in FitSpec.model_fields if name not in space and name not in SHARED)]
    options = grouped(FitSpec, "/search/space", {"": names}, {})[""]
    return [_searched(option, space.get(name)) for name, option in zip(names, options, strict=True)]


def meanings(options: Sequence[Searched]) -> dict[str, str]:
    """Return what each input of the options is for, by the last step of its pointer."""
    shown = {field.pointer.rsplit("/", 1)[1] for one in options for field in (*one.range, one.choices)}
    return {name: field.description or "" for name, field in SearchOption.model_fields.items() if name in shown}


def _searched(option: Field, given: Mapping[str, Any] | None) -> Searched:
    number = bool(option.range)
    # what is searched settles by trial what 'auto' would settle
    usual = [False, True] if option.kind == "flag" else [one for one in option.options if one != "auto"]
    held = given or {"choices": None if number else usual}
    # options that are whole numbers have it set by themselves; of others it is rarely asked
    whole = ("integer",) if held.get("integer") and not option.whole else ()
    fields = grouped(SearchOption, option.pointer, {"": (*RANGE, *whole, "choices")}, held)[""]
    return Searched(
        option=option,
        ticked=given is not None,
        way="choices" if held.get("choices") or not number else "range",
        range=fields[:-1] if number else [],
        choices=fields[-1],
    )

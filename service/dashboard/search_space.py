"""The form of a search space: for each option whether it is searched, and its range or choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.dashboard.fields import Field, grouped
from worker.contracts.search import SearchOption
from worker.contracts.specs import FitSpec
from worker.training.search_space import DEFAULT, SHARED

RANGE = ("low", "high", "step", "log")


@dataclass(frozen=True)
class OptionForm:
    """The inputs of one option. ``range`` is empty where the option is no number."""

    option: Field
    ticked: bool
    mode: Literal["range", "choices"]
    range: list[Field]
    choices: Field


def space_form(chosen: Mapping[str, Any] | None) -> list[OptionForm]:
    """Return the options that a search may try. Those of the ``chosen`` or the default space come first."""
    space = {name: option.model_dump() for name, option in DEFAULT.items()} if chosen is None else chosen
    names = [*space, *(name for name in FitSpec.model_fields if name not in space and name not in SHARED)]
    options = grouped(FitSpec, "/search/space", {"": names}, {})[""]
    return [_option_form(option, space.get(name)) for name, option in zip(names, options, strict=True)]


def meanings(options: Sequence[OptionForm]) -> dict[str, str]:
    """Return the descriptions of the shown inputs, by the last step of their pointers."""
    shown = {field.pointer.rsplit("/", 1)[1] for option in options for field in (*option.range, option.choices)}
    return {name: field.description or "" for name, field in SearchOption.model_fields.items() if name in shown}


def _option_form(option: Field, chosen: Mapping[str, Any] | None) -> OptionForm:
    number = bool(option.range)
    # a search replaces 'auto'
    usual = [False, True] if option.kind == "flag" else [choice for choice in option.options if choice != "auto"]
    held = chosen or {"choices": None if number else usual}
    # integer options imply ``integer``; for others the input is shown only where it is set
    integer = ("integer",) if held.get("integer") and not option.integer else ()
    fields = grouped(SearchOption, option.pointer, {"": (*RANGE, *integer, "choices")}, held)[""]
    return OptionForm(
        option=option,
        ticked=chosen is not None,
        mode="choices" if held.get("choices") or not number else "range",
        range=fields[:-1] if number else [],
        choices=fields[-1],
    )

"""Forms made of contracts: every option with its explanation, its default and what it may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.dashboard.formats import option, words
from worker.contracts.base import Contract

Kind = Literal["choice", "flag", "number", "text"]

FIT_GROUPS = {
    "Learning the features": (
        "update",
        "iterations",
        "feature_matrix",
        "geometric_average",
        "agop_power",
        "center_gradients",
        "scale",
        "patience",
    ),
    "Kernel": ("kernel", "exponent", "bandwidth", "bandwidth_factor"),
    "Columns": ("encoding", "standardize", "normalize_rows"),
    "Solving": ("ridge", "solver", "precision", "refit", "seed"),
}
NETWORK_GROUPS = {
    "Network": ("hidden", "activation", "bias", "loss"),
    "Training": (
        "steps",
        "learning_rate",
        "momentum",
        "weight_decay",
        "max_gradient_norm",
        "cooldown",
        "report_every",
        "seed",
    ),
    "Columns": ("encoding", "standardize", "normalize_rows"),
}


@dataclass(frozen=True)
class Field:
    """One input. ``pointer`` is where its value goes in the body; an empty input leaves the default."""

    pointer: str
    label: str
    description: str
    kind: Kind
    options: tuple[str, ...]
    default: str
    value: str
    range: str
    whole: bool
    listed: bool

    @property
    def id(self) -> str:
        """What the input is called in the page."""
        return self.pointer.strip("/").replace("/", "-").replace("_", "-")


def grouped(
    contract: type[Contract], prefix: str, groups: Mapping[str, Sequence[str]], given: Mapping[str, Any]
) -> dict[str, list[Field]]:
    """Return the inputs of a contract by group, holding what is ``given`` in place of defaults."""
    properties = contract.model_json_schema()["properties"]
    return {
        title: [_field(f"{prefix}/{name}", name, properties[name], given) for name in names]
        for title, names in groups.items()
    }


def _field(pointer: str, name: str, schema: Mapping[str, Any], given: Mapping[str, Any]) -> Field:
    ways = schema.get("anyOf", [schema])
    options = [str(value) for way in ways for value in way.get("enum", [way["const"]] if "const" in way else [])]
    numbers = [way for way in ways if way.get("type") in ("number", "integer")]
    nullable = any(way.get("type") == "null" for way in ways)
    listed = any(way.get("type") == "array" for way in ways)
    kind: Kind = "text"
    if any(way.get("type") == "boolean" for way in ways):
        kind = "flag"
    elif options and not numbers:
        kind = "choice"
    elif numbers and not options:
        kind = "number"
    default = schema.get("default")
    return Field(
        pointer=pointer,
        label=words(name),
        description=schema.get("description", ""),
        kind=kind,
        options=tuple(options),
        default=_written(default),
        value=_written(given.get(name, default)),
        range=_range(numbers[0], [*options, *(["null"] if nullable and default is not None else [])])
        if numbers
        else "",
        whole=bool(numbers) and numbers[0]["type"] == "integer",
        listed=listed,
    )


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, list):
        return ", ".join(map(_listed, value))
    # all digits: another job like this one gets the same number
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _listed(value: Any) -> str:
    """Return a member of a list: there nothing would be no member, and a flag without a word no value."""
    words = {None: "null", False: "false", True: "true"}
    return words[value] if value is None or isinstance(value, bool) else _written(value)


def _range(schema: Mapping[str, Any], options: Sequence[str]) -> str:
    """Return what a number may be, in words."""
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    bounds = [
        f"{said} {option(schema[key])}"
        for key, said in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    alternatives = "".join(f", or {one}" for one in options)
    return " ".join([kind, *bounds]) + alternatives

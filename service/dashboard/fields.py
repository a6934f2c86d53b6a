"""Form inputs generated from contracts: label, description, default and allowed values of each option."""

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
BLOCKS_GROUPS = {"Blocks, of solver blocks": ("rows", "learn", "leaf", "overlap")}
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
    """One input. ``pointer``: JSON pointer of its value in the body. An empty input means the default."""

    pointer: str
    label: str
    description: str
    kind: Kind
    options: tuple[str, ...]
    default: str
    value: str
    range: str
    integer: bool
    listed: bool

    @property
    def id(self) -> str:
        """The id of the HTML element."""
        return self.pointer.strip("/").replace("/", "-").replace("_", "-")


def grouped(
    contract: type[Contract], prefix: str, groups: Mapping[str, Sequence[str]], values: Mapping[str, Any]
) -> dict[str, list[Field]]:
    """Return the inputs of a contract by group, filled with ``values``, else with defaults."""
    properties = contract.model_json_schema()["properties"]
    return {
        title: [_field(f"{prefix}/{name}", name, properties[name], values) for name in names]
        for title, names in groups.items()
    }


def _field(pointer: str, name: str, schema: Mapping[str, Any], values: Mapping[str, Any]) -> Field:
    variants = schema.get("anyOf", [schema])
    types = {variant.get("type") for variant in variants}
    enums = [variant.get("enum", [variant["const"]] if "const" in variant else []) for variant in variants]
    options = [str(value) for enum in enums for value in enum]
    numbers = [variant for variant in variants if variant.get("type") in ("number", "integer")]
    kind: Kind = "text"
    if "boolean" in types:
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
        value=_written(values.get(name, default)),
        range=_range(numbers[0], [*options, *(["null"] if "null" in types and default is not None else [])])
        if numbers
        else "",
        integer=bool(numbers) and numbers[0]["type"] == "integer",
        listed="array" in types,
    )


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, list):
        return ", ".join(map(_listed, value))
    # all digits, so that a job from this form gets the same number
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _listed(value: Any) -> str:
    """Return the text of a list member. Null and booleans are words there."""
    words = {None: "null", False: "false", True: "true"}
    return words[value] if value is None or isinstance(value, bool) else _written(value)


def _range(schema: Mapping[str, Any], options: Sequence[str]) -> str:
    """Return the allowed values of a number, in words."""
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    bounds = [
        f"{word} {option(schema[key])}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    alternatives = "".join(f", or {choice}" for choice in options)
    return " ".join([kind, *bounds]) + alternatives

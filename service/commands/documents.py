"""Specs and jobs from files and flags: YAML, JSON, JSON lines, and ``name=value``."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from service.errors import WrongSetting


def read_document(path: Path) -> Any:
    """Return the content of a YAML, JSON or JSON-lines file.

    Raises:
        WrongSetting: the file cannot be read or parsed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongSetting(f"{path} cannot be read: {error}") from error
    try:
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        # JSON is YAML too
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise WrongSetting(f"{path} cannot be read: {str(error).strip()}") from error


def read_spec(path: Path | None, settings: Sequence[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec: that of a file, overridden by ``name=value`` settings, overridden by flags.

    Raises:
        WrongSetting: the file holds no mapping, or a setting has no name.
    """
    spec: dict[str, Any] = {}
    if path is not None:
        document = read_document(path)
        if not isinstance(document, dict):
            raise WrongSetting(f"{path} must hold the options of a spec, such as 'ridge: 0.1', not {document!r}"[:300])
        spec |= document
    for setting in settings:
        name, mark, value = setting.partition("=")
        if not mark or not name.strip():
            raise WrongSetting(f"--set is {setting!r}: it must look like ridge=0.1 or kernel=laplace")
        try:
            spec[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise WrongSetting(f"--set {name}: {value!r} cannot be read: {error}") from error
    return spec | {name: value for name, value in flags.items() if value is not None}


def read_columns(settings: Sequence[str]) -> dict[str, str]:
    """Return the field ``columns`` of a job from ``name=type`` settings; a name may hold = itself.

    Raises:
        WrongSetting: a setting has no name or no type, or two of them name one column.
    """
    types: dict[str, str] = {}
    for setting in settings:
        name, mark, kind = setting.rpartition("=")
        if not mark or not name or not kind.strip():
            raise WrongSetting(f"--column is {setting!r}: it must look like zip=categorical or note=ignore")
        if name in types:
            raise WrongSetting(f"--column names {name!r} twice: as {types[name]} and as {kind.strip()}")
        types[name] = kind.strip()
    return types


def read_class_weight(settings: Sequence[str]) -> str | dict[str, float] | None:
    """Return the field ``class_weight`` of a job: balanced, or weights from ``label=weight``; a label may hold =.

    Raises:
        WrongSetting: a setting is neither, or two of them name one label.
    """
    if not settings:
        return None
    if list(settings) == ["balanced"]:
        return "balanced"
    weights: dict[str, float] = {}
    for setting in settings:
        label, mark, text = setting.rpartition("=")
        try:
            weight = float(text) if mark else math.nan
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight):
            raise WrongSetting(f"--class-weight is {setting!r}: it must look like fraud=20, or be balanced, alone")
        if label in weights:
            raise WrongSetting(f"--class-weight names {label!r} twice: {weights[label]:g} and {weight:g}")
        weights[label] = weight
    return weights


def read_validation(text: str | None, group: str | None = None, time: str | None = None) -> dict[str, Any]:
    """Return the field ``validation`` of a job: a share of the rows, folds, another dataset, a column, or none.

    ``group`` and ``time``: columns by which rows are split; a share of 0.2 unless the text has another.

    Raises:
        WrongSetting: it is none of these.
    """
    by = {name: column for name, column in (("group", group), ("time", time)) if column is not None}
    if text is None:
        return {"validation": {**by, "fraction": 0.2}} if by else {}
    if text == "none" and not by:
        return {"validation": None}
    if text.startswith("ds_"):
        return {"validation": {**by, "dataset": text}}
    if text.startswith("column="):
        return {"validation": {**by, "column": text.removeprefix("column=")}}
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if 0 < number < 1:
        return {"validation": {**by, "fraction": number}}
    if number >= 2 and number.is_integer():
        return {"validation": {**by, "folds": int(number)}}
    choices = "a share such as 0.2, or folds such as 5"
    others = "" if by else ", a dataset's id, column=NAME, or none"
    raise WrongSetting(f"--validation is {text!r}: it must be {choices}{others}")

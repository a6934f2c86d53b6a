"""The model card: what the model is, what it reads, how it did, how to make it again."""

import json

from worker.contracts.resources import LearnedFeatures
from worker.store.models import ModelRecord

TOP = 10


def model_card(record: ModelRecord, features: LearnedFeatures) -> str:
    """Return Markdown."""
    model = record.resource
    lines = [
        f"# {model.name}, version {model.version}",
        "",
        f"A {model.task} model: FACT-RFM, a kernel machine with a learned feature matrix (arXiv 2507.05644).",
        "",
        f"- Id: `{model.id}`, made by job `{model.job}` at {model.created_at:%Y-%m-%d %H:%M} UTC",
        f"- Dataset: `{model.dataset}`, {model.training_rows} training rows",
        f"- Chosen iteration: {model.iteration} of {model.iterations}, ridge {model.ridge:g}, {model.precision}",
        f"- File: {model.bytes} bytes, sha256 `{model.sha256}`",
        "",
        "## Reads",
        "",
        "| column | type |",
        "|---|---|",
        *(f"| {_cell(column.name)} | {column.type} |" for column in model.features),
        "",
        "## Answers",
        "",
        *(f"- {_cell(column.name)} ({column.type})" for column in model.targets),
    ]
    if model.classes is not None:
        lines.append(f"- classes: {', '.join(_cell(str(label)) for label in model.classes)}")
    lines += [
        "",
        "## Metrics",
        "",
        "Validation rows chose the iteration and the ridge, so their figures are a little too good.",
        "",
        "| metric | value |",
        "|---|---|",
        *(f"| {name} | {value:.6g} |" for name, value in model.metrics.items()),
        "",
        f"## The {min(TOP, len(features.importance))} most important columns",
        "",
        "Shares of the trace of the feature matrix.",
        "",
        "| column | share |",
        "|---|---|",
        *(f"| {_cell(one.feature)} | {one.share:.4f} |" for one in features.importance[:TOP]),
        "",
        "## Make it again",
        "",
        "```json",
        json.dumps({"kind": "fit", "dataset": model.dataset, "target": _target(record), "spec": model.spec}, indent=2),
        "```",
        "",
        "Send this to `POST /v1/jobs`.",
        "",
    ]
    return "\n".join(lines)


def _target(record: ModelRecord) -> str | list[str]:
    names = [column.name for column in record.resource.targets]
    return names[0] if len(names) == 1 else names


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")

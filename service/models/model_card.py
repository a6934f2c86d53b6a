"""The model card: inputs, outputs, metrics, important features, spec, and how to reproduce the model.

It is one file with the heatmap as a data URI. Viewers that do not show such images (GitHub's) show the alternative
text, which names the call for the picture.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.models.markdown import escaped
from worker.contracts.resources import Column, Dataset, LearnedFeatures, Model
from worker.contracts.validation import PREFIX, also_chose, how_chosen, selection_notes
from worker.store.models import ModelRecord

TOP = 10
MAX_COLUMNS = 200
"""Largest number of listed columns, the most important ones."""
MAX_LABELS = 50
MAX_LEFT_OUT = 20
LEADING = 3
WEIGHTS = 5
UNLEARNED = (
    "**The model learned nothing of its columns**: the matrix is the identity, with which every fit begins, and shares "
    "only tell how much each column varies."
)
MIN_WEIGHT = 0.005
"""Smaller weights are left out."""


@dataclass(frozen=True)
class CardFacts:
    """The data of a card. ``dataset`` and ``request`` (of the job) are None if they were deleted."""

    record: ModelRecord
    features: LearnedFeatures
    picture: bytes
    dataset: Dataset | None
    request: Mapping[str, Any] | None


def model_card(facts: CardFacts) -> str:
    """Return the card in Markdown."""
    model = facts.record.resource
    head = [f"# {escaped(model.name)}, version {model.version}"]
    if model.description:
        head += ["", escaped(model.description)]
    sections = (
        head,
        _about(facts),
        _inputs(facts),
        _outputs(facts),
        _metrics(facts),
        _importance(facts),
        _spec(facts),
        _reproduction(facts),
        [f"[heatmap]: data:image/png;base64,{base64.b64encode(facts.picture).decode()}", ""],
    )
    return "\n".join(line for section in sections for line in (*section, "")).rstrip("\n") + "\n"


def _about(facts: CardFacts) -> list[str]:
    model = facts.record.resource
    lines = [
        f"A {model.task} model: FACT-RFM, a kernel machine with a learned feature matrix (arXiv 2507.05644).",
        "",
        f"- Id: `{model.id}`, made by job `{model.job}` at {model.created_at:%Y-%m-%d %H:%M} UTC",
        f"- Trained on {model.training_rows} rows of dataset {_dataset(facts)}",
        *_weights(model),
        *_dropped(model),
        f"- {how_chosen(model)} Ridge {model.ridge:g}, {model.precision}",
        f"- File: {model.bytes} bytes, sha256 `{model.sha256}`. The training rows are in it, encoded.",
    ]
    if model.spec.get("solver") == "blocks" and model.solver is not None:
        lines.append(
            f"- Many machines: {escaped(model.solver)}. `GET /v1/models/{model.id}/leaves` has the rule of each"
        )
    if model.tags:
        lines.insert(2, f"- Tags: {', '.join(f'`{tag}`' for tag in model.tags)}")
    if model.versions:
        lines.append(f"- Trained by {', '.join(f'{name} {version}' for name, version in model.versions.items())}")
    return lines


def _weights(model: Model) -> list[str]:
    lines = []
    if model.weights is not None:
        lines.append(f"- Rows have the weights of column {escaped(model.weights)}")
    if isinstance(model.class_weight, dict):
        labels = [f"{escaped(label)} {weight:g}" for label, weight in list(model.class_weight.items())[:MAX_LABELS]]
        more = len(model.class_weight) - len(labels)
        lines.append(f"- Classes have the weights {', '.join(labels)}{f' and {more} more' if more else ''}; others 1")
    elif model.class_weight is not None:
        lines.append("- All classes have the same weight altogether")
    return lines


def _dropped(model: Model) -> list[str]:
    counts = (
        (model.dropped_rows, "without a target"),
        (model.dropped_validation_rows, "without a target of the validation dataset"),
        (model.weightless_rows, "of weight 0"),
    )
    lines = [f"- {count} rows {which} were left out" for count, which in counts if count]
    named = model.left_out[:MAX_LEFT_OUT]
    lines += [f"- Column {escaped(one.column)} was left out: {escaped(one.reason)}" for one in named]
    more = len(model.left_out) - len(named)
    return [*lines, f"- {more} more columns were left out"] if more else lines


def _dataset(facts: CardFacts) -> str:
    model = facts.record.resource
    if facts.dataset is None:
        return f"`{model.dataset}`, which was deleted"
    return (
        f"`{model.dataset}` ({escaped(facts.dataset.name)}, {facts.dataset.rows} rows, sha256 `{facts.dataset.sha256}`)"
    )


def _inputs(facts: CardFacts) -> list[str]:
    model = facts.record.resource
    known = {} if facts.dataset is None else {column.name: column for column in facts.dataset.columns}
    shown = model.features
    lines = ["## Reads", ""]
    if len(shown) > MAX_COLUMNS:
        first = {feature.feature for feature in facts.features.importance[:MAX_COLUMNS]}
        lines += [f"{len(shown)} columns; here are the {MAX_COLUMNS} most important.", ""]
        shown = [column for column in shown if column.name in first]
    lines += [
        "| column | type | in the dataset | a missing value | a value not seen in training |",
        "|---|---|---|---|---|",
    ]
    encoded: dict[str, list[str]] = {}
    for name, source in zip(facts.record.summary.encoded_names, facts.record.summary.encoded_sources, strict=True):
        encoded.setdefault(source, []).append(name)
    for column in shown:
        encoded_names = encoded.get(column.name, [])
        cells = [
            escaped(column.name),
            column.type,
            _value_range(known.get(column.name)),
            *_missing_and_unseen(column.name, column.type, encoded_names),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", "Columns are matched by name; others are ignored. A number that is not finite is refused."]


def _value_range(column: Column | None) -> str:
    if column is None:
        return ""
    missing = f", {column.missing} missing" if column.missing else ""
    if isinstance(column.min, float) and isinstance(column.max, float) and column.mean is not None:
        return f"{column.min:.6g} to {column.max:.6g}, mean {column.mean:.6g}{missing}"
    if column.type == "datetime" and column.min is not None:
        return f"{column.min} to {column.max}{missing}"
    return f"{column.distinct} values{missing}"


def _missing_and_unseen(name: str, kind: str, encoded: Sequence[str]) -> tuple[str, str]:
    """Return how a missing value and an unseen value are encoded."""
    if not encoded:
        return "ignored: constant in training", "ignored: constant in training"
    flagged = f"{name}:missing" in encoded
    if kind == "categorical":
        return ("a category of its own" if flagged else "as a category not seen", "one category for all of them")
    if kind == "text":
        return f"the middle of the texts{', and flagged' if flagged else ''}", "by what it shares with them"
    ranked = f"{name}:rank" in encoded
    filled = "the middle of the column" if ranked else "the mean of the training rows"
    beyond = "taken as it is; its rank ends at that of the outermost" if ranked else "taken as it is"
    return f"{filled}{', and flagged' if flagged else ''}", beyond if kind in (
        "numeric",
        "datetime",
    ) else "there is none"


def _outputs(facts: CardFacts) -> list[str]:
    model = facts.record.resource
    lines = ["## Answers", "", *(f"- {escaped(column.name)} ({column.type})" for column in model.targets)]
    if model.classes is not None:
        labels = ", ".join(escaped(str(label)) for label in model.classes[:MAX_LABELS])
        more = len(model.classes) - MAX_LABELS
        lines.append(f"- classes: {labels}{f' and {more} more' if more > 0 else ''}; and a probability for each")
    return lines


def _metrics(facts: CardFacts) -> list[str]:
    model = facts.record.resource
    return [
        "## Metrics",
        "",
        *_validation_notes(model),
        *(["The last solve has those rows too; the figures are from before."] if model.refitted else []),
        "",
        "| metric | value |",
        "|---|---|",
        *(f"| {_metric(name, model)} | {value:.6g} |" for name, value in model.metrics.items()),
        *_fold_lines(model),
    ]


def _fold_lines(model: Model) -> list[str]:
    figures = model.validation
    if figures is None:
        return []
    cells = ((name, mean, figures.deviation[name], figures.folds) for name, mean in figures.mean.items())
    return [
        "",
        f"Of {len(figures.folds)} folds, each on the rows that it held out:",
        "",
        "| metric | mean | deviation | folds |",
        "|---|---|---|---|",
        *(
            f"| {_metric(name, model)} | {mean:.6g} | {deviation:.2g} | "
            f"{', '.join(f'{fold[name]:.6g}' for fold in folds)} |"
            for name, mean, deviation, folds in cells
        ),
    ]


def _validation_notes(model: Model) -> list[str]:
    sentences = selection_notes(model)
    if sentences:
        return sentences
    if any(name.startswith(PREFIX) for name in model.metrics):
        return ["Validation rows chose nothing of this model."]
    return ["No rows were held out for these figures."]


def _metric(name: str, model: Model) -> str:
    return f"{name}, rows also chose" if also_chose(name, model) else name


def _importance(facts: CardFacts) -> list[str]:
    features, model = facts.features, facts.record.resource
    total = sum(features.eigenvalues) or 1.0
    lines = [
        f"## The {min(TOP, len(features.importance))} most important columns",
        "",
        "What each column adds to the mean squared distance that the feature matrix makes between two training rows. "
        "Its share of the trace beside it grows with the number of its categories.",
        "",
        *([UNLEARNED, ""] if not features.features_learned else []),
        "| column | share of distance | share of trace |",
        "|---|---|---|",
        *(
            f"| {escaped(feature.feature)} | {feature.share or 0:.4f} | {feature.trace_share:.4f} |"
            for feature in features.importance[:TOP]
        ),
        "",
        f"Effective rank {features.effective_rank:.3g} of {model.encoded_features} encoded columns. The directions:",
        "",
    ]
    for direction in features.directions[:LEADING]:
        weights = ", ".join(
            f"{escaped(loading.feature)} {loading.weight:+.2f}"
            for loading in direction.loadings[:WEIGHTS]
            if abs(loading.weight) >= MIN_WEIGHT
        )
        lines.append(f"- {direction.eigenvalue / total:.1%} of the trace: {weights}")
    picture = f"`GET /v1/models/{model.id}/features/matrix` with `Accept: image/png` draws it"
    return [*lines, "", f"![The feature matrix as a heatmap: {picture}][heatmap]"]


def _spec(facts: CardFacts) -> list[str]:
    spec = facts.record.resource.spec
    rows = (f"| {name} | {escaped(json.dumps(value))} |" for name, value in spec.items())
    return ["## Spec", "", "With every choice made.", "", "| option | value |", "|---|---|", *rows]


def _reproduction(facts: CardFacts) -> list[str]:
    model, request = facts.record.resource, facts.request
    targets = [column.name for column in model.targets]
    body: dict[str, Any] = {
        "kind": "fit",
        "dataset": model.dataset,
        "target": targets[0] if len(targets) == 1 else targets,
        "features": [column.name for column in model.features],
        "task": model.task,
        "model": model.name,
        **{name: value for name in ("weights", "class_weight") if (value := getattr(model, name)) is not None},
    }
    if request is not None:
        body["validation"] = request.get("validation")
        body["missing_target"] = request.get("missing_target", "drop")
        if request.get("columns"):
            body["columns"] = request["columns"]
    lines = ["## Make it again", ""]
    if facts.dataset is None:
        lines += ["The dataset was deleted: upload it again and put its new id here.", ""]
    if request is None:
        lines += ["The job was deleted, so how it was validated is not known; the default is below.", ""]
    return [
        *lines,
        "```sh",
        "curl -s \"$FACTRFM_URL/v1/jobs\" -H 'Content-Type: application/json' -d @- <<'END'",
        json.dumps({**body, "spec": model.spec}, indent=2),
        "END",
        "```",
        "",
        f"The seed is in it ({model.spec.get('seed')}). The same versions on the same kind of processor give the same "
        "figures; others give them up to rounding.",
    ]

"""Commands on models: list, features, export, predict, explain."""

import io
import itertools
import json
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import typer
from rich.console import Group
from rich.text import Text

from service.client.progress import ProgressBar
from service.commands.session import HeaderRow, Limit, Session, remote, table
from service.errors import WrongSetting
from worker.contracts.errors import UnknownCategories
from worker.contracts.explanation import Explanation, Sensitivity
from worker.contracts.resources import Leaf, Model
from worker.contracts.resources.leaves import leaf_error
from worker.contracts.validation import LEFT_OUT_PREFIX, PREFIX, also_chose
from worker.tables.spreadsheets import shown_table

Ref = Annotated[str, typer.Argument(help="A model's id, its name (the latest version), or name@version.")]
STANDARD = "-"
MAX_SHOWN = 5
SHARE = "share of distance"
UNLEARNED = "learned nothing of its columns: shares only tell how much each varies"
FORMS = {".csv": "csv", ".parquet": "parquet", ".arrow": "arrow"}


class Format(StrEnum):
    """File formats of an export."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"


@remote
def models(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="Only versions of this name.")] = None,
    limit: Limit = 20,
) -> None:
    """List models, newest first."""
    page = list(itertools.islice(session.client.models(name), limit))
    rows = [(f"{item.name}@{item.version}", item.id, item.task, item.training_rows, _metrics(item)) for item in page]
    session.show(page, lambda: table(("model", "id", "task", "rows", "validation"), rows))


@remote
def features(
    session: Session,
    ref: Ref,
    top: Annotated[int, typer.Option(min=1, help="How many columns to show.")] = 20,
    encoded: Annotated[bool, typer.Option("--encoded", help="By encoded column, not folded back.")] = False,
    png: Annotated[Path | None, typer.Option(help="Save the feature matrix as this picture, NAME.png.")] = None,
    iteration: Annotated[int | None, typer.Option(min=0, help="Of the picture. Default: the chosen one.")] = None,
) -> None:
    """Show what a model looks at."""
    if png is None and iteration is not None:
        raise WrongSetting("--iteration is that of the picture; give --png NAME.png with it")
    if png is not None:
        if png.suffix.lower() != ".png":
            raise WrongSetting(f"{png}: the picture is a PNG; its name must end in .png")
        png.write_bytes(session.client.heatmap(ref, iteration))
        session.note(f"the feature matrix is in {png}")
    learned = session.client.features(ref)
    shares = learned.encoded_importance if encoded else learned.importance
    widest = max((item.share or 0.0 for item in shares), default=0.0) or 1.0
    rows = [
        (item.feature, f"{item.share or 0:.3f}", "█" * round(30 * (item.share or 0) / widest)) for item in shares[:top]
    ]
    session.show(learned, lambda: table(("column", SHARE, ""), rows))
    if not session.as_json:
        session.console.print(f"effective rank {learned.effective_rank:.1f} of {len(learned.encoded_importance)}")
    if not learned.features_learned:
        session.note(f"{ref} {UNLEARNED}")


@remote
def leaves(session: Session, ref: Ref, limit: Limit = 20) -> None:
    """Show the leaves of a model that was fitted by blocks, in the order of its tree, and the rule of each.

    A rule names, of each cut, the columns that move a row across it most, and the share of its spread that they hold.
    """
    page = list(itertools.islice(session.client.leaves(ref), limit))
    rows = [(leaf.leaf, leaf.rows, leaf_error(leaf), leaf.ridge, _rule(leaf)) for leaf in page]
    session.show(page, lambda: table(("leaf", "rows", "error", "ridge", "rule"), rows))


def _rule(leaf: Leaf) -> str:
    return "; ".join(f"{cut.summary} ({cut.share:.0%})" for cut in leaf.rule) or "all rows"


@remote
def export(
    session: Session,
    ref: Ref,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: NAME-VERSION and the format.")] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="onnx is for other runtimes. Default: as OUT ends.")
    ] = None,
) -> None:
    """Save a model as one file, which predicts without the service."""
    by_name = {f".{kind}": kind for kind in Format}.get("" if out is None else out.suffix.lower())
    if form is not None and by_name not in (None, form):
        raise WrongSetting(f"{out}: the name says {by_name}, and --format says {form}")
    form = form or by_name or Format.SAFETENSORS
    model = session.client.model(ref)
    path = out or Path(f"{model.name}-{model.version}.{form}")
    path.write_bytes(session.client.export(model.id, form.value))
    session.show(model, lambda: f"{model.name}@{model.version} is in {path}")


@remote
def predict(
    session: Session,
    ref: Ref,
    data: Annotated[
        str, typer.Argument(help="A CSV, Parquet or Arrow file; - reads CSV from standard input.")
    ] = STANDARD,
    out: Annotated[str, typer.Option("--out", "-o", help="A .csv, .parquet or .arrow file; - is CSV.")] = STANDARD,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Of each class too; a job always has them.")
    ] = False,
    job: Annotated[bool, typer.Option("--job", help="By a job, for tables of any length.")] = False,
    spreadsheet: Annotated[
        bool, typer.Option("--spreadsheet", help="Of CSV: mark texts that a spreadsheet would take for formulas.")
    ] = False,
    header: HeaderRow = None,
    keep: Annotated[
        str | None, typer.Option(help="Columns of the rows to repeat in front of the predictions, as in id,name.")
    ] = None,
) -> None:
    """Predict the rows of a table. Columns are matched by name, others are ignored."""
    if session.as_json and out != STANDARD:
        raise WrongSetting("--json prints the predictions and --out saves them; give one of the two")
    form = _form(".arrow" if session.as_json else out)
    if job:
        if data == STANDARD:
            raise WrongSetting("--job needs a file: it is uploaded as a dataset")
        if probabilities and session.client.model(ref).task == "regression":
            raise WrongSetting("the model is a regression and has no probabilities")
        with ProgressBar("predict", session.notes) as bar:
            names = [] if keep is None else keep.split(",")
            content = session.client.predict_dataset(
                ref, data, form=form, spreadsheet=spreadsheet, header=header, keep=names, report=bar
            )
        if session.as_json:
            typer.echo(json.dumps(pa.ipc.open_file(content).read_all().to_pylist()))
            return
    else:
        body = _standard_input() if data == STANDARD else Path(data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UnknownCategories)
            answer: pa.Table = session.client.predict(
                ref, body, probabilities=probabilities, header=header, keep=[] if keep is None else [keep]
            )
        for warning in caught:
            session.note(str(warning.message))
        if session.as_json:
            typer.echo(json.dumps(answer.to_pylist()))
            return
        content = _written(shown_table(answer) if spreadsheet and form == "csv" else answer, form)
    if out == STANDARD:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        Path(out).write_bytes(content)
        session.note(f"the predictions are in {out}")


@remote
def explain(
    session: Session,
    ref: Ref,
    data: Annotated[
        str, typer.Argument(help="A CSV, Parquet or Arrow file of few rows; - reads CSV from standard input.")
    ] = STANDARD,
    neighbours: Annotated[int, typer.Option(min=0, max=50, help="Training rows to name for each row.")] = 3,
    top: Annotated[int, typer.Option(min=1, help="How many columns to show.")] = MAX_SHOWN,
    header: HeaderRow = None,
) -> None:
    """Predict rows and show why: what each column changes, and the training rows nearest to them."""
    body = _standard_input() if data == STANDARD else Path(data)
    explanations = session.client.explain(ref, body, neighbours=neighbours, header=header)
    items = explanations.items
    session.show(explanations, lambda: Group(*(_shown(item, row, top) for row, item in enumerate(items, 1))))


def _shown(item: Explanation, row: int, top: int) -> Group:
    changes = [
        (
            change.feature if change.known else f"{change.feature} (not known)",
            ", ".join(f"{value:+.4g}" for value in change.change or []),
            _condition(change),
        )
        for change in item.sensitivity[:top]
    ]
    near = [(row.row, row.distance, row.weight, ", ".join(map(str, row.targets or []))) for row in item.neighbours]
    changed = "the answer" if item.probabilities is None else f"the score of {item.prediction}"
    return Group(
        Text(f"row {row}: {_prediction_text(item.prediction)}{_confidence(item)}"),
        table(("column", f"changes {changed} by", "when it"), changes),
        *([table(("near row", "distance", "weight", "targets"), near)] if near else []),
        "",
    )


def _confidence(item: Explanation) -> str:
    return "" if item.probabilities is None else f" ({max(item.probabilities):.1%})"


def _prediction_text(prediction: object) -> str:
    values = prediction if isinstance(prediction, list) else [prediction]
    return ", ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values)


def _condition(change: Sensitivity) -> str:
    if change.change is None:
        return "has no value here"
    if change.step is not None:
        return f"grows by {change.step:.4g}"
    return "changes to nothing else" if change.to is None else f"becomes {change.to}"


def _standard_input() -> pa.Table:
    content = sys.stdin.buffer.read()
    try:
        return pa_csv.read_csv(io.BytesIO(content))
    except pa.ArrowInvalid as error:
        raise WrongSetting(f"standard input is no CSV table: {error}") from error


def _form(out: str) -> Any:
    suffix = ".csv" if out == STANDARD else f".{out.rpartition('.')[2]}".lower()
    if suffix not in FORMS:
        raise WrongSetting(f"--out is {out!r}: the name must end in {', '.join(FORMS)}")
    return FORMS[suffix]


def _written(answer: pa.Table, form: str) -> bytes:
    target = io.BytesIO()
    if form == "csv":
        pa_csv.write_csv(answer, target)
    elif form == "parquet":
        pq.write_table(answer, target)
    else:
        with pa.ipc.new_file(target, answer.schema) as writer:
            writer.write_table(answer)
    return target.getvalue()


def chosen_lines(model: Model) -> list[tuple[str, str]]:
    """Return table lines: which options were chosen on validation rows, or on rows left out."""
    chosen = {"validation rows": model.validation_chose, "rows left out": model.left_out_chose}
    return [(rows, f"also chose {', '.join(chose)}") for rows, chose in chosen.items() if chose]


def _metrics(model: Model) -> str:
    """Return the metrics on validation rows, or else those of leave-one-out."""
    for prefix, label in ((PREFIX, ""), (LEFT_OUT_PREFIX, "leave-one-out ")):
        names = [name for name in model.metrics if name.startswith(prefix)]
        if names:
            shown = ", ".join(f"{name.removeprefix(prefix)} {model.metrics[name]:.4g}" for name in names)
            return label + shown + (" (rows also chose)" if also_chose(names[0], model) else "")
    return ""

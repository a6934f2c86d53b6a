"""What models are there, what they learned, and what they say of rows."""

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
from worker.contracts.resources import Model
from worker.contracts.validation import LEFT_OUT_PREFIX, PREFIX, also_chose
from worker.tables.spreadsheets import shown_table

Ref = Annotated[str, typer.Argument(help="A model's id, its name (the latest version), or name@version.")]
STANDARD = "-"
MAX_SHOWN = 5
SHARE = "share of distance"
UNLEARNED = "learned nothing of its columns: shares only tell how much each varies"
FORMS = {".csv": "csv", ".parquet": "parquet", ".arrow": "arrow"}


class Format(StrEnum):
    """Files that a model is exported as."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"


@remote
def models(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="Only versions of this name.")] = None,
    limit: Limit = 20,
) -> None:
    """List models, newest first."""
    found = list(itertools.islice(session.client.models(name), limit))
    rows = [(f"{one.name}@{one.version}", one.id, one.task, one.training_rows, _metrics(one)) for one in found]
    session.show(found, lambda: table(("model", "id", "task", "rows", "validation"), rows))


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
    found = session.client.features(ref)
    shares = found.encoded_importance if encoded else found.importance
    widest = max((one.share or 0.0 for one in shares), default=0.0) or 1.0
    rows = [(one.feature, f"{one.share or 0:.3f}", "█" * round(30 * (one.share or 0) / widest)) for one in shares[:top]]
    session.show(found, lambda: table(("column", SHARE, ""), rows))
    if not session.as_json:
        session.console.print(f"effective rank {found.effective_rank:.1f} of {len(found.encoded_importance)}")
    if not found.features_learned:
        session.note(f"{ref} {UNLEARNED}")


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
    told = {f".{one}": one for one in Format}.get("" if out is None else out.suffix.lower())
    if form is not None and told not in (None, form):
        raise WrongSetting(f"{out}: the name says {told}, and --format says {form}")
    form = form or told or Format.SAFETENSORS
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
            content = session.client.predict_dataset(
                ref, data, form=form, spreadsheet=spreadsheet, header=header, report=bar
            )
        if session.as_json:
            typer.echo(json.dumps(pa.ipc.open_file(content).read_all().to_pylist()))
            return
    else:
        body = _standard_input() if data == STANDARD else Path(data)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UnknownCategories)
            answer = _as_table(session.client.predict(ref, body, probabilities=probabilities, header=header))
        for one in told:
            session.note(str(one.message))
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
    found = session.client.explain(ref, body, neighbours=neighbours, header=header)
    session.show(found, lambda: Group(*(_shown(item, row, top) for row, item in enumerate(found.items, 1))))


def _shown(item: Explanation, row: int, top: int) -> Group:
    changes = [
        (
            one.feature if one.known else f"{one.feature} (not known)",
            ", ".join(f"{value:+.4g}" for value in one.change or []),
            _moved(one),
        )
        for one in item.sensitivity[:top]
    ]
    near = [(one.row, one.distance, one.weight, ", ".join(map(str, one.targets or []))) for one in item.neighbours]
    changed = "the answer" if item.probabilities is None else f"the score of {item.prediction}"
    return Group(
        Text(f"row {row}: {_told(item.prediction)}{_likely(item)}"),
        table(("column", f"changes {changed} by", "when it"), changes),
        *([table(("near row", "distance", "weight", "targets"), near)] if near else []),
        "",
    )


def _likely(item: Explanation) -> str:
    return "" if item.probabilities is None else f" ({max(item.probabilities):.1%})"


def _told(prediction: object) -> str:
    values = prediction if isinstance(prediction, list) else [prediction]
    return ", ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values)


def _moved(one: Sensitivity) -> str:
    if one.change is None:
        return "has no value here"
    if one.step is not None:
        return f"grows by {one.step:.4g}"
    return "changes to nothing else" if one.to is None else f"becomes {one.to}"


def _standard_input() -> pa.Table:
    content = sys.stdin.buffer.read()
    try:
        return pa_csv.read_csv(io.BytesIO(content))
    except pa.ArrowInvalid as error:
        raise WrongSetting(f"standard input is no CSV table: {error}") from error


def _as_table(answer: Any) -> pa.Table:
    assert isinstance(answer, pa.Table)  # noqa: S101 - files and Arrow tables are answered by Arrow tables
    return answer


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
    """Return the lines of a table that say what validation rows, or rows left out, also chose; none for nothing."""
    chosen = {"validation rows": model.validation_chose, "rows left out": model.left_out_chose}
    return [(rows, f"also chose {', '.join(chose)}") for rows, chose in chosen.items() if chose]


def _metrics(model: Model) -> str:
    """Return the figures of rows that did not train, those to validate on or else those left out one at a time."""
    for prefix, said in ((PREFIX, ""), (LEFT_OUT_PREFIX, "leave-one-out ")):
        names = [name for name in model.metrics if name.startswith(prefix)]
        if names:
            shown = ", ".join(f"{name.removeprefix(prefix)} {model.metrics[name]:.4g}" for name in names)
            return said + shown + (" (rows also chose)" if also_chose(names[0], model) else "")
    return ""

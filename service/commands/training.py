"""Commands that train: fit, tune, network, batch."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from service.client.flows import Kind, kind_name
from service.client.progress import ProgressBar
from service.commands.datasets import note_warnings
from service.commands.documents import read_class_weight, read_columns, read_document, read_spec, read_validation
from service.commands.models import chosen_lines
from service.commands.results import report_table
from service.commands.session import Session, Unsuccessful, remote, table
from service.errors import WrongSetting
from worker.contracts.requests import FitRequest, NetworkRequest, TuneRequest
from worker.contracts.resources import Batch, Job, Model

SHOWN = 5
"""Of the columns that a model does not read."""

Data = Annotated[
    str, typer.Argument(help="A CSV, Parquet, Arrow, NPZ or JSON file, also .gz or .zst; or the id of a dataset.")
]
Target = Annotated[list[str], typer.Option("--target", "-t", help="The column to learn; may be repeated.")]
Name = Annotated[str | None, typer.Option("--model", "-m", help="Name of the model. Default: the job's id.")]
SpecFile = Annotated[Path | None, typer.Option("--spec", help="YAML or JSON file with options of the spec.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="An option of the spec as name=value; may be repeated.")
]
Features = Annotated[list[str] | None, typer.Option("--feature", help="Learn from this column; may be repeated.")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="Leave this column out; may be repeated.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", help="Type of a column as name=type: zip=categorical, notes=text, id=ignore; may be repeated."
    ),
]
Task = Annotated[str | None, typer.Option(help="regression or classification. Default: by the target.")]
ValidationRows = Annotated[
    str | None,
    typer.Option(
        "--validation",
        help="A share (0.2), folds (5), a dataset's id, column=NAME for rows that it marks, or none. Default: 0.2.",
    ),
]
Group = Annotated[
    str | None, typer.Option("--group", help="Rows alike in this column stay together, in training or in validation.")
]
Time = Annotated[str | None, typer.Option("--time", help="The rows latest by this column validate.")]
MissingTargets = Annotated[
    str | None, typer.Option("--missing-target", help="Rows without a target: drop or error. Default: drop.")
]
Weights = Annotated[str | None, typer.Option("--weights", help="A column with the weight of each row, at least 0.")]
ClassWeights = Annotated[
    list[str] | None,
    typer.Option("--class-weight", help="balanced, or the weight of a class as label=weight; may be repeated."),
]
Timeout = Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most; the job goes on.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Submit, print the job, and do not wait.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Also save the model as this safetensors file.")]


@remote
def fit(
    session: Session,
    data: Data,
    target: Target,
    model: Name = None,
    kernel: Annotated[str | None, typer.Option(help="laplace, gaussian, generalized, …")] = None,
    update: Annotated[str | None, typer.Option(help="fact, nfa, none or auto.")] = None,
    ridge: Annotated[float | None, typer.Option(help="Added to the kernel's diagonal.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Updates of the feature matrix.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the validation split.")] = None,
    spec: SpecFile = None,
    settings: Settings = None,
    features: Features = None,
    exclude: Exclude = None,
    columns: Columns = None,
    task: Task = None,
    validation: ValidationRows = None,
    group: Group = None,
    time: Time = None,
    missing_target: MissingTargets = None,
    weights: Weights = None,
    class_weight: ClassWeights = None,
    timeout: Timeout = None,
    no_wait: NoWait = False,
    out: Out = None,
) -> None:
    """Train a model on a table, and show what it learned."""
    flags = {"kernel": kernel, "update": update, "ridge": ridge, "iterations": iterations, "seed": seed}
    options = read_spec(spec, settings or (), flags)
    body = _body(FitRequest, data, target, model, options, features, exclude, columns, task)
    body |= _rows(validation, group, time, missing_target) | _weights(weights, class_weight)
    _train(session, body, timeout, no_wait, out)


@remote
def tune(
    session: Session,
    data: Data,
    target: Target,
    model: Name = None,
    trials: Annotated[int, typer.Option(min=1, help="How many specs to try.")] = 30,
    space: Annotated[
        Path | None, typer.Option(help="YAML or JSON file with the space. Default: the service's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the search.")] = None,
    spec: SpecFile = None,
    settings: Settings = None,
    features: Features = None,
    exclude: Exclude = None,
    columns: Columns = None,
    task: Task = None,
    validation: ValidationRows = None,
    group: Group = None,
    time: Time = None,
    missing_target: MissingTargets = None,
    weights: Weights = None,
    class_weight: ClassWeights = None,
    timeout: Timeout = None,
    no_wait: NoWait = False,
    out: Out = None,
) -> None:
    """Search for the best spec; its model is kept."""
    body = _body(
        TuneRequest, data, target, model, read_spec(spec, settings or (), {}), features, exclude, columns, task
    )
    search: dict[str, Any] = {"trials": trials}
    if space is not None:
        search["space"] = read_document(space)
    if seed is not None:
        search["seed"] = seed
    body |= {"search": search} | _rows(validation, group, time, missing_target) | _weights(weights, class_weight)
    _train(session, body, timeout, no_wait, out)


@remote
def network(
    session: Session,
    data: Data,
    target: Target,
    hidden: Annotated[
        list[int] | None, typer.Option(help="Width of a hidden layer; repeated, one for each layer.")
    ] = None,
    activation: Annotated[str | None, typer.Option(help="relu, quadratic, tanh, gelu or linear.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="λ of the objective.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of gradient descent.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the validation split and the first weights.")] = None,
    spec: SpecFile = None,
    settings: Settings = None,
    features: Features = None,
    exclude: Exclude = None,
    columns: Columns = None,
    task: Task = None,
    validation: Annotated[
        str | None,
        typer.Option("--validation", help="A share (0.2), a dataset's id, column=NAME, or none. Default: 0.2."),
    ] = None,
    group: Group = None,
    time: Time = None,
    missing_target: MissingTargets = None,
    timeout: Timeout = None,
    no_wait: NoWait = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also save every step of the report as JSON.")] = None,
) -> None:
    """Train a multilayer perceptron, and show how the theorem holds for each of its layers."""
    flags = {
        "hidden": hidden or None,
        "activation": activation,
        "weight_decay": weight_decay,
        "steps": steps,
        "seed": seed,
    }
    options = read_spec(spec, settings or (), flags)
    body = _body(NetworkRequest, data, target, None, options, features, exclude, columns, task)
    body |= _rows(validation, group, time, missing_target)
    job = _run(session, body, timeout, no_wait)
    if job is None:
        return
    result = session.client.network_report(job.id)
    if out is not None:
        out.write_text(result.model_dump_json(indent=2), encoding="utf-8")
        session.note(f"the report is in {out}")
    session.show(result, lambda: report_table(result))


@remote
def batch(
    session: Session,
    file: Annotated[Path, typer.Argument(help="YAML, JSON or JSON lines: a list of jobs, or base and grid.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for all jobs; exit with 3 if one did not succeed.")
    ] = False,
) -> None:
    """Submit many jobs, all or none."""
    document = read_document(file)
    if not isinstance(document, list | dict):
        raise WrongSetting(f"{file} must hold a list of jobs, or 'base' and 'grid'")
    made = session.client.submit_batch(document)
    if wait:
        for link in made.jobs:
            job_id = link.rsplit("/", 1)[-1]
            with ProgressBar(job_id, session.notes, partial(session.client.job, job_id)) as bar:
                session.client.wait(job_id, report=bar, check=False)
        made = session.client.batch(made.id)
    session.show(made, lambda: _batch_table(made))
    if wait and made.counts.succeeded < made.total:
        raise Unsuccessful(f"{made.total - made.counts.succeeded} of {made.total} jobs of {made.id} did not succeed")


def _body(
    kind: Kind,
    data: str,
    target: list[str],
    model: str | None,
    spec: dict[str, Any],
    features: list[str] | None,
    exclude: list[str] | None,
    columns: list[str] | None,
    task: str | None,
) -> dict[str, Any]:
    types = read_columns(columns or ())
    optional = {"model": model, "features": features, "exclude": exclude, "columns": types, "task": task}
    body: dict[str, Any] = {name: value for name, value in optional.items() if value}
    required = {"kind": kind_name(kind), "dataset": data, "target": target[0] if len(target) == 1 else target}
    return {**required, "spec": spec, **body}


def _rows(validation: str | None, group: str | None, time: str | None, missing_target: str | None) -> dict[str, Any]:
    """Return the fields of a job that say which rows do what."""
    return read_validation(validation, group, time) | (
        {} if missing_target is None else {"missing_target": missing_target}
    )


def _weights(weights: str | None, class_weight: list[str] | None) -> dict[str, Any]:
    """Return the fields of a job that say what counts how much."""
    fields = {"weights": weights, "class_weight": read_class_weight(class_weight or ())}
    return {name: value for name, value in fields.items() if value is not None}


def _train(session: Session, body: dict[str, Any], timeout: float | None, no_wait: bool, out: Path | None) -> None:
    job = _run(session, body, timeout, no_wait)
    if job is None:
        return
    model = session.client.model(str(job.model))
    if out is not None:
        out.write_bytes(session.client.export(model.id))
        session.note(f"the model is in {out}")
    session.show(model, lambda: _model_table(model))


def _run(session: Session, body: dict[str, Any], timeout: float | None, no_wait: bool) -> Job | None:
    """Submit a job and wait until it has succeeded. With ``no_wait`` show the job and return None."""
    if not body["dataset"].startswith("ds_"):
        uploaded = session.client.upload(body["dataset"])
        targets = [body["target"]] if isinstance(body["target"], str) else body["target"]
        # of what the request itself says there is nothing to warn of
        said = [*body.get("exclude", ()), *body.get("columns", ()), *filter(None, [body.get("weights")])]
        note_warnings(session, uploaded, [*said, *targets])
        body["dataset"] = uploaded.id
    job = session.client.submit(body)
    if no_wait:
        session.show(job, lambda: f"{job.id} is {job.state}; follow it by: factrfm watch {job.id}")
        return None
    with ProgressBar(body["kind"], session.notes, partial(session.client.job, job.id)) as bar:
        return session.client.wait(job.id, timeout, report=bar)


def _model_table(model: Model) -> Any:
    rows = [("model", f"{model.name}@{model.version}"), ("id", model.id), ("task", model.task)]
    rows += [("iteration", f"{model.iteration} of {model.iterations}"), ("rows", str(model.training_rows))]
    dropped = (
        (model.dropped_rows, "rows without a target"),
        (model.dropped_validation_rows, "validation rows without a target"),
        (model.weightless_rows, "rows of weight 0"),
    )
    rows += [(what, str(count)) for count, what in dropped if count]
    rows += [(what, said) for what, said in (("weights", model.weights), ("class weights", _labels(model))) if said]
    if model.left_out:
        names, more = [one.column for one in model.left_out[:SHOWN]], len(model.left_out) - SHOWN
        rows.append(("columns left out", f"{', '.join(names)}{f' and {more} more' if more > 0 else ''}"))
    rows += [(name.replace("_", " "), f"{value:.4g}") for name, value in model.metrics.items()]
    if (figures := model.validation) is not None:
        over = f"over {len(figures.folds)} folds"
        rows += [
            (f"{name.replace('_', ' ')}, {over}", f"{mean:.4g} ± {figures.deviation[name]:.2g}")
            for name, mean in figures.mean.items()
        ]
    return table(("", ""), [*rows, *chosen_lines(model)])


def _labels(model: Model) -> str | None:
    weights = model.class_weight
    if not isinstance(weights, dict):
        return weights
    named, more = [f"{label} {weight:g}" for label, weight in [*weights.items()][:SHOWN]], len(weights) - SHOWN
    return f"{', '.join(named)}{f' and {more} more' if more > 0 else ''}; others 1"


def _batch_table(made: Batch) -> Any:
    counts = made.counts.model_dump()
    return table(("batch", "jobs", *counts), [(made.id, made.total, *counts.values())])

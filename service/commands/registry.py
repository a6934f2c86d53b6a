"""Commands on the model registry: describe, promote, compare, delete."""

import json
from typing import Annotated, Any

import typer

from service.commands.models import SHARE, UNLEARNED, Ref, chosen_lines
from service.commands.session import Session, remote, stdin_is_terminal, table
from service.errors import WrongSetting
from worker.contracts.resources import Model
from worker.contracts.validation import how_chosen

SHOWN = 10
"""Largest number of listed names."""


@remote
def describe(
    session: Session,
    ref: Ref,
    text: Annotated[str | None, typer.Option("--text", "-t", help="What it is, in words; '' for nothing.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Add this tag; may come several times.")] = None,
    untag: Annotated[list[str] | None, typer.Option(help="Take this tag away.")] = None,
) -> None:
    """Show a model, or say what it is: a description and tags."""
    model = session.client.model(ref)
    change: dict[str, Any] = {} if text is None else {"description": text or None}
    if tag or untag:
        change["tags"] = sorted((set(model.tags) | set(tag or [])) - set(untag or []))
    if change:
        model = session.client.change_model(model.id, change)
    session.show(model, lambda: table(("", ""), _rows(model)))


@remote
def promote(
    session: Session,
    ref: Annotated[str, typer.Argument(help="name@version: what the name is to stand for.")],
    newest: Annotated[bool, typer.Option("--newest", help="Have the name stand for the newest version again.")] = False,
) -> None:
    """Have a model's name stand for this version, for whoever predicts by the name."""
    model = session.client.model(ref)
    if not newest and "@" not in ref and ref != model.id:
        raise WrongSetting(f"{ref!r} names no version; say which, as in {model.name}@{model.version}")
    model = session.client.change_model(model.id, {"default_version": None if newest else model.version})
    stands = "its newest version" if newest else f"version {model.version}"
    session.show(model, lambda: f"{model.name} stands for {stands}")


@remote
def compare(
    session: Session,
    refs: Annotated[list[str], typer.Argument(help="Two models or more: ids, names or name@version.")],
    top: Annotated[int, typer.Option(min=1, help="How many columns to show.")] = 10,
) -> None:
    """Put models side by side: metrics, what differs in their specs, importance, likeness of what they learned."""
    if len(refs) < 2:
        raise WrongSetting("name at least two models to compare")
    comparison = session.client.compare(refs[0], *refs[1:])
    models = comparison.models
    heads = tuple(f"{model.name}@{model.version}" for model in models)
    targets = [", ".join(column.name for column in model.targets) for model in models]
    similarity = zip(heads, comparison.similarity, strict=True)
    sections = [
        ("predicts", [("", *targets)] if len(set(targets)) > 1 else []),
        ("metric", [(row.metric, *map(_number, row.values)) for row in comparison.metrics]),
        ("validation", [("rows also chose", *(", ".join(model.validation_chose) or "nothing" for model in models))]),
        ("rows left out", _left_out(models)),
        ("differs in the spec", [(row.option, *map(str, row.values)) for row in comparison.spec]),
        (SHARE, [(row.feature, *map(_number, row.shares)) for row in comparison.features[:top]]),
        ("cosine of M with", [(head, *map(_number, row)) for head, row in similarity]),
    ]
    if session.as_json:
        session.show(comparison, str)
        return
    for title, rows in sections:
        if rows:
            session.console.print(table((title, *heads), rows))
    for head, learned in zip(heads, comparison.features_learned, strict=True):
        if not learned:
            session.note(f"{head} {UNLEARNED}")


@remote
def delete(
    session: Session,
    what: Annotated[list[str], typer.Argument(help="Ids of datasets, jobs and models; a model also as name@version.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete datasets that no job needs, jobs that have ended, and versions of models. There is no way back."""
    for ref in what:
        if ref and not ref.startswith(("ds_", "job_", "mdl_")) and "@" not in ref:
            raise WrongSetting(f"{ref!r} names no version of a model; say which, as in {ref}@1")
    if not yes and not _confirmed(what):
        session.note("nothing is deleted")
        raise typer.Exit(1)
    client = session.client
    done: list[str] = []
    try:
        for ref in what:
            kind = "" if "@" in ref else ref.partition("_")[0]
            if kind == "ds":
                client.delete_dataset(ref)
            elif kind == "job":
                client.delete_job(ref)
            else:
                model = client.model(ref)
                client.delete_model(model.id)
                if model.default_version == model.version:
                    session.note(f"{model.name} stands for its newest version again")
            done.append(ref)
            session.note(f"{ref} is deleted")
    finally:
        if session.as_json:
            typer.echo(json.dumps(done))


def _confirmed(what: list[str]) -> bool:
    """Ask the user to confirm a deletion.

    Raises:
        WrongSetting: there is no terminal.
    """
    if not stdin_is_terminal():
        raise WrongSetting("delete asks first, and there is no terminal to ask on; give --yes to delete without asking")
    return typer.confirm(f"Delete {_few(what)}? There is no way back.", err=True)


def _rows(model: Model) -> list[tuple[str, str]]:
    stands = "the newest" if model.default_version is None else f"version {model.default_version}"
    return [
        ("model", f"{model.name}@{model.version}"),
        ("id", model.id),
        ("description", model.description or "–"),
        ("tags", ", ".join(model.tags) or "–"),
        ("the name stands for", stands),
        ("task", model.task),
        ("predicts", ", ".join(column.name for column in model.targets)),
        ("from", _few([column.name for column in model.features])),
        ("dataset", model.dataset),
        ("training rows", str(model.training_rows)),
        *((name, _number(value)) for name, value in model.metrics.items()),
        ("iteration", how_chosen(model)),
        *chosen_lines(model),
    ]


def _left_out(models: list[Model]) -> list[tuple[str, ...]]:
    if not any(model.left_out_chose for model in models):
        return []
    return [("also chose", *(", ".join(model.left_out_chose) or "nothing" for model in models))]


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"

"""Commands on datasets: upload, list."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from service.client.progress import UploadBar
from service.commands.session import HeaderRow, Limit, Session, remote, table
from service.datasets.warnings import dataset_warnings, reading_text
from service.errors import WrongSetting
from worker.contracts.resources import Column, Dataset

SHOWN_VALUES = 5


@remote
def upload(
    session: Session,
    files: Annotated[
        list[Path], typer.Argument(help="CSV, TSV, XLSX, Parquet, Arrow, NPZ, JSON or NDJSON files, also .gz or .zst.")
    ],
    name: Annotated[str | None, typer.Option(help="What to call the dataset. Default: the file's name.")] = None,
    header: HeaderRow = None,
    resume: Annotated[
        str | None, typer.Option(help="The id of an interrupted upload of the file, upl_…: send what is missing.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="A word that means no value; repeat it for several. Others, such as None, are values then."),
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="What separates the cells of a text, or 'tab'. Default: it is detected.")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="The decimal mark of numbers in texts. Default: it is detected.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The encoding of a text, such as cp1252. Default: it is detected.")
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(help="The sheet of a workbook. Default: the first visible one with cells.")
    ] = None,
) -> None:
    """Upload tables, large ones in parts. The same bytes again are the same dataset."""
    if name is not None and len(files) > 1:
        raise WrongSetting("--name is for one file; each of several is called by its own name")
    if resume is not None and len(files) > 1:
        raise WrongSetting("--resume is for one file: an upload is of one")
    uploaded: list[Dataset] = []
    for path in files:
        with UploadBar(path, session.notes) as bar:
            uploaded.append(
                session.client.upload(
                    path,
                    name,
                    header=header,
                    missing=missing or None,
                    separator=separator,
                    decimal=decimal,
                    encoding=encoding,
                    sheet=sheet,
                    resume=resume,
                    progress=bar,
                )
            )
    session.show(uploaded, lambda: _table(uploaded))
    for dataset in uploaded:
        note_warnings(session, dataset)


def note_warnings(session: Session, dataset: Dataset, without: Sequence[str] = ()) -> None:
    """Print the warnings about a dataset, except those about the columns ``without``."""
    for warning in dataset_warnings(dataset, without):
        session.note(warning)


@remote
def datasets(
    session: Session,
    dataset: Annotated[str | None, typer.Argument(help="Show this one dataset alone, by its id.")] = None,
    limit: Limit = 20,
) -> None:
    """List datasets, newest first, or show one with its columns as they were read."""
    if dataset is not None:
        shown = session.client.dataset(dataset)
        session.show(shown, lambda: Group(_table([shown]), _columns(shown)))
        if shown.reading is not None:
            session.note(reading_text(shown.reading))
        note_warnings(session, shown)
        return
    page = list(itertools.islice(session.client.datasets(), limit))
    session.show(page, lambda: _table(page))


def _columns(dataset: Dataset) -> Any:
    return table(
        ("column", "type", "missing", "distinct", "values"),
        [(column.name, column.type, column.missing, column.distinct, _values(column)) for column in dataset.columns],
    )


def _values(column: Column) -> str:
    if column.top is not None:
        return ", ".join(str(value.value) for value in column.top[:SHOWN_VALUES])
    if column.type == "datetime":
        return "" if column.min is None else f"{column.min} to {column.max}"
    return "" if column.min is None or column.max is None else f"{column.min:g} to {column.max:g}"


def _table(datasets: list[Dataset]) -> Any:
    rows = [
        (data.id, data.name, data.rows, len(data.columns), data.created_at.strftime("%Y-%m-%d %H:%M UTC"))
        for data in datasets
    ]
    return table(("id", "name", "rows", "columns", "created"), rows)

"""Explanations of predictions, with the values of neighbouring training rows."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from service.runtime.context import Context
from worker.contracts.base import Label
from worker.contracts.errors import ArtifactMissing, InvalidRequest, NotFound
from worker.contracts.explanation import Explanation, Explanations, Neighbour
from worker.store import datasets
from worker.store.models import ModelRecord
from worker.tables import values as table_values
from worker.tables.encoding.targets import label
from worker.tables.storage import take_rows

if TYPE_CHECKING:
    from worker.serving.model import ServedModel

MAX_ROWS = 20
"""Explaining a row costs as much as some hundred predictions."""
Place = tuple[str, int]
Shown = tuple[dict[str, Label | None], list[Label]]


def explain_all(context: Context, record: ModelRecord, model: "ServedModel", table: pa.Table, k: int) -> Explanations:
    """Explain rows of a table with the model's columns, each with its ``k`` nearest training rows.

    Raises:
        InvalidRequest: there are more than ``MAX_ROWS`` rows, or one cannot be predicted.
    """
    if table.num_rows > MAX_ROWS:
        raise InvalidRequest(f"{table.num_rows} rows are too many to explain in one request, which takes {MAX_ROWS}")
    from worker.serving.explanation import explain  # see service.runtime.predictor

    items = explain(model, table, k)
    places = {(neighbour.dataset, neighbour.row) for item in items for neighbour in item.neighbours}
    shown = _shown(
        context, record, [(dataset, row) for dataset, row in places if dataset is not None and row is not None]
    )
    resource = record.resource
    return Explanations(
        model=resource.id,
        classes=resource.classes,
        targets=[column.name for column in resource.targets],
        unknown_categories={name: int(rows.sum()) for name, rows in model.encoder.unknown_categories(table).items()},
        items=[_with_values(item, shown) for item in items],
    )


def _with_values(item: Explanation, shown: Mapping[tuple[str | None, int | None], Shown]) -> Explanation:
    neighbours: list[Neighbour] = []
    for neighbour in item.neighbours:
        values, targets = shown.get((neighbour.dataset, neighbour.row), (None, None))
        neighbours.append(neighbour.model_copy(update={"values": values, "targets": targets}))
    return item.model_copy(update={"neighbours": neighbours})


def _shown(
    context: Context, record: ModelRecord, places: Iterable[Place]
) -> dict[tuple[str | None, int | None], Shown]:
    """Return the features and targets of training rows whose datasets still exist."""
    row_values: dict[tuple[str | None, int | None], Shown] = {}
    by_dataset: dict[str, list[int]] = {}
    for dataset, row in places:
        by_dataset.setdefault(dataset, []).append(row)
    features = [column.name for column in record.resource.features]
    targets = [column.name for column in record.resource.targets]
    for dataset, rows in by_dataset.items():
        try:
            file = datasets.get_record(context.database, dataset).table
            with context.artifacts.open_part(file) as source:
                table = table_values.shown(take_rows(source, [*features, *targets], rows))
        except (NotFound, ArtifactMissing):
            # models outlive their datasets
            continue
        for row, cells in zip(rows, table.to_pylist(), strict=True):
            values = {name: cells[name] for name in features}
            row_values[dataset, row] = values, [_target(record, cells[name]) for name in targets]
    return row_values


def _target(record: ModelRecord, value: Label) -> Label:
    return value if record.resource.classes is None else label(value)

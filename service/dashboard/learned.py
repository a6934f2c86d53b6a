"""Pages of models: the list, and one model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response

from service.dashboard.damage import unless_damaged
from service.dashboard.pages import page_router, render
from service.http.pagination import AfterLeaf, AfterModel
from service.models import feature_matrix
from service.runtime.context import Context, CurrentContext
from worker.contracts.errors import NotFound, pointer
from worker.contracts.resources import Column, FeatureShare, Leaf, Page
from worker.store import datasets, models
from worker.store.models import ModelRecord

if TYPE_CHECKING:
    from worker.serving.leaf_map import Branch

router = page_router()

PAGE = 50
FIRST_COLUMNS = 12
"""Inputs of the prediction form that are shown at first: the most important columns."""
MAX_OFFERED = 100
"""Names of columns to keep that are offered; others may be typed."""

LEAVES = 20
"""On a page: a rule takes several lines."""
LEVELS = 3
"""Of cuts that are drawn: at most 14 sides."""


@dataclass(frozen=True)
class ShownLeaves:
    """What a page says of a model's leaves. ``after``: the leaf behind which ``page`` begins."""

    branches: list["Branch"]
    page: Page[Leaf]
    after: int | None

    @property
    def in_unit(self) -> bool:
        """Whether errors are in the unit of the target."""
        return "leave_one_out_rmse" in self.page.items[0].metrics


@router.get("/models")
def list_models(
    context: CurrentContext, request: Request, name: str | None = None, tag: str | None = None, after: AfterModel = None
) -> Response:
    """List models, newest first; all versions of one name with ``name``, those with a tag with ``tag``."""
    page = models.list_page(context.database, limit=PAGE, after=after, name=name, tag=tag)
    return render(request, "models.html", page=page, name=name, tag=tag)


@router.get("/models/{ref}")
def show_model(context: CurrentContext, request: Request, ref: str, leaves: AfterLeaf = None) -> Response:
    """Show what a model learned, its metrics, and a prediction form; its leaves from behind that of ``leaves``."""
    described = unless_damaged(
        lambda: models.use(
            context.database,
            ref,
            lambda record: (record, feature_matrix.describe(context, feature_matrix.of_model(context, record))),
        )
    )
    # without the matrix the page shows the rest of the record
    record, learned = described or (models.get(context.database, ref), None)
    has_leaves = record.resource.spec.get("solver") == "blocks"
    return render(
        request,
        "model.html",
        model=record.resource,
        has_leaves=has_leaves,
        leaf_map=_leaves(context, record, leaves) if has_leaves else None,
        features=learned,
        history=record.summary.history,
        folds_away=record.summary.encoded_names != [column.name for column in record.summary.features],
        inputs=_inputs(context, record, None if learned is None else learned.importance),
        unread=_unread(context, record),
        first=FIRST_COLUMNS,
        versions=models.list_page(context.database, limit=PAGE, name=record.resource.name).items,
        siblings=_siblings(context, record),
    )


def _leaves(context: Context, record: ModelRecord, after: str | None) -> ShownLeaves | None:
    """Return the first cuts and a page of leaves; None where storage lost or changed the model."""
    from worker.serving.leaf_map import first_cuts, leaf_page  # see service.runtime.predictor

    behind = None if after is None else int(after)

    def shown(current: ModelRecord) -> ShownLeaves:
        model = context.predictor.model(current)
        return ShownLeaves(first_cuts(model, LEVELS), leaf_page(model, limit=LEAVES, after=behind), behind)

    return unless_damaged(lambda: models.use(context.database, record.resource.id, shown))


def _unread(context: Context, record: ModelRecord) -> list[str]:
    """Return the columns of the dataset that are neither features nor targets; none where it is deleted."""
    read = {column.name for column in [*record.resource.features, *record.resource.targets]}
    try:
        columns = datasets.get(context.database, record.resource.dataset).columns
    except NotFound:
        return []
    return [column.name for column in columns if column.name not in read][:MAX_OFFERED]


def _inputs(context: Context, record: ModelRecord, importance: list[FeatureShare] | None) -> list[dict[str, Any]]:
    """Return the inputs of the prediction form, the most important column first where that is known.

    ``pointer``: JSON pointer of the value in the request. ``usual``: a typical value. ``offered``: categories to choose
    from. ``lines``: whether one of them holds a line break, which needs a multi-line input.
    """
    try:
        known = {column.name: column for column in datasets.get(context.database, record.resource.dataset).columns}
    except NotFound:
        known = {}
    types = {column.name: column.type for column in record.resource.features}
    names = list(types) if importance is None else [feature.feature for feature in importance]
    return [
        {
            "name": name,
            "pointer": pointer("rows", 0, name),
            "type": types[name],
            "usual": _usual(column),
            "offered": _offered(column),
            "lines": any("\n" in value or "\r" in value for value in _offered(column)),
        }
        for name in names
        for column in [known.get(name)]
    ]


def _usual(column: Column | None) -> str:
    if column is None:
        return ""
    if column.type == "boolean":
        return str(column.top[0].value) if column.top else ""
    if column.type == "text":
        return next((str(text.value) for text in column.top or () if not text.cut), "")
    if column.type == "categorical":
        return next(iter(_offered(column)), "")
    if column.type == "datetime":
        return str(column.max or "")
    if column.mean is None:
        return ""
    return f"{column.mean:.0f}" if column.integer else f"{column.mean:.4g}"


def _offered(column: Column | None) -> list[str]:
    """Return the frequent categories of a column, without those stored in shortened form."""
    if column is None or column.type != "categorical":
        return []
    return [str(category.value) for category in column.top or () if not category.cut]


def _siblings(context: Context, record: ModelRecord) -> list[Any]:
    """Return other models of the same dataset and targets."""
    model = record.resource
    return [
        other
        for other in models.list_page(context.database, limit=PAGE).items
        if other.id != model.id and other.dataset == model.dataset and other.targets == model.targets
    ]

"""The page that compares jobs and models."""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Annotated, Any

from fastapi import Query, Request, Response

from service.dashboard.damage import unless_damaged
from service.dashboard.pages import page_router, render
from service.dashboard.work import flatten
from service.models import feature_matrix
from service.models.comparison import MAX_COMPARED, similarity
from service.models.feature_matrix import LearnedMatrix
from service.runtime.context import Context, CurrentContext
from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import FeatureShare, Job, Model
from worker.contracts.validation import in_words
from worker.store import jobs, models
from worker.store.models import ModelRecord

router = page_router()

TOP = 10
OFFERED = 30
SMALLER_IS_BETTER = ("rmse", "brier", "brier_of_raw_scores", "loss", "penalty")


@dataclass(frozen=True)
class Side:
    """One job or model to compare. ``model``: None for a job without one; ``newest``: the newest version of its name.

    ``options``: those of the request. ``learned``: the model's matrix, None where its file is damaged.
    """

    title: str
    link: str
    metrics: dict[str, float]
    options: dict[str, Any]
    facts: dict[str, Any]
    model: Model | None = None
    newest: int = 0
    learned: LearnedMatrix | None = None
    importance: list[FeatureShare] = field(default_factory=list)
    features_learned: bool = True


@router.get("/compare")
def compare(
    context: CurrentContext,
    request: Request,
    ref: Annotated[list[str], Query()] = [],  # noqa: B006
) -> Response:
    """Show jobs and models side by side: metrics, differing options, matrices."""
    refs = list(dict.fromkeys(ref))
    if not 2 <= len(refs) <= MAX_COMPARED:
        return render(
            request,
            "choose_two.html",
            422 if len(refs) > MAX_COMPARED else 200,
            models=models.list_page(context.database, limit=OFFERED).items,
            jobs=[job for job in jobs.list_page(context.database, limit=OFFERED).items if job.kind != "predict"],
            chosen=refs,
            most=MAX_COMPARED,
        )
    sides = [_side(context, name) for name in refs]
    names = list(dict.fromkeys(name for side in sides for name in side.options))
    differing = [name for name in names if len({str(side.options.get(name)) for side in sides}) > 1]
    # metrics of different targets are not comparable
    comparable = "target" not in differing
    return render(
        request,
        "compare.html",
        sides=sides,
        metrics=[
            (name, values, _best(values, name) if comparable else None)
            for name in dict.fromkeys(name for side in sides for name in side.metrics)
            for values in [[side.metrics.get(name) for side in sides]]
        ],
        comparable=comparable,
        facts=list(dict.fromkeys(name for side in sides for name in side.facts)),
        differing=differing,
        same=[name for name in names if name not in differing],
        agreement=_agreement(sides),
        top=TOP,
    )


def _side(context: Context, ref: str) -> Side:
    if ref.startswith("job_"):
        job = jobs.get(context.database, ref)
        if job.kind == "predict":
            raise InvalidRequest("A prediction has nothing to compare: choose fits, searches, networks or models.")
        if job.model is None or job.state != "succeeded":
            facts = {"State": job.state, **_also_chose(job)}
            return Side(ref, f"/jobs/{ref}", job.metrics, _options(job.request), facts)
        ref = job.model
    loaded = unless_damaged(
        lambda: models.use(
            context.database,
            ref,
            lambda record: (record, feature_matrix.load(feature_matrix.of_model(context, record))),
        )
    )
    record, learned = loaded or (models.get(context.database, ref), None)
    model = record.resource
    facts = {
        **_also_chose(model),
        "Chosen iteration": f"{model.iteration} of {model.iterations}",
        "Ridge": model.ridge,
        "Bandwidth": model.bandwidth,
        "Training rows": model.training_rows,
        "Encoded columns": model.encoded_features,
        "Precision": model.precision,
    }
    targets = [column.name for column in model.targets]
    return Side(
        title=f"{model.name}@{model.version}",
        link=f"/models/{model.id}",
        metrics=_comparable(record),
        options=_options({"dataset": model.dataset, "target": targets, "spec": model.spec}),
        facts=facts,
        model=model,
        newest=models.list_page(context.database, limit=1, name=model.name).items[0].version,
        learned=learned,
        importance=[] if learned is None else feature_matrix.importance(learned),
        features_learned=learned is None or feature_matrix.learned_something(learned),
    )


def _also_chose(record: Job | Model) -> dict[str, Any]:
    """Return which options were chosen on validation rows and on rows left out."""
    facts = {"Validation rows also chose": in_words(record.validation_chose) or "nothing"}
    if record.left_out_chose:
        facts["Rows left out also chose"] = in_words(record.left_out_chose)
    return facts


def _comparable(record: ModelRecord) -> dict[str, float]:
    """Return a model's metrics. Older versions computed the Brier score of raw scores: it gets another name."""
    metrics = record.resource.metrics
    if record.summary.validation_chose is not None:
        return metrics
    return {f"{name}_of_raw_scores" if name.endswith("brier") else name: value for name, value in metrics.items()}


def _options(request: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in request.items() if name not in ("features", "exclude", "model", "kind")}
    return flatten(shown)


def _best(values: list[float | None], name: str) -> float | None:
    """Return the best of the values; None where all are equal."""
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return None
    return min(known) if name.endswith(SMALLER_IS_BETTER) else max(known)


def _agreement(sides: list[Side]) -> list[tuple[str, str, float | None]]:
    """Return the cosine between the matrices of each pair of models; None where they share no column."""
    shown = [(side.title, side.learned) for side in sides if side.learned is not None]
    return [(title, other_title, similarity(M, N)) for (title, M), (other_title, N) in combinations(shown, 2)]

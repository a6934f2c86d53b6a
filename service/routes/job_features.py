"""The feature matrix of a fit, also while it runs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.http.negotiation import choose
from service.http.pagination import Id
from service.http.problems import problems
from service.models import feature_matrix
from service.routes.parameters import PNG, Accept, Columns, Folded
from service.runtime.context import CurrentContext
from worker.contracts.resources import JobFeatureMatrix, JobFeatures
from worker.tables.media import JSON

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

Iteration = Annotated[
    int | None, Query(ge=0, le=9999, description="Default: the newest while the job runs, then the chosen one.")
]


@router.get("/{job_id}/features", responses=problems(404, 409, 422))
def get_job_features(context: CurrentContext, job_id: Id, iteration: Iteration = None) -> JobFeatures:
    """Summarise what a fit looks at after an iteration, also while it runs."""
    described = feature_matrix.describe(context, feature_matrix.of_job(context, job_id, iteration))
    return JobFeatures(job=job_id, **dict(described))


@router.get(
    "/{job_id}/features/matrix",
    response_model=JobFeatureMatrix,
    responses={
        200: {"description": "The feature matrix M of an iteration", "content": {PNG: {}}},
        **problems(404, 406, 409, 422),
    },
)
def get_job_matrix(
    context: CurrentContext,
    request: Request,
    job_id: Id,
    iteration: Iteration = None,
    fold: Folded = False,
    columns: Columns = [],  # noqa: B006 - FastAPI copies it
    accept: Accept = None,
) -> Response:
    """Show the feature matrix of a fit after an iteration, also while it runs, as JSON or as a heatmap."""
    kind = choose(accept, (JSON, PNG))
    source = feature_matrix.of_job(context, job_id, iteration)
    # a new iteration may follow soon
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    if kind == PNG:
        title = f"{job_id}: feature matrix, iteration {source.iteration}"
        content = feature_matrix.picture(context, source, title, fold, columns)
        return Response(content, media_type=PNG, headers=headers)
    learned = feature_matrix.view(feature_matrix.load(source), fold, columns)
    document = JobFeatureMatrix(job=job_id, iteration=learned.iteration, names=learned.names, matrix=learned.M.tolist())
    return Response(document.model_dump_json(), media_type=JSON, headers=headers)

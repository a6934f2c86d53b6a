"""Liveness, readiness and metrics."""

from dataclasses import replace

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from service.runtime.context import CurrentContext
from service.runtime.readiness import Check, find_checks
from service.upkeep.metrics import ServiceCollector

router = APIRouter(tags=["operations"])
log = structlog.get_logger()


class Alive(BaseModel):
    """The process answers."""

    status: str = "alive"


class Readiness(BaseModel):
    """Whether the service can work, and what it needs for that."""

    ready: bool
    checks: dict[str, Check]


@router.get("/livez")
def live() -> Alive:
    """Answer as long as the process runs. Nothing else is asked."""
    return Alive()


@router.get("/readyz", responses={503: {"description": "Something is out of reach", "model": Readiness}})
def ready(context: CurrentContext) -> Response:
    """Reach the database, Redis and storage."""
    checks = find_checks(context)
    document = Readiness(ready=all(check.ok for check in checks.values()), checks=checks)
    return JSONResponse(document.model_dump(), 200 if document.ready else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus metrics"}},
)
def metrics(context: CurrentContext) -> Response:
    """Show the metrics of this process, and the state of all jobs, in the text form of Prometheus."""
    everything = replace(context, database=context.database.for_project(None))
    return Response(generate_latest() + generate_latest(ServiceCollector(everything)), media_type=CONTENT_TYPE_LATEST)

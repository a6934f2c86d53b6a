"""The HTTP application: resources opened and closed, middleware, routes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from anyio import to_thread
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig

from service.dashboard import site
from service.dashboard.pages import missing_page
from service.http import problems
from service.http.middleware.allowed_hosts import HostCheck
from service.http.middleware.authentication import Authentication, KeyRing
from service.http.middleware.body_limit import BodyLimit
from service.http.middleware.head_requests import HeadRequests
from service.http.middleware.idempotency import Idempotency
from service.http.middleware.rate_limit import RateLimit
from service.http.middleware.request_log import RequestLog
from service.http.middleware.security_headers import SecurityHeaders
from service.http.unknown_parameters import reject_unknown_parameters
from service.openapi import document
from service.routes import (
    batches,
    datasets,
    explanations,
    exports,
    health,
    inference_v2,
    job_features,
    job_parts,
    jobs,
    leaves,
    models,
    predictions,
    reference,
    uploads,
)
from service.runtime.bounded_cache import BoundedCache
from service.runtime.context import Context, Draining, get_context, utc_now
from service.runtime.predictor import Predictor
from service.runtime.reader_pool import TableReaders
from service.runtime.stream_slots import StreamSlots
from service.settings import ServiceSettings
from service.upkeep.reconciler import Reconciler
from worker import VERSION
from worker.environment.job_queue import JobQueue
from worker.store.database import Database
from worker.store.files.artifacts import Artifacts
from worker.telemetry.tracing import Tracing

ROW_READER_SECONDS = 60.0
"""Time limit for reading rows to predict, which are few."""
LEARNED_BYTES = 2**25
"""Memory for descriptions and pictures of feature matrices."""
UNTRACED = ("/livez", "/readyz", "/metrics")
DESCRIPTION = """
Train FACT-RFM, a kernel machine that learns features without backpropagation: upload a table, submit a job, follow it,
predict with the model, and look at the feature matrix that it learned.

JSON is nested at most 200 levels deep, a head has at most 64 KiB, a list in a header at most 100 members. HEAD is
answered wherever GET is.
"""


def create_app(
    settings: ServiceSettings, now: Callable[[], datetime] = utc_now, tracing: Tracing | None = None
) -> FastAPI:
    """Return an application that opens its resources on start-up and closes them on shutdown.

    ``tracing``: where spans of requests go. The caller closes it.
    """
    tracing = tracing or Tracing()
    app = FastAPI(
        title="FACT-RFM",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan,
        telemetry=_telemetry(tracing),
        # FastAPI's pages load scripts from other hosts; ours are in routes.reference
        docs_url=None,
        redoc_url=None,
        # a redirect would go to whatever host the caller names
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.settings = settings
    app.state.now = now
    app.state.draining = Draining()
    # routes are matched in order: the busiest come first
    for routes in (
        predictions,
        inference_v2,
        datasets,
        uploads,
        jobs,
        job_features,
        job_parts,
        batches,
        models,
        explanations,
        leaves,
        exports,
        health,
        reference,
    ):
        if routes.router.prefix.startswith("/v1"):
            strict = [Depends(reject_unknown_parameters)]
            app.include_router(routes.router, dependencies=strict, responses=problems.problems(422))
        else:
            app.include_router(routes.router)
    site.install(app)
    problems.install(app, missing_page)
    # the middleware added last runs first
    app.add_middleware(HeadRequests)
    app.add_middleware(Idempotency, database=lambda request: get_context(request).database, now=now)
    app.add_middleware(
        BodyLimit,
        max_upload=settings.max_body_bytes,
        max_part=settings.part_bytes,
        max_other=settings.max_json_bytes,
        stall_seconds=settings.stall_seconds,
    )
    app.add_middleware(RateLimit, rate=settings.requests_per_second)
    app.state.keys = KeyRing(settings.api_keys, lambda: app.state.context.database)
    app.add_middleware(Authentication, ring=app.state.keys)
    app.add_middleware(HostCheck, ring=app.state.keys, host=settings.host, allowed=settings.allowed_hosts)
    app.add_middleware(RequestLog, tracing=tracing)
    app.add_middleware(SecurityHeaders, hsts_seconds=settings.hsts_seconds)
    app.openapi = lambda: document.document(app, settings)  # type: ignore[method-assign]
    return app


def _telemetry(tracing: Tracing) -> TelemetryConfig:
    """Return FastAPI's telemetry settings: one span a request where tracing is on, none for health checks."""
    return {
        "tracing": tracing.provider is not None,
        "tracer_provider": tracing.provider,
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
        "exclude": lambda scope: scope.get("path") in UNTRACED,
    }


def _operation_id(route: APIRoute) -> str:
    return route.name


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: ServiceSettings = app.state.settings
    database = Database(settings.database_address)
    await to_thread.run_sync(database.migrate)
    artifacts = Artifacts(settings.storage_address)
    context = Context(
        settings=settings,
        database=database,
        artifacts=artifacts,
        queue=JobQueue(settings.redis_address, settings.queue),
        predictor=Predictor(
            artifacts,
            settings.model_cache_bytes,
            settings.predict_threads,
            settings.max_waiting_predictions,
            settings.predict_batch_rows,
            settings.predict_batch_wait_seconds,
        ),
        learned=BoundedCache(LEARNED_BYTES),
        readers=TableReaders(settings.table_readers, settings.table_reader_bytes, settings.table_reader_seconds),
        # a separate pool, so that predictions never wait for an upload
        row_readers=TableReaders(settings.table_readers, settings.table_reader_bytes, ROW_READER_SECONDS),
        stream_slots=StreamSlots(settings.max_followers, settings.max_followers_per_project),
        draining=app.state.draining,
        now=app.state.now,
    )
    app.state.context = context
    reconciler = Reconciler(context)
    reconciler.start()
    try:
        yield
    finally:
        await to_thread.run_sync(reconciler.stop)
        await to_thread.run_sync(context.readers.close)
        await to_thread.run_sync(context.row_readers.close)
        context.queue.close()
        database.dispose()

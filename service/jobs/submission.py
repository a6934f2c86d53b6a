"""Submission of jobs: plan, insert and commit the row, then send the message."""

import itertools
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from service.http.request_context import ORIGIN, STARTED
from service.http.validation_errors import MAX_PLACES, field_errors, invalid_request
from service.jobs.lookups import LookupCache
from service.jobs.planning import Plan, plan
from service.runtime.context import Context
from worker.contracts.errors import FieldError, InvalidRequest, QueueFull, RequestInFlight, UnknownReference
from worker.contracts.requests import (
    AnyRequest,
    BatchGrid,
    JobRequest,
    TrainRequest,
)
from worker.contracts.resources import Batch, BatchCounts, Job
from worker.store import idempotency, jobs
from worker.store.database import advisory_lock, owner
from worker.store.ids import new_id
from worker.store.jobs import batches
from worker.store.jobs.queries import find, to_resource

log = structlog.get_logger()

ADMISSION = "admission"
REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(JobRequest)


def submit(context: Context, request: AnyRequest) -> Job:
    """Queue one job.

    Raises:
        InvalidRequest: see ``plan``.
        QueueFull: too many jobs wait.
    """
    planned = plan(context, request)
    [job_id] = _insert(context, [planned], batch_id=None)
    _send(context, [job_id])
    return jobs.get(context.database, job_id)


def submit_batch(context: Context, requests: Sequence[AnyRequest]) -> str:
    """Queue all of ``requests`` or none. Return the batch's id.

    Raises:
        InvalidRequest: at least one request is wrong; pointers begin with its index.
        QueueFull: too many jobs wait.
    """
    check_count(len(requests), context.settings.max_batch_jobs)
    planned: list[Plan] = []
    wrong: list[FieldError] = []
    permanent = True
    cache = LookupCache(context)
    for index, request in enumerate(requests):
        try:
            planned.append(plan(context, request, cache))
        except InvalidRequest as error:
            permanent = permanent and error.permanent
            entries = error.errors or (FieldError("", error.detail),)
            wrong += [FieldError(f"/{index}{entry.pointer}", entry.message) for entry in entries]
            if len(wrong) >= MAX_PLACES:
                break
    if wrong:
        raise invalid_request(wrong, InvalidRequest if permanent else UnknownReference)
    batch_id = new_id("bat", context.now())
    _send(context, _insert(context, planned, batch_id=batch_id))
    return batch_id


def retry(context: Context, job_id: str) -> Job:
    """Queue a failed or cancelled job again.

    Raises:
        NotFound, Conflict: see ``worker.store.jobs.retry``.
        QueueFull: too many jobs wait.
    """
    with context.database.transaction() as session:
        _check_room(context, session, 1)
    job = jobs.retry(context.database, job_id, context.now(), ORIGIN.get())
    _send(context, [job_id])
    return job


def expand_grid(grid: BatchGrid, limit: int, max_bytes: int) -> list[AnyRequest]:
    """Return every combination of the grid's values set into its base.

    Raises:
        InvalidRequest: a path or a combination is invalid, there are more than ``limit``, or their JSON would take
            more than ``max_bytes``.
    """
    size = 1
    for values in grid.grid.values():
        size *= len(values)
    if size > limit:
        raise InvalidRequest.at("/grid", f"the grid has {size} combinations, a batch holds at most {limit} jobs")
    if _json_bytes(grid, size) > max_bytes:
        raise InvalidRequest.at(
            "/grid", f"the {size} combinations take more than {max_bytes} bytes; send smaller bodies"
        )
    bodies: list[dict[str, Any]] = []
    for combination in itertools.product(*grid.grid.values()):
        body = grid.base
        for path, value in zip(grid.grid, combination, strict=True):
            body = _with_value(body, path.split("."), value)
        bodies.append(body)
    return parse_all(bodies)


def _json_bytes(grid: BatchGrid, size: int) -> int:
    """Return the bytes of the JSON of all combinations."""
    total = sum(len(json.dumps(values)) * (size // len(values)) for values in grid.grid.values())
    return size * len(json.dumps(grid.base)) + total


def check_count(jobs: int, limit: int) -> None:
    """Check the number of jobs in a batch.

    Raises:
        InvalidRequest: it holds none or more than ``limit``.
    """
    if not 0 < jobs <= limit:
        raise InvalidRequest(f"a batch holds 1 to {limit} jobs, this one {jobs}")


def parse_all(bodies: Sequence[Any]) -> list[AnyRequest]:
    """Return the requests in ``bodies``.

    Raises:
        InvalidRequest: at least one is not a valid body; pointers begin with its index.
    """
    parsed: list[AnyRequest] = []
    wrong: list[FieldError] = []
    for index, body in enumerate(bodies):
        try:
            parsed.append(REQUEST.validate_python(body, strict=None))
        except ValidationError as error:
            entries = field_errors(body, error.errors(include_url=False))
            wrong += [FieldError(f"/{index}{entry.pointer}", entry.message) for entry in entries]
            if len(wrong) >= MAX_PLACES:
                break
    if wrong:
        raise invalid_request(wrong)
    return parsed


def _with_value(body: dict[str, Any], path: Sequence[str], value: object) -> dict[str, Any]:
    """Return a copy of a body with another value at a path."""
    made = inner = dict(body)
    *steps, last = path
    for step in steps:
        child = inner.get(step, {})
        if not isinstance(child, dict):
            raise InvalidRequest.at("/grid", f"{'.'.join(path)!r} leads into {step!r}, which is no object in the base")
        copied = dict(child)
        inner[step] = copied
        inner = copied
    inner[last] = value
    return made


def _check_room(context: Context, session: Session, more: int) -> None:
    """Check that ``more`` jobs fit into the queue.

    Raises:
        QueueFull: too many jobs wait, of all projects or of this one.
    """
    settings = context.settings
    waiting, own_waiting = jobs.count_waiting(session, owner(session))
    if waiting + more > settings.max_queued_jobs:
        raise QueueFull(f"{waiting} jobs wait and at most {settings.max_queued_jobs} may; try again later")
    if own_waiting + more > settings.max_queued_jobs_per_project:
        most = settings.max_queued_jobs_per_project
        raise QueueFull(f"{own_waiting} jobs of this project wait and at most {most} may; try again later")


def _insert(context: Context, planned: list[Plan], batch_id: str | None) -> list[str]:
    now = context.now()
    ids = [new_id("job", now) for _ in planned]
    with context.database.transaction() as session:
        # concurrent requests must not take the same place in the queue
        advisory_lock(session, ADMISSION)
        _check_room(context, session, len(planned))
        if batch_id is not None:
            batches.insert(session, batch_id, total=len(planned), now=now)
        for job_id, job_plan in zip(ids, planned, strict=True):
            request = job_plan.request
            if isinstance(request, TrainRequest) and request.model is None:
                request = request.model_copy(update={"model": job_id})
            jobs.insert_job(
                session,
                job_id=job_id,
                request=request,
                dataset_ids=job_plan.datasets,
                model_id=job_plan.model_id,
                estimate=job_plan.dry_run.estimate,
                batch_id=batch_id,
                origin=ORIGIN.get(),
                now=now,
            )
        started = STARTED.get()
        if started is not None:
            _keep_answer(session, started, ids, batch_id, now)
    return ids


def _keep_answer(
    session: Session, started: idempotency.Started, ids: list[str], batch_id: str | None, now: datetime
) -> None:
    """Store the answer in the transaction of its jobs, so that a request repeated after a crash finds them."""
    answer: Batch | Job
    if batch_id is None:
        path, answer = f"/v1/jobs/{ids[0]}", to_resource(find(session, ids[0]))
    else:
        links = [f"/v1/jobs/{job_id}" for job_id in ids]
        counts = BatchCounts(queued=len(ids))
        path, answer = (
            f"/v1/batches/{batch_id}",
            Batch(id=batch_id, counts=counts, total=len(ids), jobs=links, created_at=now),
        )
    headers = {"location": path, "content-type": "application/json"}
    if not idempotency.finish_in(session, started, 202, headers, answer.model_dump_json().encode(), now):
        # this process paused for so long that the client's next try took over the key and creates the jobs
        raise RequestInFlight("another try of this request has taken over; try again")


def _send(context: Context, job_ids: list[str]) -> None:
    """Send the messages of committed jobs. The reconciler sends those that the broker does not take."""
    for job_id in job_ids:
        log.info("job queued", job_id=job_id)
    for job_id in job_ids:
        if not context.queue.send(job_id):
            return
        jobs.mark_sent(context.database, job_id, context.now())

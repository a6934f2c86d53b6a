"""Jobs: submit, look, follow, cancel, retry, fetch the result."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, suppress
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator, Field
from starlette.types import Receive, Scope, Send

from service.errors import TooManyFollowers
from service.http.downloads import PARAMETERS, downloads, send_artifact
from service.http.json_route import JsonRoute
from service.http.negotiation import choose, json_only, listed
from service.http.pagination import AfterJob, Filter, Id, Limit
from service.http.problems import problems
from service.http.request_context import FOLLOWED
from service.jobs import planning, submission
from service.openapi.document import LOCATION
from service.runtime.context import Context, CurrentContext, project_of
from worker.contracts.errors import Conflict, NotFound
from worker.contracts.events import Event
from worker.contracts.requests import JobRequest
from worker.contracts.resources import FINAL_STATES, DryRun, Job, JobKind, JobState, Page
from worker.contracts.results import NetworkReport, TuneResult
from worker.store import jobs
from worker.store.jobs import events

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)

EVENT_STREAM = "text/event-stream"
PING_SECONDS = 15.0
RETRY_MS = 1000
WAIT = re.compile("[0-9]{1,9}")
EVENT_NUMBER = re.compile("[0-9]{1,10}")
EVENTS_AT_ONCE = 1000
FILE_TYPES = ("application/vnd.apache.parquet", "text/csv", "application/vnd.apache.arrow.file")
APPLIED = {"Preference-Applied": {"schema": {"type": "string", "pattern": r"^wait=\d+$"}}}
SUBMIT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": DryRun, "description": "With dry_run: what the job would be"},
    202: {"model": Job, "description": "The job is queued", "headers": {**LOCATION, **APPLIED}},
    **problems(415),
}
EVENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events, or with Accept: text/event-stream a stream of them",
        "content": {EVENT_STREAM: {}},
    },
    204: {"description": "Of a stream: the job has ended, and there is no event after this one"},
    **problems(404, 406, 422, 429),
}
RESULT_RESPONSES = downloads(
    "predict: the file, in the format that was asked for; tune: every trial; network: the report",
    [*FILE_TYPES, "application/json"],
) | problems(404, 409)
RESULT_RESPONSES[200]["model"] = TuneResult | NetworkReport
EXAMPLES = {
    "defaults": {
        "summary": "Everything by default",
        "value": {"kind": "fit", "dataset": "ds_01jd0000000000000000000000", "target": "price"},
    },
    "spec": {
        "summary": "A named model with a spec",
        "value": {
            "kind": "fit",
            "dataset": "ds_01jd0000000000000000000000",
            "target": "price",
            "model": "house-prices",
            "validation": {"fraction": 0.2},
            "spec": {"kernel": "laplace", "ridge": 0.01, "iterations": 8},
        },
    },
    "tune": {
        "summary": "Search the default space around the default spec; the best of 30 trials becomes the model",
        "value": {
            "kind": "tune",
            "dataset": "ds_01jd0000000000000000000000",
            "target": "price",
            "model": "house-prices",
            "search": {"trials": 30},
        },
    },
    "space": {
        "summary": "Search some options, the others fixed by the spec",
        "value": {
            "kind": "tune",
            "dataset": "ds_01jd0000000000000000000000",
            "target": "price",
            "validation": {"folds": 3},
            "spec": {"iterations": 8},
            "search": {
                "trials": 20,
                "seed": 1,
                "space": {
                    "ridge": {"low": 1e-4, "high": 10, "log": True},
                    "bandwidth_factor": {"low": 0.5, "high": 5, "step": 0.5},
                    "kernel": {"choices": ["laplace", "gaussian"]},
                },
            },
        },
    },
    "network": {
        "summary": "Train a network and report how FACT, AGOP and eNFA agree with its weights, layer by layer",
        "value": {
            "kind": "network",
            "dataset": "ds_01jd0000000000000000000000",
            "target": "diagnosis",
            "validation": {"fraction": 0.2},
            "spec": {"hidden": [128, 128], "loss": "cross_entropy", "steps": 2000, "report_every": 200},
        },
    },
    "predict": {
        "summary": "Predict a stored dataset into a file",
        "value": {"kind": "predict", "model": "house-prices", "dataset": "ds_01jd0000000000000000000000"},
    },
}


class EventStream(StreamingResponse):
    """A stream of events that holds a stream slot until it ends."""

    def __init__(self, slot: AbstractContextManager[None], content: AsyncIterator[str]) -> None:
        super().__init__(content, media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})
        self._slot = slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[FOLLOWED] = True
        with self._slot:
            await super().__call__(scope, receive, send)


def _event_number(value: object) -> object:
    """Return the value of a header, None if it is empty.

    Raises:
        ValueError: it is not an event number.
    """
    if isinstance(value, str) and not EVENT_NUMBER.fullmatch(value):
        if value == "":
            return None
        raise ValueError("the number of an event is written in at most ten digits")
    return value


@router.post("", status_code=202, dependencies=[Depends(json_only)], responses=SUBMIT_RESPONSES)
async def create_job(
    context: CurrentContext,
    response: Response,
    sent: Request,
    request: Annotated[JobRequest, Body(openapi_examples=EXAMPLES)],
    dry_run: Annotated[bool, Query(description="Answer 200 with the resolved request; queue nothing.")] = False,
    prefer: Annotated[str | None, Header(description="wait=N waits up to N seconds for a final state.")] = None,
) -> Job | DryRun:
    """Queue a job, or with ``dry_run`` say what it would be."""
    if dry_run:
        response.status_code = 200
        return (await to_thread.run_sync(planning.plan, context, request)).dry_run
    job = await to_thread.run_sync(submission.submit, context, request)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    seconds = _wanted_wait(prefer)
    if seconds is not None:
        # without a free slot the preference is ignored; the job is queued anyway
        with suppress(TooManyFollowers), context.stream_slots.hold(project_of(sent)):
            response.headers["Preference-Applied"] = f"wait={seconds}"
            job = await _wait(context, job, min(seconds, context.settings.max_wait_seconds))
    return job


@router.get("", responses=problems(422))
def list_jobs(
    context: CurrentContext,
    state: JobState | None = None,
    kind: JobKind | None = None,
    model: Annotated[Filter, Query(description="A model's id or name.")] = None,
    limit: Limit = 50,
    after: AfterJob = None,
) -> Page[Job]:
    """List jobs, newest first."""
    return jobs.list_page(context.database, state=state, kind=kind, model=model, limit=limit, after=after)


@router.get("/{job_id}", responses=problems(404))
def get_job(context: CurrentContext, job_id: Id) -> Job:
    """Show one job."""
    return jobs.get(context.database, job_id)


@router.get("/{job_id}/events", response_model=list[Event], responses=EVENT_RESPONSES)
async def get_events(
    context: CurrentContext,
    request: Request,
    job_id: Id,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    last_event_id: Annotated[
        Annotated[int, Field(ge=0, le=2**31 - 1)] | None,
        BeforeValidator(_event_number),
        Header(description="Go on after this event. Empty: from the first."),
    ] = None,
) -> Response | list[Event]:
    """List what happened to a job, or follow it live with ``Accept: text/event-stream``.

    A stream that would say nothing more is 204, at which browsers do not come back.
    """
    job = await to_thread.run_sync(jobs.get, context.database, job_id)
    after = last_event_id or 0
    if choose(accept, ["application/json", EVENT_STREAM]) == EVENT_STREAM:
        if job.state in FINAL_STATES and not await to_thread.run_sync(
            events.list_events, context.database, job_id, after, 1
        ):
            return Response(status_code=204)
        slot = context.stream_slots.hold(project_of(request))
        return EventStream(slot, _follow(context, job_id, after))
    return await to_thread.run_sync(_all_events, context, job_id, after)


@router.post("/{job_id}/cancel", status_code=202, responses={202: {"headers": LOCATION}, **problems(404)})
def cancel_job(context: CurrentContext, response: Response, job_id: Id) -> Job:
    """Stop a job: at once while it is queued, within seconds while it runs."""
    job = jobs.request_cancel(context.database, job_id, context.now())
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.post("/{job_id}/retry", status_code=202, responses={202: {"headers": LOCATION}, **problems(404)})
def retry_job(context: CurrentContext, response: Response, job_id: Id) -> Job:
    """Run a failed or cancelled job again, from its last checkpoint if it has one."""
    job = submission.retry(context, job_id)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.get("/{job_id}/result", response_class=Response, openapi_extra=PARAMETERS, responses=RESULT_RESPONSES)
def get_result(context: CurrentContext, request: Request, job_id: Id) -> Response:
    """Download what a job made: a predict job's file, a tune job's trials, a network job's report.

    While a job runs, ``/trials`` or its events of type ``step`` say the same.
    """
    job = jobs.get(context.database, job_id)
    if job.kind == "fit":
        raise Conflict(f"job {job_id} is a {job.kind}: its result is the model, see GET /v1/models")
    result = jobs.result(context.database, job_id)
    if result is None:
        raise Conflict(f"job {job_id} is {job.state}: only a succeeded job has a result")
    suffix = result.result.key.rsplit(".", 1)[-1]
    return send_artifact(request, context.artifacts, result.result, result.media_type, f"{job_id}.{suffix}")


@router.delete("/{job_id}", status_code=204, responses=problems(404, 409))
def delete_job(context: CurrentContext, job_id: Id) -> None:
    """Forget a finished job with its checkpoints and result. A model that it made stays."""
    jobs.delete(context.database, job_id)
    context.artifacts.delete_prefix(f"jobs/{job_id}/")
    context.artifacts.delete_prefix(f"results/{job_id}/")


def _wanted_wait(prefer: str | None) -> int | None:
    """Return N of ``wait=N`` (RFC 7240), with nine digits at most.

    A preference that cannot be read is ignored, as the RFC asks.
    """
    for preference in listed("Prefer", prefer or ""):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait" and WAIT.fullmatch(value.strip()):
            return int(value)
    return None


async def _wait(context: Context, job: Job, seconds: float) -> Job:
    ends_at = anyio.current_time() + seconds
    while job.state not in FINAL_STATES and anyio.current_time() < ends_at and not context.draining.begun:
        await anyio.sleep(context.settings.event_poll_seconds)
        job = await to_thread.run_sync(jobs.get, context.database, job.id)
    return job


def _all_events(context: Context, job_id: str, after: int) -> list[Event]:
    collected: list[Event] = []
    while True:
        page = events.list_events(context.database, job_id, after, EVENTS_AT_ONCE)
        collected += page
        if len(page) < EVENTS_AT_ONCE:
            return collected
        after = page[-1].seq


async def _follow(context: Context, job_id: str, after: int) -> AsyncIterator[str]:
    """Yield events as they are written, until the job is final and all events are sent.

    The state is read before the events, so no event of a final job is missed.
    """
    yield f"retry: {RETRY_MS}\n\n"
    quiet_since = anyio.current_time()
    while True:
        try:
            job = await to_thread.run_sync(jobs.get, context.database, job_id)
        except NotFound:
            return
        page = await to_thread.run_sync(events.list_events, context.database, job_id, after, EVENTS_AT_ONCE)
        for event in page:
            after = event.seq
            yield f"id: {event.seq}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
        if job.state in FINAL_STATES and not page:
            return
        if context.draining.begun:
            # the client reconnects to another process and continues after the last event
            yield ": the service is stopping\n\n"
            return
        now = anyio.current_time()
        if page:
            quiet_since = now
        elif now - quiet_since > PING_SECONDS:
            quiet_since = now
            yield ": still here\n\n"
        if not page:
            await anyio.sleep(context.settings.event_poll_seconds)

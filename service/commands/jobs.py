"""Commands on jobs: list, watch, cancel, retry."""

import itertools
from typing import Annotated, Any

import typer

from service.client import JobFailed
from service.client.progress import ProgressBar
from service.commands.session import Limit, Session, remote, table
from worker.contracts.resources import Job

JobId = Annotated[str, typer.Argument(help="The job's id.")]


@remote
def jobs(
    session: Session,
    job: Annotated[str | None, typer.Argument(help="Show this one job alone.")] = None,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    kind: Annotated[str | None, typer.Option(help="fit, tune, network or predict.")] = None,
    model: Annotated[str | None, typer.Option(help="A model's id or name.")] = None,
    limit: Limit = 20,
) -> None:
    """List jobs, newest first, or show one."""
    if job is not None:
        shown = session.client.job(job)
        session.show(shown, lambda: _table([shown]))
        return
    page = list(itertools.islice(session.client.jobs(state=state, kind=kind, model=model), limit))
    session.show(page, lambda: _table(page))


@remote
def watch(
    session: Session,
    job: JobId,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most; the job goes on.")] = None,
) -> None:
    """Follow a job until it ends. With --json every event is a line. Exits with 3 when the job does not succeed."""
    if session.as_json:
        for event in session.client.follow(job, timeout=timeout):
            typer.echo(event.model_dump_json())
        ended = session.client.job(job)
    else:
        with ProgressBar(job, session.notes, lambda: session.client.job(job)) as bar:
            ended = session.client.wait(job, timeout, report=bar, check=False)
        session.console.print(_table([ended]))
    if ended.state != "succeeded":
        raise JobFailed(ended)


@remote
def parts(
    session: Session,
    job: JobId,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
) -> None:
    """Show the parts of a job that several workers share, and who has which."""
    shown = list(session.client.parts(job, state=state))
    heads = ("round", "part", "kind", "state", "attempt", "worker", "took", "error")
    rows = [
        (
            part.round,
            part.number,
            part.kind,
            part.state,
            part.attempt,
            part.worker,
            None if part.seconds is None else f"{part.seconds:.1f} s",
            None if part.error is None else part.error.detail,
        )
        for part in shown
    ]
    session.show(shown, lambda: table(heads, rows))
    if not shown:
        session.note("one worker does all of this job, or it has not planned its parts yet")


@remote
def cancel(
    session: Session, ids: Annotated[list[str], typer.Argument(metavar="job", help="Ids of jobs or of batches.")]
) -> None:
    """Ask jobs, or all jobs of a batch, to end."""
    batch, one_job = session.client.cancel_batch, session.client.cancel
    resources: list[Any] = [(batch if name.startswith("bat_") else one_job)(name) for name in ids]
    session.show(resources, lambda: table(("id",), [(resource.id,) for resource in resources]))


@remote
def retry(session: Session, job: JobId) -> None:
    """Run a failed or cancelled job again, from its checkpoint if it has one."""
    queued = session.client.retry(job)
    session.show(queued, lambda: _table([queued]))


def _table(jobs: list[Job]) -> Any:
    rows = [
        (
            job.id,
            job.kind,
            job.state,
            f"{100 * job.progress.fraction:.0f} %",
            job.request.get("model") or job.model,
            job.error.detail if job.error is not None else "",
        )
        for job in jobs
    ]
    return table(("id", "kind", "state", "done", "model", "error"), rows)

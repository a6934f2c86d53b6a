"""Commands on results of jobs: the trials of a search, the report of a network."""

from typing import Any

from rich.console import Group
from rich.text import Text

from service.client.flows import Kind, kind_name
from service.commands.jobs import JobId
from service.commands.session import Session, remote, table
from service.errors import WrongSetting
from worker.contracts.events import TrialData
from worker.contracts.requests import NetworkRequest, TuneRequest
from worker.contracts.resources import Job
from worker.contracts.results import NetworkReport, Trials, TuneResult
from worker.contracts.validation import OPTIMISTIC

STATES = ("complete", "pruned", "failed")


@remote
def trials(session: Session, job: JobId) -> None:
    """Show the trials of a search, the best first. While it runs they are those that have ended."""
    search = _checked(session, job, TuneRequest, "trials are of")
    ended = search.state == "succeeded"
    result: TuneResult | Trials = session.client.tune_result(job) if ended else session.client.trials(job)
    session.show(result, lambda: _trials_table(result))
    if not ended:
        requested = search.request["search"]["trials"]
        session.note(f"the search is {search.state}: {len(result.trials)} of {requested} trials have ended")
    if result.trials and result.validation_chose:
        session.note(f"validation rows also chose {', '.join(result.validation_chose)}, {OPTIMISTIC}")


@remote
def report(session: Session, job: JobId) -> None:
    """Show how the theorem holds for the layers of a network that was trained."""
    _checked(session, job, NetworkRequest, "a report is of")
    result = session.client.network_report(job)
    session.show(result, lambda: report_table(result))


def report_table(report: NetworkReport) -> Any:
    """Return the last step of a report for the terminal: a summary line and a table of layers."""
    last = report.steps[-1]
    metrics = "".join(f", {name.replace('_', ' ')} {value:.4g}" for name, value in last.metrics.items())
    layers = [
        (
            layer.layer,
            f"{layer.inputs} → {layer.outputs}",
            *(
                "–" if value is None else f"{value:.3f}"
                for value in (layer.fact, layer.bfact, layer.agop, layer.agop_root, layer.enfa, layer.enfa_root)
            ),
            layer.residual_gradient,
        )
        for layer in last.layers
    ]
    heads = ("layer", "width", "FACT", "bFACT", "AGOP", "AGOP^½", "eNFA", "eNFA^½", "gradient left")
    return Group(
        Text(f"step {last.step} of {last.steps}, {report.task}, {report.rows} rows: loss {last.loss:.4g}{metrics}"),
        "Correlation with WᵀW, of bFACT with WWᵀ:",
        table(heads, layers),
    )


def _checked(session: Session, job_id: str, kind: Kind, what: str) -> Job:
    job = session.client.job(job_id)
    if job.kind != kind_name(kind):
        raise WrongSetting(f"{job_id} is a job of kind {job.kind!r}; {what} a job of kind {kind_name(kind)!r}")
    return job


def _trials_table(result: TuneResult | Trials) -> Any:
    rows = [
        (
            trial.trial,
            trial.state,
            trial.metrics.get(result.metric),
            trial.iteration,
            f"{trial.seconds:.1f} s",
            ", ".join(f"{name}={_plain(value)}" for name, value in trial.params.items()),
            trial.reason,
        )
        for trial in sorted(result.trials, key=_order)
    ]
    heads = ("trial", "state", result.metric.replace("_", " "), "iteration", "took", "options", "reason")
    return table(heads, rows)


def _order(trial: TrialData) -> Any:
    """Sort complete trials by their least loss; pruned and failed ones come after them."""
    return STATES.index(trial.state), min(trial.losses, default=(float("inf"),)), trial.trial


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

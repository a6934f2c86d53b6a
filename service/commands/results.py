"""What jobs that make no model alone have found: the trials of a search, the report of a network."""

from typing import Any

from rich.console import Group
from rich.text import Text

from service.commands.jobs import JobId
from service.commands.session import Session, remote, table
from service.errors import WrongSetting
from worker.contracts.events import TrialData
from worker.contracts.resources import Job
from worker.contracts.results import NetworkReport, Trials, TuneResult
from worker.contracts.validation import OPTIMISTIC

STATES = ("complete", "pruned", "failed")


@remote
def trials(session: Session, job: JobId) -> None:
    """Show the trials of a search, the best first. While it runs they are those that have ended."""
    search = _checked(session, job, "tune", "trials are of")
    ended = search.state == "succeeded"
    found: TuneResult | Trials = session.client.tune_result(job) if ended else session.client.trials(job)
    session.show(found, lambda: _trials_table(found))
    if not ended:
        asked = search.request["search"]["trials"]
        session.note(f"the search is {search.state}: {len(found.trials)} of {asked} trials have ended")
    if found.trials and found.validation_chose:
        session.note(f"validation rows also chose {', '.join(found.validation_chose)}, {OPTIMISTIC}")


@remote
def report(session: Session, job: JobId) -> None:
    """Show how the theorem holds for the layers of a network that was trained."""
    _checked(session, job, "network", "a report is of")
    found = session.client.network_report(job)
    session.show(found, lambda: report_table(found))


def report_table(found: NetworkReport) -> Any:
    """Return the last step of a report for the terminal: a line about the network, then its layers."""
    last = found.steps[-1]
    metrics = "".join(f", {name.replace('_', ' ')} {value:.4g}" for name, value in last.metrics.items())
    layers = [
        (
            one.layer,
            f"{one.inputs} → {one.outputs}",
            *(
                "–" if value is None else f"{value:.3f}"
                for value in (one.fact, one.bfact, one.agop, one.agop_root, one.enfa, one.enfa_root)
            ),
            one.residual_gradient,
        )
        for one in last.layers
    ]
    heads = ("layer", "width", "FACT", "bFACT", "AGOP", "AGOP^½", "eNFA", "eNFA^½", "gradient left")
    return Group(
        Text(f"step {last.step} of {last.steps}, {found.task}, {found.rows} rows: loss {last.loss:.4g}{metrics}"),
        "Correlation with WᵀW, of bFACT with WWᵀ:",
        table(heads, layers),
    )


def _checked(session: Session, job: str, kind: str, what: str) -> Job:
    found = session.client.job(job)
    if found.kind != kind:
        raise WrongSetting(f"{job} is a job of kind {found.kind!r}; {what} a job of kind {kind!r}")
    return found


def _trials_table(found: TuneResult | Trials) -> Any:
    rows = [
        (
            one.trial,
            one.state,
            one.metrics.get(found.metric),
            one.iteration,
            f"{one.seconds:.1f} s",
            ", ".join(f"{name}={_plain(value)}" for name, value in one.params.items()),
            one.reason,
        )
        for one in sorted(found.trials, key=_order)
    ]
    heads = ("trial", "state", found.metric.replace("_", " "), "iteration", "took", "options", "reason")
    return table(heads, rows)


def _order(trial: TrialData) -> Any:
    """Complete trials by what chose between them; the others, which ran for less, after them."""
    return STATES.index(trial.state), min(trial.losses, default=(float("inf"),)), trial.trial


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

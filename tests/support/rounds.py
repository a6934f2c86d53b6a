"""A search's order carried out with the trials that it plans, one after another, as workers do it together."""

from collections.abc import Callable

from worker.contracts.messages import AnyOrder, AnyReport, PartDone, RoundPlanned, TrialOrder, TuneOrder
from worker.contracts.parts import PartOutcome, TrialWork


def through_rounds(run: Callable[[AnyOrder], AnyReport], order: AnyOrder) -> AnyReport:
    """Return what an order ends with, after the parts of all rounds that it plans."""
    last = run(order)
    while isinstance(last, RoundPlanned):
        assert isinstance(order, TuneOrder)
        outcomes = []
        for number, work in enumerate(last.parts):
            assert isinstance(work, TrialWork)
            done = run(_part(order, work))
            if not isinstance(done, PartDone):
                return done
            outcomes.append(PartOutcome(number=number, result=done.result))
        changes = {"round": last.round, "outcomes": outcomes, "checkpoint": last.checkpoint}
        order = order.model_copy(update=changes)
        last = run(order)
    return last


def _part(order: TuneOrder, work: TrialWork) -> TrialOrder:
    shared = ("job", "attempt", "origin", "prefix", "task", "table", "validation", "request")
    return TrialOrder(**{name: getattr(order, name) for name in shared}, work=work)

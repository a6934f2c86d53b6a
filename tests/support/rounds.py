"""An order carried out with the parts that it plans, one after another, as workers do it together."""

from collections.abc import Callable
from typing import Any

from worker.contracts.messages import (
    AnyOrder,
    AnyReport,
    CandidateOrder,
    FitOrder,
    FoldOrder,
    PartDone,
    PredictOrder,
    RoundPlanned,
    RowsOrder,
    TrialOrder,
    TuneOrder,
)
from worker.contracts.parts import PartOutcome, PartWork

PARTS = {"candidate": CandidateOrder, "trial": TrialOrder, "fold": FoldOrder, "rows": RowsOrder}


def through_rounds(run: Callable[[AnyOrder], AnyReport], order: AnyOrder) -> AnyReport:
    """Return what an order ends with, after the parts of all rounds that it plans."""
    last = run(order)
    while isinstance(last, RoundPlanned):
        assert isinstance(order, TuneOrder | FitOrder | PredictOrder)
        outcomes = []
        for number, work in enumerate(last.parts):
            done = run(_part(order, work))
            if not isinstance(done, PartDone):
                return done
            outcomes.append(PartOutcome(number=number, result=done.result))
        changes: dict[str, Any] = {"round": last.round, "outcomes": outcomes}
        if not isinstance(order, PredictOrder):
            changes["checkpoint"] = last.checkpoint
        order = order.model_copy(update=changes)
        last = run(order)
    return last


def _part(order: TuneOrder | FitOrder | PredictOrder, work: PartWork) -> AnyOrder:
    kind = PARTS[work.kind]
    shared = kind.model_fields.keys() & type(order).model_fields.keys() - {"kind"}
    return kind(**{name: getattr(order, name) for name in shared}, work=work)

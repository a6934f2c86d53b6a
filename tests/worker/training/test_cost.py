import pytest

from worker.contracts.requests import FitRequest
from worker.training import cost
from worker.training.resolve import by_blocks

GIB = 2**30
DATASET = "ds_01jd0000000000000000000000"


def _request(**spec):
    request = FitRequest.model_validate({"kind": "fit", "dataset": DATASET, "target": "y", "spec": spec})
    return request.model_copy(update={"spec": request.spec.resolved()})


@pytest.mark.parametrize("rows", [100_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("columns", [10, 50, 300])
def test_a_worker_of_a_fit_by_blocks_needs_less_than_four_gib_however_many_rows_there_are(rows, columns):
    estimate = cost.training(_request(solver="blocks"), int(0.8 * rows), columns, 1, int(0.2 * rows))
    assert estimate.bytes < 4 * GIB


def test_work_grows_with_the_rows_and_memory_does_not():
    few, many = (cost.training(_request(solver="blocks"), rows, 50, 1, 0) for rows in (10**6, 10**7))
    assert 4 < many.flops / few.flops < 16
    assert many.bytes < 2 * few.bytes


def test_rows_held_out_make_the_leaves_larger_where_they_join_them():
    sizes = {"rows": 1000, "leaf": 8000}
    costs = [
        cost.training(_request(solver="blocks", refit=refit, blocks=sizes), 100_000, 50, 1, 50_000).bytes
        for refit in (True, False)
    ]
    assert costs[0] > costs[1]


def test_a_fit_of_many_rows_that_leaves_the_solver_open_is_by_blocks():
    auto = _request()
    assert by_blocks(auto, 50_000, 50_000) is auto
    taken = by_blocks(auto, 50_001, 50_000)
    assert taken.spec.solver == "blocks"
    assert taken.spec.blocks is not None
    for kept in (_request(solver="cg", ridge=0.1), _request(solver="cholesky"), _request(encoding="statistics")):
        assert by_blocks(kept, 10**6, 50_000) is kept
    folds = auto.model_copy(update={"validation": type(auto.validation)(folds=3)})
    assert by_blocks(folds, 10**6, 50_000) is folds
    assert by_blocks(_request(blocks={"rows": 500}), 10**6, 50_000).spec.blocks.rows == 500

"""A batch costs the API what its jobs cost and what its dataset costs, and not the one times the other."""

import time

import pytest
from sqlalchemy import event

from service.jobs.lookups import LookupCache
from service.jobs.planning import plan
from service.jobs.submission import REQUEST

JOBS, COLUMNS = 200, 19_000
FEW = {"kind": "fit", "features": ["x1", "x2"]}
KINDS = {
    "fit": FEW,
    "network": {**FEW, "kind": "network"},
    "another dataset to validate": {**FEW, "validation": {"dataset": "wide"}},
    "all but most columns": {"kind": "fit", "exclude": [f"x{number}" for number in range(2, COLUMNS)]},
    "predict": {"kind": "predict", "model": "prices"},
}


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"max_json_bytes": 2**24, "max_body_bytes": 2**24})


@pytest.fixture
def wide(client):
    names = [*(f"x{number}" for number in range(COLUMNS)), "size", "city", "y"]
    rows = [[row + place % 7 for place in range(COLUMNS)] + [row, "Bern", row * 1.5] for row in range(5)]
    answer = client.post("/v1/datasets", json={"columns": names, "rows": rows})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def _body(kind, wide):
    body = {"dataset": wide, **KINDS[kind]}
    if kind != "predict":
        body["target"] = "y"
    return {**body, "validation": {"dataset": wide}} if "validation" in body else body


@pytest.mark.parametrize("kind", KINDS)
def test_a_further_job_on_a_wide_table_does_not_cost_what_the_table_costs(client, context, wide, model, kind):
    request = REQUEST.validate_python(_body(kind, wide))
    lookups = LookupCache(context)
    began = time.process_time()
    first = plan(context, request, lookups)
    alone = time.process_time() - began
    began = time.process_time()
    for _ in range(JOBS):
        assert plan(context, request, lookups) == first
    further = (time.process_time() - began) / JOBS
    assert further < alone / 8, (further, alone)


def test_a_batch_reads_its_dataset_once(client, context, wide):
    statements = []
    listened = context.database.engine

    def heard(connection, cursor, statement, *rest):
        statements.append(statement)

    event.listen(listened, "before_cursor_execute", heard)
    grid = {"base": _body("fit", wide), "grid": {"spec.seed": list(range(50))}}
    answer = client.post("/v1/batches", json=grid)
    event.remove(listened, "before_cursor_execute", heard)
    assert answer.status_code == 202, answer.text
    assert sum("FROM datasets" in one for one in statements) == 1


def test_columns_that_are_left_out_cost_what_they_are_many(client, context, wide):
    def cost(left_out):
        body = {**_body("fit", wide), "features": None, "exclude": [f"x{number}" for number in range(2, left_out)]}
        request, lookups = REQUEST.validate_python(body), LookupCache(context)
        table = lookups.table(wide, "/dataset")
        began = time.process_time()
        lookups.selection(request, table)
        return time.process_time() - began

    assert cost(COLUMNS) < 0.5


def test_the_values_of_a_grid_count_as_often_as_they_are_combined(client, dataset):
    base = {"kind": "fit", "dataset": dataset, "target": "price"}
    grid = {"exclude": [["a" * 1000] * 900], "spec.seed": list(range(1000))}
    answer = client.post("/v1/batches", json={"base": base, "grid": grid})
    assert answer.status_code == 422
    assert "combinations take more than" in answer.json()["detail"]

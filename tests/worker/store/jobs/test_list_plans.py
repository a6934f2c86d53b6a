"""A page of a list costs the same however many rows there are: an index finds it, whichever filters are given."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from sqlalchemy import event

from worker.store import datasets, jobs, models
from worker.store.database import Database
from worker.store.jobs import batches, events

JOB_FILTERS = [
    {name: value for name, value in zip(("state", "kind", "model", "batch"), values, strict=True) if value is not None}
    for values in product((None, "failed"), (None, "tune"), (None, "prices"), (None, "bat_1"))
]
LISTS: dict[str, Callable[[Database, str | None], Any]] = {
    **{
        f"jobs {', '.join(given) or 'all'}": lambda database, after, given=given: jobs.list_page(
            database, **given, after=after
        )
        for given in JOB_FILTERS
    },
    "datasets": lambda database, after: datasets.list_page(database, after=after),
    "models": lambda database, after: models.list_page(database, after=after),
    "versions of a model": lambda database, after: models.list_page(database, after=after, name="prices"),
    "batches": lambda database, after: batches.list_page(database, after=after),
    "events": lambda database, after: events.list_events(database, "job_1", 100),
}
NO_DETOURS = ("SET enable_seqscan = off", "SET enable_sort = off", "SET enable_bitmapscan = off")
"""PostgreSQL then shows whether there is a way without them: of few rows it would choose them."""


def _plans(database: Database, ask: Callable[[Database], Any]) -> list[str]:
    asked: list[tuple[str, Any]] = []

    def keep(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", keep)
    try:
        ask(database)
    finally:
        event.remove(database.engine, "before_cursor_execute", keep)
    postgresql = database.engine.dialect.name == "postgresql"
    with database.engine.connect() as connection:
        for setting in NO_DETOURS if postgresql else ():
            connection.exec_driver_sql(setting)
        plans = []
        for statement, parameters in asked:
            if statement.startswith("SELECT"):
                explain = "EXPLAIN " if postgresql else "EXPLAIN QUERY PLAN "
                found = connection.exec_driver_sql(explain + statement, parameters)
                plans.append("\n".join(str(row[-1]) for row in found))
        connection.rollback()
    return plans


@pytest.mark.parametrize("after", [None, "zzz"])
@pytest.mark.parametrize("name", LISTS)
def test_a_page_is_found_by_an_index_in_the_order_of_the_list(database: Database, name: str, after: str | None) -> None:
    plans = _plans(database.for_project("default"), lambda one: LISTS[name](one, after))
    assert plans
    for plan in plans:
        assert not any(detour in plan for detour in ("SCAN", "TEMP B-TREE", "MULTI-INDEX", "Seq Scan", "Sort")), plan
        assert "Index" in plan or "INDEX" in plan

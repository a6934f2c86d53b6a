"""The OpenAPI document is true of the running service: a short form of ``make fuzz``."""

import pytest
from support.processes import System

from benchmarks.fuzzing import things
from benchmarks.fuzzing.contract import run

SECONDS = 20


@pytest.mark.timeout(120)
def test_every_answer_is_one_that_the_document_tells(start_system, tmp_path):
    system: System = start_system(requests_per_second="100000", log_level="error")
    made = things.make(system.client)
    found = run(
        f"http://127.0.0.1:{system.port}",
        made,
        tmp_path / "contract",
        phases="examples,coverage,stateful",
        examples=3,
        seed=1,
        seconds=SECONDS,
    )
    assert found.failures == [], found.output
    assert found.operations > 25
    assert found.cases > 100

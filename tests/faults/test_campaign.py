"""The service is hurt again and again while clients work; what they were promised holds."""

from pathlib import Path

import pytest

from benchmarks.faulting.campaign import print_to_error, run


@pytest.mark.timeout(240)
def test_no_job_is_lost_or_doubled_when_workers_are_killed(tmp_path: Path) -> None:
    outcome = run(tmp_path, seed=1, faults=4, dialect="sqlite", only=["worker killed"], say=print_to_error)
    assert outcome.wrongs == []
    assert sum(outcome.faults.values()) == 4

"""A short campaign: the service is hurt again and again while clients work, and what they were promised holds.

``make faults`` runs a long one. ``README.md`` beside this file says which test proves what.
"""

from pathlib import Path

import pytest

from benchmarks.faulting.campaign import print_to_error, run_seed

FAULTS = 25


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2], ids=["sqlite", "postgresql"])
def test_nothing_accepted_is_lost_doubled_or_wrong_after_a_campaign_of_faults(tmp_path: Path, seed: int) -> None:
    outcome = run_seed(tmp_path, seed, FAULTS, pause=0.8, say=print_to_error)
    assert outcome.wrongs == []
    assert outcome.faults.total() == FAULTS
    assert outcome.findings.states["succeeded"] > 0
    assert outcome.findings.compared == outcome.findings.states["succeeded"]
    assert outcome.findings.events > 0

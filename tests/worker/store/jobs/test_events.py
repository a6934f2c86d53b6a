from typing import get_args

from worker.contracts.events import EventData
from worker.store.jobs.events import EVENTS, TYPES


def test_every_kind_of_event_is_stored_under_its_own_type():
    assert set(TYPES) == set(get_args(EventData))
    known = EVENTS.json_schema()["discriminator"]["mapping"]
    assert sorted(TYPES.values()) == sorted(known)

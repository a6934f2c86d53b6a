"""Ids sort by time, and in the order they were made within one process."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from support.clock import START
from support.stored import at_once

from worker.contracts.requests import DATASET_ID
from worker.store.ids import new_id


def test_an_id_is_its_prefix_and_26_characters() -> None:
    assert re.fullmatch(DATASET_ID, new_id("ds", START))
    assert len(new_id("ds", START)) == len("ds_") + 26


def test_ids_of_one_moment_sort_as_they_were_made() -> None:
    made = [new_id("job", START) for _ in range(5000)]
    assert made == sorted(set(made))


@given(st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1)), st.integers(1, 10**9))
def test_a_later_moment_sorts_later(moment: datetime, milliseconds: int) -> None:
    now = moment.replace(tzinfo=UTC)
    assert new_id("a", now) < new_id("a", now + timedelta(milliseconds=milliseconds + 1))


def test_ids_made_at_once_differ() -> None:
    made = at_once([lambda: [new_id("a", START) for _ in range(500)]] * 8)
    assert len({one for ids in made if isinstance(ids, list) for one in ids}) == 4000

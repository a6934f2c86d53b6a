"""The same key runs once and is answered alike; a key whose process died runs again."""

import pytest
from support.clock import Clock

from worker.contracts.errors import InvalidRequest, KeyReused, RequestInFlight
from worker.store import idempotency
from worker.store.database import Database
from worker.store.idempotency import Replay, Started


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begin(database: Database, clock: Clock, fingerprint: str = "body") -> Started:
    started = idempotency.begin(database, "key", fingerprint, clock())
    assert isinstance(started, Started)
    return started


def test_an_answer_is_given_again_byte_for_byte(database: Database, clock: Clock) -> None:
    started = begin(database, clock)
    headers = {"Location": "/v1/jobs/job_1"}
    assert idempotency.finish(database, started, 202, headers, b"\x00\xff{}", clock())
    for _ in range(2):
        replay = idempotency.begin(database, "key", "body", clock.pass_seconds(3600))
        assert replay == Replay(202, headers, b"\x00\xff{}")


def test_a_second_request_waits_for_the_first(database: Database, clock: Clock) -> None:
    begin(database, clock)
    with pytest.raises(RequestInFlight):
        idempotency.begin(database, "key", "body", clock.pass_seconds(19))


def test_another_body_with_the_same_key_is_refused_whether_answered_or_not(database: Database, clock: Clock) -> None:
    started = begin(database, clock)
    for seconds in (0, 3600):
        with pytest.raises(KeyReused):
            idempotency.begin(database, "key", "other", clock.pass_seconds(seconds))
    idempotency.finish(database, started, 200, {}, b"", clock())
    with pytest.raises(KeyReused):
        idempotency.begin(database, "key", "other", clock())


def test_the_key_of_a_dead_request_is_taken_over_and_its_late_answer_dropped(database: Database, clock: Clock) -> None:
    dead = begin(database, clock)
    clock.pass_seconds(60)
    alive = begin(database, clock)
    assert not idempotency.finish(database, dead, 500, {}, b"late", clock())
    assert not idempotency.keep(database, dead, clock())
    idempotency.abandon(database, dead)
    assert idempotency.finish(database, alive, 200, {}, b"mine", clock())
    assert idempotency.begin(database, "key", "body", clock()) == Replay(200, {}, b"mine")


def test_a_long_request_that_says_so_is_not_taken_for_dead(database: Database, clock: Clock) -> None:
    started = begin(database, clock)
    for _ in range(5):
        assert idempotency.keep(database, started, clock.pass_seconds(19))
        with pytest.raises(RequestInFlight):
            idempotency.begin(database, "key", "body", clock())


def test_an_abandoned_key_runs_again_even_with_another_body(database: Database, clock: Clock) -> None:
    idempotency.abandon(database, begin(database, clock))
    begin(database, clock, "other")


def test_an_answer_cannot_be_abandoned(database: Database, clock: Clock) -> None:
    started = begin(database, clock)
    idempotency.finish(database, started, 200, {}, b"", clock())
    idempotency.abandon(database, started)
    assert idempotency.begin(database, "key", "body", clock()) == Replay(200, {}, b"")


def test_an_answer_and_what_it_answers_are_stored_together_or_not_at_all(database: Database, clock: Clock) -> None:
    started = begin(database, clock)

    def answer_and_fail() -> None:
        with database.transaction() as session:
            assert idempotency.finish_in(session, started, 200, {}, b"", clock())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        answer_and_fail()
    with pytest.raises(RequestInFlight):
        idempotency.begin(database, "key", "body", clock())


def test_answers_are_kept_for_a_day(database: Database, clock: Clock) -> None:
    started = begin(database, clock)
    idempotency.finish(database, started, 200, {}, b"", clock())
    assert idempotency.purge(database, clock.pass_seconds(24 * 3600 - 1)) == 0
    assert isinstance(idempotency.begin(database, "key", "body", clock()), Replay)
    clock.pass_seconds(1)
    begin(database, clock, "other")
    assert idempotency.purge(database, clock.pass_seconds(24 * 3600)) == 1


@pytest.mark.parametrize("key", ["a\x00", "a" * 256])
def test_a_key_that_cannot_be_kept_is_refused(database: Database, clock: Clock, key: str) -> None:
    with pytest.raises(InvalidRequest, match=r"key|NUL"):
        idempotency.begin(database, key, "body", clock())


def test_the_longest_key_is_kept_whatever_its_characters(database: Database, clock: Clock) -> None:
    for _ in range(2):
        started = idempotency.begin(database, "🎉" * 255, "body", clock())
        assert isinstance(started, Started)
        idempotency.abandon(database, started)

"""Rows of uploads in parts: what was acknowledged stays, and what has expired goes, on both databases."""

from datetime import timedelta

import pytest
from support.clock import Clock
from support.stored import at_once, store_upload

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import Conflict, NotFound, RequestInFlight, TooManyUploads
from worker.store import locks, uploads
from worker.store.database import Database
from worker.store.files.artifacts import Artifacts
from worker.store.files.orphans import Sweeper
from worker.store.schema import migrate

TTL_S = 100.0
PARTS = 3
MAX_OPEN = 4


def begin(database: Database, clock: Clock) -> str:
    upload_id = store_upload(database, clock(), MAX_OPEN, timedelta(seconds=TTL_S))
    assert uploads.get(database, upload_id, clock()).resource.missing == ["-"]
    return upload_id


def file_of(upload_id: str, number: int, sha256: str = "a" * 64) -> ArtifactRef:
    return ArtifactRef(key=f"uploads/{upload_id}/{number}-{sha256}", sha256=sha256, bytes=10)


def add(database: Database, upload_id: str, number: int, clock: Clock, sha256: str = "a" * 64) -> None:
    uploads.add_part(database, upload_id, number, file_of(upload_id, number, sha256), clock(), TTL_S)


def test_the_same_part_at_once_is_one_and_other_bytes_are_refused(database: Database) -> None:
    clock = Clock()
    upload_id = begin(database, clock)
    outcomes = at_once([lambda: add(database, upload_id, 1, clock)] * 6)
    assert outcomes == [None] * 6
    mixed = at_once([lambda sha=sha: add(database, upload_id, 2, clock, sha * 64) for sha in "abcd"])
    assert sum(outcome is None for outcome in mixed) == 1
    assert {type(outcome) for outcome in mixed if outcome is not None} == {Conflict}
    assert uploads.get(database, upload_id, clock()).resource.missing_parts == [3]


def test_uploads_that_begin_at_once_are_not_more_than_a_project_may_have(database: Database) -> None:
    clock = Clock()
    outcomes = at_once([lambda: begin(database, clock)] * (2 * MAX_OPEN))
    assert sum(isinstance(outcome, str) for outcome in outcomes) == MAX_OPEN
    assert {type(outcome) for outcome in outcomes if not isinstance(outcome, str)} == {TooManyUploads}
    begin(database.for_project("another"), clock)
    clock.pass_seconds(TTL_S)
    begin(database, clock)


def test_an_upload_expires_after_its_last_part(database: Database) -> None:
    clock = Clock()
    kept, left = begin(database, clock), begin(database, clock)
    clock.pass_seconds(TTL_S - 1)
    add(database, kept, 1, clock)
    clock.pass_seconds(1)
    assert uploads.purge(database, clock()) == [left]
    assert uploads.purge(database, clock()) == []
    clock.pass_seconds(TTL_S)
    for call in (
        lambda: uploads.get(database, kept, clock()),
        lambda: add(database, kept, 2, clock),
        lambda: uploads.delete(database, kept, clock()),
    ):
        with pytest.raises(NotFound):
            call()
    assert uploads.list_page(database, clock()).items == []
    assert uploads.purge(database, clock()) == [kept]


def test_an_upload_that_is_being_completed_does_not_go(database: Database) -> None:
    clock = Clock()
    upload_id = begin(database, clock)
    locks.try_lock(database, uploads.lock_name(upload_id), "a process", 2 * TTL_S, clock())
    assert uploads.get(database, upload_id, clock()).resource.state == "completing"
    with pytest.raises(RequestInFlight):
        uploads.delete(database, upload_id, clock())
    clock.pass_seconds(TTL_S)
    assert uploads.purge(database, clock()) == []
    clock.pass_seconds(TTL_S)
    assert uploads.purge(database, clock()) == [upload_id]
    assert not locks.is_held(database, uploads.lock_name(upload_id), clock() - timedelta(seconds=10))


def test_a_complete_upload_names_its_dataset_and_takes_no_part(database: Database) -> None:
    clock = Clock()
    upload_id = begin(database, clock)
    add(database, upload_id, 1, clock)
    for _ in range(2):
        uploads.finish(database, upload_id, "ds_made", clock(), TTL_S)
    shown = uploads.get(database, upload_id, clock()).resource
    assert (shown.state, shown.dataset, shown.parts) == ("complete", "ds_made", [])
    with pytest.raises(Conflict):
        add(database, upload_id, 1, clock)


def test_another_project_sees_no_upload(database: Database) -> None:
    clock = Clock()
    upload_id, other = begin(database, clock), database.for_project("another")
    assert uploads.list_page(other, clock()).items == []
    with pytest.raises(NotFound):
        uploads.get(other, upload_id, clock())
    with pytest.raises(NotFound):
        uploads.add_part(other, upload_id, 1, file_of(upload_id, 1), clock(), TTL_S)
    with pytest.raises(NotFound):
        uploads.delete(other, upload_id, clock())
    assert uploads.get(database, upload_id, clock()).resource.parts == []


def test_pages_show_every_upload_once_and_newest_first(database: Database) -> None:
    clock = Clock()
    made = [begin(database, clock) for _ in range(MAX_OPEN)]
    first = uploads.list_page(database, clock(), limit=3)
    second = uploads.list_page(database, clock(), limit=3, after=first.next)
    assert [one.id for one in (*first.items, *second.items)] == made[::-1]
    assert second.next is None


def test_files_of_parts_stay_and_those_without_a_row_go(database: Database, artifacts: Artifacts) -> None:
    clock, now = Clock(), [0.0]
    upload_id = begin(database, clock)
    sweeper = Sweeper(database, artifacts, 60, lambda: now[0])
    kept, stray = file_of(upload_id, 1).key, file_of(upload_id, 2).key
    for key in (kept, stray, "uploads/upl_gone/1-b"):
        artifacts.put_bytes(key, b"something")
    add(database, upload_id, 1, clock)
    deleted: list[str] = []
    for _ in range(4):
        deleted += sweeper.look()
        now[0] += 60
    assert sorted(path for path in deleted if not path.endswith("/")) == sorted([stray, "uploads/upl_gone/1-b"])
    assert artifacts.list_strays(f"uploads/{upload_id}") == [kept]


def test_a_step_down_forgets_uploads_and_a_step_up_takes_new_ones(database: Database) -> None:
    clock = Clock()
    add(database, begin(database, clock), 1, clock)
    engine = database.engine.execution_options(writes=True)
    migrate.downgrade(engine, "0006")
    migrate.upgrade(engine)
    assert uploads.list_page(database, clock()).items == []
    add(database, begin(database, clock), 1, clock)


@pytest.fixture
def artifacts(tmp_path) -> Artifacts:
    return Artifacts(str(tmp_path / "artifacts"))

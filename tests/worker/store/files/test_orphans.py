"""What no row names is deleted after a while; what a row names, or may be about to name, never."""

import uuid
from pathlib import Path

import pytest
from support.clock import Clock
from support.stored import fit_done, make_checkpoint, predict_done, queue_fit, ref, store_dataset

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.messages import PartDone, RoundPlanned
from worker.contracts.parts import RowsDone, RowsWork
from worker.contracts.resources import Progress
from worker.store import datasets, jobs
from worker.store.database import Database
from worker.store.files import orphans
from worker.store.files.artifacts import Artifacts
from worker.store.files.orphans import Sweeper
from worker.store.jobs import parts

PATIENCE = 60.0


class Seconds:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["folder", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path / "a") if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def sweeper(database: Database, artifacts: Artifacts, seconds: Seconds) -> Sweeper:
    return Sweeper(database, artifacts, PATIENCE, seconds)


def passes(sweeper: Sweeper, seconds: Seconds, times: int = 4) -> list[str]:
    """Look for as long as it takes to delete everything that may go. Returns what was deleted."""
    deleted: list[str] = []
    for _ in range(times):
        deleted += [path for path in sweeper.look() if not path.endswith("/")]
        seconds.now += PATIENCE
    return deleted


def put(artifacts: Artifacts, *refs: ArtifactRef | str) -> None:
    for one in refs:
        artifacts.put_bytes(one if isinstance(one, str) else one.key, b"something")


def test_what_nobody_names_goes_after_two_looks_and_not_before(
    sweeper: Sweeper, artifacts: Artifacts, seconds: Seconds
) -> None:
    strays = ["checks/probe", "datasets/ds_gone/content", "jobs/job_gone/t/state", "models/job_gone/t/model"]
    put(artifacts, *strays)
    assert sweeper.look() == []
    seconds.now += PATIENCE - 1
    assert sweeper.look() == []
    seconds.now += 1
    assert sorted(sweeper.look()) == strays


def test_what_rows_name_stays(database: Database, sweeper: Sweeper, artifacts: Artifacts, seconds: Seconds) -> None:
    clock = Clock()
    fitted = queue_fit(database, clock())
    done = fit_done(f"models/{fitted}/t/model")
    claim = jobs.claim(database, fitted, "worker", 30, clock())
    assert claim is not None
    jobs.succeed_fit(database, fitted, claim.token, done, clock())
    dataset = datasets.get_record(database, store_dataset(database, clock()))
    job = queue_fit(database, clock())
    claim = jobs.claim(database, job, "worker", 30, clock())
    assert claim is not None
    checkpoint = make_checkpoint(3).model_copy(
        update={"newest": ref(f"jobs/{job}/old/newest"), "best": ref(f"jobs/{job}/old/best"), "matrices": []}
    )
    jobs.record(database, job, claim.token, clock(), checkpoint=checkpoint)
    jobs.lose(database, job, claim.token, clock(), "gone")
    put(artifacts, done.model, done.matrices, dataset.content, dataset.table, checkpoint.newest, checkpoint.best)
    put(artifacts, f"jobs/{job}/{claim.token}/after-the-checkpoint")
    assert passes(sweeper, seconds) == [f"jobs/{job}/{claim.token}/after-the-checkpoint"]


def test_the_attempt_under_way_keeps_its_files_and_the_one_before_loses_them(
    database: Database, sweeper: Sweeper, artifacts: Artifacts, seconds: Seconds
) -> None:
    clock = Clock()
    job = queue_fit(database, clock())
    first = jobs.claim(database, job, "worker", 30, clock())
    assert first is not None
    jobs.lose(database, job, first.token, clock(), "gone")
    second = jobs.claim(database, job, "worker", 30, clock())
    assert second is not None
    of_first = [f"{prefix}/{job}/{first.token}/file" for prefix in ("jobs", "models", "results")]
    of_second = [f"{prefix}/{job}/{second.token}/file" for prefix in ("jobs", "models", "results")]
    put(artifacts, *of_first, *of_second)
    assert sorted(passes(sweeper, seconds)) == of_first
    assert jobs.succeed_fit(database, job, second.token, fit_done(of_second[1]), clock())
    assert sorted(passes(sweeper, seconds)) == [of_second[0], of_second[2]]


def test_a_job_that_succeeded_keeps_its_result_and_not_its_checkpoint(
    database: Database, sweeper: Sweeper, artifacts: Artifacts, seconds: Seconds
) -> None:
    clock = Clock()
    job = queue_fit(database, clock())
    claim = jobs.claim(database, job, "worker", 30, clock())
    assert claim is not None
    checkpoint = make_checkpoint(1).model_copy(
        update={"newest": ref(f"jobs/{job}/t/state"), "best": ref(f"jobs/{job}/t/state"), "matrices": []}
    )
    jobs.record(database, job, claim.token, clock(), checkpoint=checkpoint)
    result = predict_done().file.model_copy(update={"result": ref(f"jobs/{job}/t/result.csv")})
    assert jobs.succeed_with_file(database, job, claim.token, result, clock())
    put(artifacts, checkpoint.newest, result.result)
    assert passes(sweeper, seconds) == [checkpoint.newest.key]


def test_what_parts_made_stays_until_their_job_has_succeeded(
    database: Database, sweeper: Sweeper, artifacts: Artifacts, seconds: Seconds
) -> None:
    clock = Clock()
    job = queue_fit(database, clock())
    claim = jobs.claim(database, job, "worker", 30, clock())
    assert claim is not None
    works = [RowsWork(first=0, rows=5), RowsWork(first=5, rows=5)]
    planned = RoundPlanned(round=1, parts=works, progress=Progress(), checkpoint=None)
    files = [ref(f"jobs/{job}/{number}/rows.arrow") for number in range(2)]
    put(artifacts, *files)
    for row_id, file in zip(parts.plan_round(database, job, claim.token, planned, clock()), files, strict=True):
        part = jobs.claim(database, row_id, "worker", 30, clock())
        assert part is not None
        done = PartDone(result=RowsDone(first=0, rows=5, file=file, unknown={}))
        parts.succeed_part(database, row_id, part.token, done, clock())
    assert passes(sweeper, seconds) == []
    claim = jobs.claim(database, job, "worker", 30, clock())
    assert claim is not None
    result = predict_done().file.model_copy(update={"result": ref(f"results/{job}/t/result.csv")})
    put(artifacts, result.result)
    assert jobs.succeed_with_file(database, job, claim.token, result, clock())
    assert sorted(passes(sweeper, seconds)) == [file.key for file in files]


def test_a_deleted_job_leaves_nothing(
    database: Database, sweeper: Sweeper, artifacts: Artifacts, seconds: Seconds
) -> None:
    clock = Clock()
    job = queue_fit(database, clock())
    jobs.request_cancel(database, job, clock())
    jobs.delete(database, job)
    put(artifacts, f"jobs/{job}/t/state")
    assert passes(sweeper, seconds) == [f"jobs/{job}/t/state"]


def test_a_file_that_gets_its_row_between_two_looks_stays(
    database: Database, sweeper: Sweeper, artifacts: Artifacts, seconds: Seconds
) -> None:
    put(artifacts, "datasets/ds_new/content")
    assert sweeper.look() == []
    seconds.now += PATIENCE
    clock = Clock()
    made = datasets.get_record(database, store_dataset(database, clock())).resource
    datasets.insert(
        database,
        made.model_copy(update={"id": "ds_new", "sha256": "b" * 64}),
        ref("datasets/ds_new/content"),
        ref("datasets/ds_new/table"),
    )
    assert passes(sweeper, seconds) == []
    assert artifacts.list_strays("datasets/ds_new") == ["datasets/ds_new/content"]


def test_a_look_takes_in_a_bounded_number_of_folders(
    sweeper: Sweeper, artifacts: Artifacts, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "FOLDERS_AT_ONCE", 3)
    put(artifacts, *(f"jobs/job_{number}/t/state" for number in range(10)))
    listed: list[str] = []
    list_strays = artifacts.list_strays
    monkeypatch.setattr(artifacts, "list_strays", lambda folder: listed.append(folder) or list_strays(folder))
    sweeper.look()
    assert listed == ["jobs/job_0", "jobs/job_1", "jobs/job_2"]
    deleted = passes(sweeper, seconds, times=20)
    assert sorted(deleted) == sorted(f"jobs/job_{number}/t/state" for number in range(10))


def test_half_written_files_and_empty_folders_go_too(database: Database, tmp_path: Path, seconds: Seconds) -> None:
    root = tmp_path / "b"
    (root / "models/job_gone/t").mkdir(parents=True)
    (root / "models/job_gone/t/.0123.tmp").write_bytes(b"half")
    sweeper = Sweeper(database, Artifacts(str(root)), PATIENCE, seconds)
    (root / "jobs/job_gone/t").mkdir(parents=True)
    passes(sweeper, seconds)
    assert [*(root / "models").iterdir(), *(root / "jobs").iterdir()] == []

"""Rows to begin with: small datasets, requests and results for tests of what is stored."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from worker.contracts.artifacts import ArtifactRef, Checkpoint, ResultFile
from worker.contracts.messages import FitDone, PredictDone
from worker.contracts.requests import FitRequest, PredictRequest
from worker.contracts.resources import Column, Dataset, ModelColumn, Upload
from worker.contracts.resources.fitted import FittedModelSummary
from worker.store import datasets, jobs, uploads
from worker.store.database import Database
from worker.store.ids import new_id

T = TypeVar("T")


def ref(key: str) -> ArtifactRef:
    return ArtifactRef(key=key, sha256="0" * 64, bytes=10)


def make_dataset(
    now: datetime, *, sha256: str = "a" * 64, media_type: str = "text/csv", name: str = "houses"
) -> Dataset:
    columns = [
        Column(name="area", type="numeric", missing=0, distinct=9, min=1.0, mean=2.0, std=0.1, max=3.0),
        Column(name="price", type="numeric", missing=0, distinct=9),
    ]
    return Dataset(
        id=new_id("ds", now),
        name=name,
        sha256=sha256,
        bytes=2**40,
        media_type=media_type,
        rows=9,
        columns=columns,
        created_at=now,
    )


def store_dataset(database: Database, now: datetime, sha256: str = "a" * 64) -> str:
    """Store a dataset, or find it. Returns its id."""
    dataset = make_dataset(now, sha256=sha256)
    return datasets.insert(database, dataset, ref(f"datasets/{dataset.id}/content"), ref(f"datasets/{dataset.id}/t")).id


def queue_fit(
    database: Database, now: datetime, *, model: str = "prices", sha256: str = "a" * 64, batch_id: str | None = None
) -> str:
    """Queue a fit. Returns the job's id."""
    dataset_id = store_dataset(database, now, sha256)
    job_id = new_id("job", now)
    request = FitRequest(dataset=dataset_id, target="price", task="regression", model=model)
    with database.transaction() as session:
        jobs.insert_job(session, job_id=job_id, request=request, dataset_ids=[dataset_id], batch_id=batch_id, now=now)
    return job_id


def queue_predict(database: Database, now: datetime, model_id: str) -> str:
    """Queue a batch prediction. Returns the job's id."""
    dataset_id = store_dataset(database, now)
    job_id = new_id("job", now)
    request = PredictRequest(model=model_id, dataset=dataset_id)
    with database.transaction() as session:
        jobs.insert_job(session, job_id=job_id, request=request, dataset_ids=[dataset_id], model_id=model_id, now=now)
    return job_id


def fit_done(key: str = "models/m") -> FitDone:
    summary = FittedModelSummary(
        task="regression",
        features=[ModelColumn(name="area", type="numeric")],
        targets=[ModelColumn(name="price", type="numeric")],
        encoded_names=["area"],
        encoded_sources=["area"],
        spec={"ridge": 0.1},
        metrics={"validation_rmse": 0.5},
        iteration=2,
        iterations=5,
        ridge=0.1,
        precision="float32",
        training_rows=7,
        history=[],
    )
    return FitDone(model=ref(key), matrices=ref(f"{key}-matrices"), summary=summary)


def predict_done() -> PredictDone:
    return PredictDone(file=ResultFile(result=ref("results/r"), media_type="text/csv"), rows=9)


def make_checkpoint(iteration: int) -> Checkpoint:
    return Checkpoint(iteration=iteration, newest=ref(f"c/{iteration}"), best=ref("c/0"), matrices=[ref("c/m")])


def train_model(database: Database, now: datetime, name: str = "prices") -> str:
    """Run a fit to its end. Returns the model's id."""
    claim = jobs.claim(database, queue_fit(database, now, model=name), "worker", 30, now)
    assert claim is not None
    model_id = jobs.succeed_fit(database, claim.job_id, claim.token, fit_done(), now)
    assert model_id is not None
    return model_id


def expire(database: Database, now: datetime, max_lost: int = jobs.MAX_LOST) -> list[jobs.Outcome]:
    """Take every job from its worker whose lease ends by ``now``."""
    late = [lease for lease in jobs.leases(database) if lease.expires_at <= now]
    return jobs.expire(database, late, now, max_lost)


def at_once(steps: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run all steps in threads that start together. Returns what each returned or raised."""
    outcomes: list[T | Exception] = [RuntimeError("did not run")] * len(steps)
    together = threading.Barrier(len(steps))

    def run(index: int) -> None:
        together.wait()
        try:
            outcomes[index] = steps[index]()
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(steps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def store_upload(database: Database, now: datetime, max_open: int = 10, life: timedelta = timedelta(days=1)) -> str:
    """Begin an upload of three parts of 10, 10 and 5 bytes. Returns its id."""
    upload = Upload(
        id=new_id("upl", now),
        state="open",
        filename="a.csv",
        media_type="text/csv",
        encoding=None,
        bytes=25,
        sha256=None,
        name=None,
        header=None,
        missing=["-"],
        part_bytes=10,
        total_parts=3,
        parts=[],
        dataset=None,
        created_at=now,
        expires_at=now + life,
    )
    uploads.insert(database, upload, max_open)
    return upload.id

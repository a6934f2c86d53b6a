"""The application in this process, on SQLite and a folder, with a queue that cannot be reached."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from service.app import create_app
from service.context import Context
from service.settings import ServiceSettings
from worker.contracts.messages import FitDone, NetworkDone, PredictDone, TuneDone
from worker.orders import build_order
from worker.runs.fit import fit
from worker.runs.machine import Machine
from worker.runs.network import network
from worker.runs.predict import predict
from worker.runs.tune import tune
from worker.store import jobs

CSV = "size,city,price\n" + "".join(
    f"{index % 7},{['Bern', 'Basel', 'Chur'][index % 3]},{100 * (index % 7) + 50 * (index % 3)}.5\n"
    for index in range(40)
)

RUNS: dict[str, Any] = {"fit": fit, "tune": tune, "network": network, "predict": predict}


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(
        home=tmp_path / "home",
        redis_url=f"redis+socket://{tmp_path}/nobody.sock",
        reconcile_seconds=3600,
        event_poll_seconds=0.02,
        max_json_bytes=100_000,
        max_predict_rows=1000,
        table_readers=0,
        max_body_bytes=1_000_000,
    )


@pytest.fixture
def client(settings: ServiceSettings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def context(client: TestClient) -> Context:
    return client.app.state.context


@pytest.fixture
def dataset(client: TestClient) -> str:
    """A small table with numbers, texts and a numeric target ``price``."""
    answer = client.post("/v1/datasets", content=CSV, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def run_job(context: Context) -> Callable[[str], None]:
    """Does a queued job's work in this process, as a worker would."""

    def run(job_id: str) -> None:
        torch.set_num_threads(1)
        claim = jobs.claim(context.database, job_id, "test", 60, context.now())
        assert claim is not None
        order = build_order(claim)
        machine = Machine.find("cpu", None)
        done: Any = RUNS[order.kind](order, context.artifacts, machine, lambda _: None)
        if isinstance(done, TuneDone):
            jobs.succeed_fit(context.database, job_id, claim.token, done.fit, context.now(), done.file)
        elif isinstance(done, FitDone):
            jobs.succeed_fit(context.database, job_id, claim.token, done, context.now())
        else:
            assert isinstance(done, PredictDone | NetworkDone)
            jobs.succeed_with_file(context.database, job_id, claim.token, done.file, context.now())

    return run


@pytest.fixture
def model(client: TestClient, dataset: str, run_job: Callable[[str], None]) -> dict[str, Any]:
    """A trained regression named ``prices``."""
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "prices"}
    body["spec"] = {"iterations": 2, "encoding": "plain", "feature_matrix": "full", "precision": "float32"}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_job(answer.json()["id"])
    return dict(client.get("/v1/models/prices").json())

"""The application in this process, on SQLite and a folder, with a queue that cannot be reached."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support import inline

from service.app import create_app
from service.runtime.context import Context
from service.settings import ServiceSettings

CSV = "size,city,price\n" + "".join(
    f"{index % 7},{['Bern', 'Basel', 'Chur'][index % 3]},{100 * (index % 7) + 50 * (index % 3)}.5\n"
    for index in range(40)
)


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
        # the name by which the tests' client asks
        allowed_hosts=("testserver",),
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
    return partial(inline.run_job, context)


@pytest.fixture
def model(client: TestClient, dataset: str, run_job: Callable[[str], None]) -> dict[str, Any]:
    """A trained regression named ``prices``."""
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "prices"}
    body["spec"] = {"iterations": 2, "encoding": "plain", "feature_matrix": "full", "precision": "float32"}
    return inline.fitted_model(client, run_job, body)

"""Rows that come as Parquet are read apart: what ends their reader ends nothing else."""

import gzip
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings
from worker.tables.media import PARQUET

ROWS = pa.table({"city": ["Bern", "Chur"], "size": [3.0, None]})


@pytest.fixture
def apart(settings: ServiceSettings, model: dict[str, Any]) -> Iterator[TestClient]:
    """A service that has a trained model and reads as it does by default."""
    with TestClient(create_app(settings.model_copy(update={"table_readers": 1}))) as client:
        yield client


def _parquet(table: pa.Table) -> bytes:
    body = io.BytesIO()
    pq.write_table(table, body, compression="none")
    return body.getvalue()


def _deadly() -> bytes:
    """A table whose footer says that its column has no missing values, and counts levels of those that may have."""
    body = bytearray(_parquet(pa.table({"a": ["x", "y"]})))
    footer = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    body[footer + 18] = 0
    return bytes(body)


def _predict(client: TestClient, body: bytes) -> Any:
    return client.post("/v1/models/prices/predict", content=body, headers={"Content-Type": PARQUET})


def test_they_are_answered_as_other_rows_are(apart: TestClient) -> None:
    as_json = apart.post("/v1/models/prices/predict", json={"rows": ROWS.to_pylist()}).json()
    assert _predict(apart, _parquet(ROWS)).json() == as_json
    assert list((apart.app.state.context.settings.home / "tmp").iterdir()) == []  # type: ignore[attr-defined]


def test_a_file_that_ends_its_reader_is_refused_and_the_next_is_answered(apart: TestClient) -> None:
    refused = _predict(apart, _deadly())
    assert (refused.status_code, refused.json()["code"]) == (422, "unreadable_table")
    assert "cannot be read" in refused.json()["detail"]
    assert _predict(apart, _parquet(ROWS)).status_code == 200


def test_rows_may_come_compressed(apart: TestClient) -> None:
    body = b"city,size\nBern,3\nChur,\n"
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    plain = apart.post("/v1/models/prices/predict", content=body, headers={"Content-Type": "text/csv"})
    found = apart.post("/v1/models/prices/predict", content=gzip.compress(body), headers=headers)
    assert (found.status_code, found.json()) == (200, plain.json())
    wrong = apart.post("/v1/models/prices/predict", content=body, headers=headers)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "unreadable_table")
    unknown = apart.post("/v1/models/prices/predict", content=body, headers={**headers, "Content-Encoding": "br"})
    assert (unknown.status_code, unknown.json()["code"]) == (415, "unsupported_media_type")


def test_too_many_rows_are_told_as_for_other_forms(apart: TestClient) -> None:
    answer = _predict(apart, _parquet(pa.table({"city": ["Bern"] * 1001, "size": [1.0] * 1001})))
    assert answer.status_code == 422
    assert "1001 rows are too many for one request, which takes 1000" in answer.json()["detail"]

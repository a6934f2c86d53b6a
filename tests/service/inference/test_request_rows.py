"""Rows that come as Parquet are read apart: what ends their reader ends nothing else."""

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.inference.request_rows import LONG_JSON
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


LONG = 32_000
"""Rows whose JSON is longer than ``LONG_JSON``."""


@pytest.fixture
def roomy(settings: ServiceSettings, model: dict[str, Any]) -> Iterator[tuple[TestClient, TestClient]]:
    """Two services for long bodies: one reads them apart, the other in its own process."""
    wide = {"max_json_bytes": 2**23, "max_predict_rows": LONG}
    with (
        TestClient(create_app(settings.model_copy(update={**wide, "table_readers": 1}))) as apart,
        TestClient(create_app(settings.model_copy(update=wide))) as here,
    ):
        yield apart, here


def _long(form: str, **last: object) -> dict[str, object]:
    row = {"size": 2.0, "city": "Bern", "note": "of no use"}
    rows = [{**row, "size": index / 7} for index in range(LONG - 2)] + [{**row, "city": None}, row | last]
    return {"rows": rows} if form == "rows" else {"columns": list(row), "data": [list(one.values()) for one in rows]}


@pytest.mark.parametrize("form", ["rows", "columns"])
def test_long_json_is_read_apart_and_answered_as_here(roomy: tuple[TestClient, TestClient], form: str) -> None:
    body = json.dumps(_long(form)).encode()
    assert len(body) > LONG_JSON
    apart, here = (one.post("/v1/models/prices/predict", content=body) for one in roomy)
    assert (apart.status_code, here.status_code) == (200, 200)
    assert len(apart.json()["predictions"]) == LONG
    assert apart.json()["predictions"] == pytest.approx(here.json()["predictions"], rel=1e-9)
    assert list((roomy[0].app.state.context.settings.home / "tmp").iterdir()) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["rows", "columns"])
@pytest.mark.parametrize("last", [{"size": "much"}, {"city": [1]}, {"size": True}])
def test_what_is_wrong_with_long_json_is_told_as_here(
    roomy: tuple[TestClient, TestClient], form: str, last: dict[str, object]
) -> None:
    body = json.dumps(_long(form, **last)).encode()
    apart, here = (one.post("/v1/models/prices/predict", content=body) for one in roomy)
    assert apart.status_code == 422
    assert apart.json() == here.json()
    assert str(LONG - 1) in apart.json()["errors"][0]["pointer"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows": ' + b"[" * LONG_JSON,
        b'{"rows": []}' + b" " * LONG_JSON,
        json.dumps({"columns": ["size"], "data": [[1.0]] * LONG, "note": "x" * LONG_JSON}).encode(),
        json.dumps({"rows": [{"size": 1.0, "city": "Bern"}] * (LONG + 1)}).encode(),
    ],
)
def test_long_json_that_holds_no_rows_is_refused_as_here(roomy: tuple[TestClient, TestClient], body: bytes) -> None:
    apart, here = (one.post("/v1/models/prices/predict", content=body) for one in roomy)
    assert apart.status_code == 422
    assert apart.json() == here.json()

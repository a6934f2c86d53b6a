"""Wrong input gets a clear answer that names the thing, and leaves nothing behind."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.processes import System

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
NPZ = "application/x-npz"


def _parquet() -> bytes:
    body = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(100)), "y": list(range(100))}), body)
    return body.getvalue()


def _pickled_npz() -> bytes:
    body = io.BytesIO()
    np.savez(body, X=np.array([[{"a": 1}], [None]], dtype=object), y=np.array([0, 1]))
    return body.getvalue()


BAD_TABLES: dict[str, tuple[bytes, str, int, str]] = {
    "empty file": (b"", CSV, 422, "empty"),
    "header only": (b"a,b\n", CSV, 422, "no rows"),
    "ragged CSV": (b"a,b\n1,2\n3\n", CSV, 422, "row 3"),
    "names twice": (b'{"columns":["a","a"],"rows":[[1,2]]}', "application/json", 422, "'a'"),
    "another encoding than it says": (b"a,b\n1,\xff\xfe\n", f"{CSV}; charset=us-ascii", 422, "not ascii"),
    "binary": (b"a,b\n1,\0\xff\n\0\0", CSV, 422, "NUL"),
    "truncated Parquet": (_parquet()[:200], PARQUET, 422, "cannot be read as"),
    "pickled npz": (_pickled_npz(), NPZ, 422, "pickled"),
    "bare pickle": (pickle.dumps([1, 2]), NPZ, 422, "looks like"),
    "Parquet said to be CSV": (_parquet(), CSV, 422, "looks like"),
    "CSV said to be Parquet": (b"a,b\n1,2\n", PARQUET, 422, "looks like text"),
    "CSV said to be JSON": (b"a,b\n1,2\n", "application/json", 422, "neither an object nor a list"),
    "unknown type": (b"a,b\n1,2\n", "text/plain", 415, "text/plain"),
    "deep JSON": (b'{"columns":["a"],"rows":[' + b"[" * 50_000, "application/json", 422, "nested more than"),
}


def _assert_problem(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "instance", "code", "error"} <= set(problem)
    assert problem["error"] == problem["detail"]
    for word in words:
        assert word in problem["detail"], problem


@pytest.fixture
def nothing_left(shared_system: System) -> Iterator[None]:
    """Check that a test adds no dataset, no job and no temporary file."""

    def seen() -> tuple[Any, ...]:
        lists = [shared_system.client.get(f"/v1/{kind}?limit=200").json()["items"] for kind in ("datasets", "jobs")]
        stored = sorted(str(path) for path in Path(shared_system.home).rglob("*") if "artifacts" in path.parts)
        temporary = list((shared_system.home / "tmp").glob("*"))
        return [[one["id"] for one in items] for items in lists], stored, temporary

    before = seen()
    yield
    assert seen() == before


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_refused_with_a_reason(shared_system: System, name: str) -> None:
    body, kind, status, word = BAD_TABLES[name]
    answer = shared_system.client.post("/v1/datasets", content=body, headers={"Content-Type": kind})
    _assert_problem(answer, status, word)


def _upload(system: System, text: str) -> str:
    answer = system.client.post("/v1/datasets", content=text.encode(), headers={"Content-Type": CSV})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


ROWS = "".join(f"{index},{index % 7},{index % 3},{'ab'[index % 2]}\n" for index in range(40))
GOOD = "a,b,c,y\n" + ROWS
BAD_FITS: dict[str, tuple[str, dict[str, Any], str, tuple[str, ...]]] = {
    "unknown target": (GOOD, {"target": "yy"}, "/target", ("'yy'", "'y'")),
    "unknown feature": (GOOD, {"features": ["a", "q"]}, "/features/1", ("'q'",)),
    "target as feature": (GOOD, {"features": ["a", "y"]}, "/features/1", ("target",)),
    "nothing left": (GOOD, {"exclude": ["a", "b", "c"]}, "/features", ("no column",)),
    "text as regression": (GOOD, {"task": "regression"}, "/target", ("categorical",)),
    "one-row table": ("a,y\n1,2\n", {}, "/dataset", ("1 rows",)),
    "constant target": ("a,y\n1,2\n3,2\n4,2\n5,2\n", {}, "/target", ("only one value",)),
    "missing target": ("a,y\n1,2\n2,\n3,4.5\n4,5\n", {"missing_target": "error"}, "/target", ("1 missing",)),
    "NaN target": ("a,y\n1,2\n2,NaN\n3,4.5\n4,5\n", {"missing_target": "error"}, "/target", ("1 missing",)),
    "infinite target": ("a,y\n1,2.5\n2,inf\n3,4.5\n4,5\n", {}, "/target", ("1 infinite",)),
    "infinite feature": ("a,y\n1,2.5\n-inf,3\n3,4.5\n4,5\n", {}, "/features", ("'a'", "infinite")),
    "constant features": ("a,b,y\n1,,2.5\n1,,3\n1,,4.5\n1,,5\n", {}, "/features", ("constant",)),
    "ridge below zero": (GOOD, {"spec": {"ridge": -1}}, "/spec/ridge", ()),
    "exponent too large": (GOOD, {"spec": {"kernel": "generalized", "exponent": 3}}, "/spec/exponent", ("2",)),
    "unknown kernel": (GOOD, {"spec": {"kernel": "sinc"}}, "/spec/kernel", ("laplace",)),
    "unknown option": (GOOD, {"spec": {"layers": 3}}, "/spec/layers", ()),
    "fraction of one": (GOOD, {"validation": {"fraction": 1}}, "/validation/fraction", ()),
    "two validations": (GOOD, {"validation": {"fraction": 0.2, "folds": 3}}, "/validation", ("exactly one",)),
}


@pytest.mark.parametrize("name", BAD_FITS)
def test_a_bad_fit_is_refused_with_a_pointer(shared_system: System, name: str) -> None:
    text, changes, pointer, words = BAD_FITS[name]
    body = {"kind": "fit", "dataset": _upload(shared_system, text), "target": "y", **changes}
    before = shared_system.client.get("/v1/jobs?limit=200").json()["items"]
    answer = shared_system.client.post("/v1/jobs", json=body)
    _assert_problem(answer, 422, *words)
    assert answer.json()["errors"][0]["pointer"].startswith(pointer), answer.text
    assert shared_system.client.get("/v1/jobs?limit=200").json()["items"] == before


def test_a_text_column_of_a_million_values_is_stored_but_not_learned_from(shared_system: System) -> None:
    text = "name,y\n" + "".join(f"row {index},{index % 2}\n" for index in range(1_000_000))
    dataset = _upload(shared_system, text)
    column = shared_system.client.get(f"/v1/datasets/{dataset}").json()["columns"][0]
    assert column["distinct"] == 1_000_000
    answer = shared_system.client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "y"})
    _assert_problem(answer, 422, "'name'", "in 'features'")


@pytest.mark.parametrize(
    "text",
    [
        "a,empty,same,y\n" + "".join(f"{index},,7,{index % 2}\n" for index in range(30)),
        "a,b,y\n"
        + "".join(f"{index},{index % 5},{'rare' if index == 4 else 'ab'[index % 2]}\n" for index in range(30)),
        "a,y\n1,x\n2,z\n3,x\n4,z\n",
    ],
    ids=["all-missing and constant columns", "a class with one member", "four rows"],
)
def test_a_poor_table_that_can_be_learned_from_is(shared_system: System, text: str) -> None:
    job = shared_system.wait(shared_system.submit(dataset=_upload(shared_system, text)))
    assert job["state"] == "succeeded", job


def test_rows_that_do_not_match_the_model_are_refused_by_name(shared_system: System) -> None:
    job = shared_system.wait(shared_system.submit(dataset=_upload(shared_system, GOOD), model="checked"))
    assert job["state"] == "succeeded", job
    url = "/v1/models/checked/predict"
    post = shared_system.client.post
    _assert_problem(post(url, json={"rows": [{"a": 1, "B": 2}]}), 422, "'b'", "'c'")
    _assert_problem(post(url, json={"rows": [{"a": "many", "b": 1, "c": 1}]}), 422, "row 1", "'a'", "'many'")
    _assert_problem(post(url, json={"rows": []}), 422, "no rows")
    _assert_problem(post(url, content=b"{", headers={"Content-Type": "application/json"}), 422, "JSON")
    _assert_problem(post(url, content=b"x", headers={"Content-Type": "text/html"}), 415, "text/html")
    _assert_problem(post(url, json={"rows": [{"a": 1, "b": 1, "c": 1}]}, headers={"Accept": "text/html"}), 406, "csv")
    _assert_problem(post("/v1/models/nobody/predict", json={"rows": [{"a": 1}]}), 404, "nobody")
    answer = post(url, json={"rows": [{"a": 1, "b": None, "c": 1, "extra": "ignored"}]})
    assert answer.status_code == 200, answer.text

"""Conventions of HTTP hold whatever a caller writes into headers and parameters."""

import gzip
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from support.draws import examples

from service.app import create_app

few = settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
visible = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
numbers = st.one_of(st.just(""), st.integers(0, 3000).map(str), st.just("9" * 30), st.just("1" * 5000))
quality = st.sampled_from(["", ";q=0", ";q=0.5", ";q=1", ";q=nan", ";q=", ";q=-1", "; level=1;q=.3", ";;"])

TABLE = "size,price\n" + "".join(f"{index % 7},{index}.5\n" for index in range(40))


@pytest.fixture
def impatient(settings):
    """A service that waits for nobody."""
    with TestClient(
        create_app(settings.model_copy(update={"max_wait_seconds": 0})), raise_server_exceptions=False
    ) as one:
        yield one


@few
@given(after=st.one_of(visible, st.text(max_size=20), st.text("abz019_", max_size=210)), limit=st.integers(-1, 201))
def test_any_place_in_a_list_is_a_page_or_invalid(client, dataset, after, limit):
    for kind in ("datasets", "jobs", "models"):
        answer = client.get(f"/v1/{kind}", params={"after": after, "limit": limit})
        assert answer.status_code in (200, 422), answer.text
        if answer.status_code == 200:
            assert all(one["id"] < after for one in answer.json()["items"])


LISTS = {
    "/v1/datasets": "ds",
    "/v1/jobs": "job",
    "/v1/models": "mdl",
    "/datasets": "ds",
    "/jobs": "job",
    "/models": "mdl",
    "/batches": "bat",
}


@pytest.mark.parametrize("path", LISTS)
def test_a_place_in_a_list_that_is_none_is_said_to_be_none(client, path):
    own = LISTS[path]
    others = [f"{prefix}_01jd0000000000000000000000" for prefix in ("ds", "job", "mdl", "bat", "key") if prefix != own]
    short, long, capital = f"{own}_01jd", f"{own}_{'0' * 27}", f"{own}_01JD0000000000000000000000"
    for after in ("garbage", own, f"{own}_", short, long, capital, f" {own}_{'0' * 26}", "1", "null", *others):
        answer = client.get(path, params={"after": after})
        if path.startswith("/v1/"):
            assert answer.status_code == 422, after
            assert [one["pointer"] for one in answer.json()["errors"]] == ["query:after"]
        else:
            assert answer.status_code == 404, "a page says that there is nothing here"


def test_a_place_in_a_list_may_be_of_something_that_was_deleted(client):
    upload = {"content": TABLE, "headers": {"Content-Type": "text/csv"}}
    made = client.post("/v1/datasets", **upload).json()["id"]
    assert client.delete(f"/v1/datasets/{made}").status_code == 204
    assert client.get(f"/v1/datasets?after={made}").json() == {"items": [], "next": None}


def _strictly(text):
    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    def once(pairs):
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), names
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


def test_json_is_json_to_those_who_take_it_strictly(client, run_job):
    # a constant column, a huge and an infinite value, and a row that stands for all of them
    rows = (f"{index % 7},1,{'inf' if index == 3 else '1e308'},{index}.5\n" for index in range(40))
    table = "a,b,c,y\n" + "".join(rows)
    made = client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"}).json()["id"]
    fit = {"kind": "fit", "dataset": made, "target": "y", "features": ["a", "b"], "model": "strict", "validation": None}
    job = client.post("/v1/jobs", json=fit).json()["id"]
    run_job(job)
    paths = [path for path, calls in client.get("/openapi.json").json()["paths"].items() if "get" in calls]
    named = {"ref": "strict", "name": "strict", "version": "1", "job_id": job, "dataset_id": made}
    named["upload_id"] = client.post("/v1/uploads", json={"filename": "a.csv", "bytes": 9}).json()["id"]
    looked = 0
    for path in [*paths, "/openapi.json"]:
        place = path.format(**named, batch_id="none", column="a") + ("?with=strict" if "compare" in path else "")
        answer = client.get(place)
        if "json" in answer.headers.get("content-type", ""):
            _strictly(answer.text)
            looked += 1
    assert looked > 20
    for path, cell in (("predict", 1e300), ("predict", None), ("explain", None)):
        answer = client.post(f"/v1/models/strict/{path}", json={"rows": [{"a": cell, "b": None}]})
        assert answer.status_code in (200, 422)
        _strictly(answer.text)


@pytest.mark.parametrize("place", ["/v1/models?name=", "/v1/jobs?model="])
def test_a_filter_that_no_name_matches_is_an_empty_page_or_named_as_wrong(client, place):
    assert client.get(f"{place}{'é' * 100}").json()["items"] == []
    answer = client.get(f"{place}a%00b")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"query:{place.rpartition('?')[2][:-1]}"


@pytest.mark.parametrize("kind", ["datasets", "jobs", "models"])
def test_an_empty_place_in_a_list_is_named_as_wrong(client, kind):
    answer = client.get(f"/v1/{kind}?after=")
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["query:after"]


def test_pages_of_any_length_show_everything_once_and_newest_first(client):
    for index in range(5):
        client.post("/v1/datasets", content=f"a\n{index}\n", headers={"Content-Type": "text/csv"})
    everything = [one["id"] for one in client.get("/v1/datasets").json()["items"]]
    assert everything == sorted(everything, reverse=True)
    for limit in range(1, 7):
        seen, after = [], {}
        while True:
            page = client.get("/v1/datasets", params={"limit": limit, **after}).json()
            seen += [one["id"] for one in page["items"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert seen == everything


@few
@example(ranges=f"bytes={'1' * 5000}-", known=None, only_if=None)
@given(
    ranges=st.one_of(
        st.none(),
        visible,
        st.builds("bytes={}-{}".format, numbers, numbers),
        st.just("bytes=0-1,3-4"),
        st.just("bytes=-"),
    ),
    known=st.sampled_from([None, "*", '"other"', "ETAG", "W/ETAG", '"other", ETAG', "garbage,,"]),
    only_if=st.sampled_from([None, "ETAG", '"other"', "W/ETAG"]),
)
def test_a_download_is_whole_a_part_unchanged_or_out_of_range(client, dataset, ranges, known, only_if):
    path = f"/v1/datasets/{dataset}/content"
    plain = client.get(path)
    whole, etag = plain.content, plain.headers["etag"]
    given = {"Range": ranges, "If-None-Match": known, "If-Range": only_if}
    answer = client.get(path, headers={name: text.replace("ETAG", etag) for name, text in given.items() if text})
    if known in ("*", "ETAG", "W/ETAG", '"other", ETAG'):
        assert (answer.status_code, answer.content) == (304, b"")
    elif answer.status_code == 206:
        assert only_if in (None, "ETAG")
        first, last, length = map(
            int, re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers["content-range"]).groups()
        )
        assert length == len(whole)
        assert answer.content == whole[first : last + 1]
    elif answer.status_code == 416:
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"
    else:
        assert (answer.status_code, answer.content) == (200, whole)
    if answer.status_code < 400:
        assert answer.headers["etag"] == etag


@few
@given(
    accept=st.one_of(
        visible,
        st.lists(
            st.builds(
                "{}{}".format,
                st.sampled_from(["application/json", "text/csv", "image/*", "*/*", "image/png", "text/html", "a", "/"]),
                quality,
            ),
            max_size=4,
        ).map(",".join),
    )
)
def test_any_wish_for_a_form_is_met_or_not_acceptable(client, model, accept):
    answer = client.get("/v1/models/prices/features/matrix", headers={"Accept": accept})
    assert answer.status_code in (200, 406), answer.text
    if answer.status_code == 200 and accept.strip() and "*" not in accept:
        assert answer.headers["content-type"].partition(";")[0] in accept.lower()


@few
@example(prefer="wait=10000000")
@example(prefer=f"wait={'9' * 5000}")
@given(
    prefer=st.one_of(
        visible, st.builds("wait={}".format, numbers), st.builds("respond-async, WAIT = {}; a=b".format, numbers)
    )
)
def test_any_preference_is_applied_or_ignored(impatient, prefer):
    upload = impatient.post("/v1/datasets", content=TABLE, headers={"Content-Type": "text/csv"}).json()["id"]
    body = {"kind": "fit", "dataset": upload, "target": "price"}
    answer = impatient.post("/v1/jobs", json=body, headers={"Prefer": prefer})
    assert answer.status_code == 202, answer.text
    assert re.fullmatch(r"wait=\d+", answer.headers.get("preference-applied", "wait=0"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=visible.filter(str.strip), extra=json_values, sound=st.booleans(), path=st.sampled_from(["jobs", "batches"]))
def test_one_key_makes_one_thing_however_many_send_it_at_once(client, dataset, key, extra, sound, path):
    job = {"kind": "fit", "dataset": dataset, "target": "price", **({} if sound else {"spec": extra})}
    body = json.dumps(job if path == "jobs" else [job]).encode()
    key = f"{key}{uuid4()}"
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    before = len(client.get("/v1/jobs?limit=200").json()["items"])

    def send(_):
        return client.post(f"/v1/{path}", content=body, headers=headers)

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(send, range(3)))
    settled = [one for one in [*answers, send(0)] if one.status_code != 409]
    assert {one.status_code for one in settled} <= {202, 422}
    assert len({one.text for one in settled}) == 1
    made = len(client.get("/v1/jobs?limit=200").json()["items"]) - before
    assert made == (settled[0].status_code == 202) or before > 190
    other = client.post(f"/v1/{path}", content=body + b" ", headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def _packed(body: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(body)
    return pa.compress(body, "zstd", asbytes=True) if how == "zstd" else body


@few
@given(
    said=st.sampled_from(["", "identity", "gzip", "GZIP ", "zstd", "br", "gzip, gzip", "gzip,zstd", "x-gzip"]),
    done=st.sampled_from(["", "gzip", "zstd"]),
    rows=st.integers(1, 5),
    damage=st.sampled_from([0, 0, 1, 5]),
)
def test_a_compressed_upload_is_what_was_compressed_or_refused(client, said, done, rows, damage):
    plain = b"a\n" + b"1\n" * rows
    sent = _packed(plain, done)
    headers = {"Content-Type": "text/csv", "Content-Encoding": said}
    answer = client.post("/v1/datasets", content=io.BytesIO(sent[: len(sent) - damage]), headers=headers)
    if said.strip().lower() not in ("", "identity", "gzip", "zstd"):
        assert answer.status_code == 415
    elif said.strip().lower().replace("identity", "") == done and damage == 0:
        assert answer.status_code in (200, 201), answer.text
        assert client.get(f"/v1/datasets/{answer.json()['id']}/content").content == plain
    else:
        assert answer.status_code in (200, 201, 422), answer.text


def test_a_parameter_that_is_none_is_refused_with_the_one_that_is_meant(client, dataset):
    body = {"kind": "fit", "dataset": dataset, "target": "price"}
    answer = client.post("/v1/jobs?dryrun=true", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"] == [
        {"pointer": "query:dryrun", "message": "there is no such parameter (did you mean 'dry_run'?)"}
    ]
    assert client.get("/v1/jobs").json()["items"] == []


@pytest.mark.parametrize("query", ["name=a&name=b", "header=true&header=false", "name=a&name=a"])
def test_a_parameter_that_is_told_twice_is_refused(client, query):
    answer = client.post(f"/v1/datasets?{query}", content="a,b\n1,2\n", headers={"Content-Type": "text/csv"})
    name = query.partition("=")[0]
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": f"query:{name}", "message": "it is told twice; tell it once"}]


def test_no_call_takes_parameters_that_it_does_not_name(client):
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        if path.startswith("/v1/") and "get" in operations:
            answer = client.get(path.replace("{", "").replace("}", ""), params={"nonsense": "1"})
            assert answer.status_code == 422, path
            assert [one["pointer"] for one in answer.json()["errors"]] == ["query:nonsense"], path


def test_what_is_missing_is_told_at_its_own_place(client: TestClient) -> None:
    body = client.post("/v1/jobs", json={}).json()["errors"]
    assert body == [{"pointer": "/kind", "message": "this field is required"}]
    query = client.get("/v1/models/prices/compare").json()["errors"]
    assert query == [{"pointer": "query:with", "message": "this field is required"}]

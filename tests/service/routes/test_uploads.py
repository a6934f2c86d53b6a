"""Uploads in parts end as the dataset that one request would have made, whatever happens on the way."""

import base64
import gzip
import hashlib
import random
import threading
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from support.draws import examples
from support.tables import WRITERS

from service.app import create_app
from service.runtime.context import utc_now
from service.upkeep.reconciler import Reconciler
from worker.contracts.resources import Upload
from worker.store import locks, uploads
from worker.tables.media import CSV

PART_BYTES = 100
TEXT = "size,city,price\n" + "".join(f"{i % 7},{('Bern', 'Chur')[i % 2]},{i}.5\n" for i in range(60))
BODY = TEXT.encode()
PARTS = -(-len(BODY) // PART_BYTES)
few = settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def client(settings):
    small = settings.model_copy(update={"upload_part_bytes": PART_BYTES, "max_open_uploads": 3})
    with TestClient(create_app(small), raise_server_exceptions=False) as one:
        yield one


def begin(client, body=BODY, **fields):
    answer = client.post("/v1/uploads", json={"filename": "houses.csv", "bytes": len(body), **fields})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/uploads/{answer.json()['id']}"
    return answer.json()


def part_of(body, number, size=PART_BYTES):
    return body[(number - 1) * size : number * size]


def put(client, upload, number, content=None, **headers):
    content = part_of(BODY, number) if content is None else content
    return client.put(f"/v1/uploads/{upload['id']}/parts/{number}", content=content, headers=headers)


def send_all(client, upload, body=BODY):
    for number in range(1, upload["total_parts"] + 1):
        answer = put(client, upload, number, part_of(body, number))
        assert answer.status_code == 201, answer.text


def complete(client, upload):
    return client.post(f"/v1/uploads/{upload['id']}/complete")


def pointers(answer):
    return [one["pointer"] for one in answer.json().get("errors", [])]


def stored(settings, folder):
    return sorted(path.name for path in (settings.home / "artifacts" / folder).rglob("*") if path.is_file())


def without_id(dataset):
    return {name: value for name, value in dataset.items() if name not in ("id", "created_at")}


@few
@given(order=st.permutations(range(1, PARTS + 1)), again=st.lists(st.integers(1, PARTS), max_size=5))
def test_parts_in_any_order_and_sent_again_make_the_dataset_of_one_request(client, order, again):
    upload = begin(client)
    for number in order:
        assert put(client, upload, number).status_code == 201
        shown = client.get(f"/v1/uploads/{upload['id']}").json()
        assert [part["number"] for part in shown["parts"]] == sorted(order[: order.index(number) + 1])
    for number in again:
        assert put(client, upload, number).status_code == 200
    made = complete(client, upload)
    assert made.headers["location"] == f"/v1/datasets/{made.json()['id']}"
    whole = client.post("/v1/datasets?name=houses.csv", content=BODY, headers={"Content-Type": CSV})
    assert (made.status_code in (200, 201), whole.status_code) == (True, 200)
    assert made.json() == whole.json()


@pytest.mark.parametrize("kind", WRITERS)
def test_every_form_and_option_gives_what_one_request_gives(client, settings, kind):
    body = WRITERS[kind](pa.table({"a": [1.0, 2.0, 3.0], "b": ["x", "None", "?"]}))
    upload = begin(client, body, filename=None, media_type=kind, name="both", missing=["None"])
    send_all(client, upload, body)
    made = complete(client, upload)
    assert made.status_code == 201, made.text
    missing = {"params": {"name": "both", "missing": "None"}}
    with TestClient(create_app(settings.model_copy(update={"home": settings.home.with_name("other")}))) as other:
        whole = other.post("/v1/datasets", content=body, headers={"Content-Type": kind}, **missing)
    assert without_id(made.json()) == without_id(whole.json())


def test_a_compressed_file_is_undone_and_its_checksum_is_that_of_what_was_sent(client):
    body = gzip.compress(BODY)
    upload = begin(client, body, encoding="gzip", sha256=hashlib.sha256(body).hexdigest())
    send_all(client, upload, body)
    assert complete(client, upload).json()["sha256"] == hashlib.sha256(BODY).hexdigest()


def test_completing_again_is_the_same_dataset_and_leaves_no_parts(client, settings):
    upload = begin(client)
    send_all(client, upload)
    assert len(stored(settings, "uploads")) == PARTS
    first, again = complete(client, upload), complete(client, upload)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    shown = client.get(f"/v1/uploads/{upload['id']}").json()
    assert (shown["state"], shown["dataset"], shown["parts"]) == ("complete", first.json()["id"], [])
    assert stored(settings, "uploads") == []
    assert list((settings.home / "tmp").iterdir()) == []
    assert put(client, upload, 1).status_code == 409


def test_processes_that_complete_at_once_make_one_dataset(client, settings):
    upload = begin(client)
    send_all(client, upload)
    small = settings.model_copy(update={"upload_part_bytes": PART_BYTES})
    answers = []
    with TestClient(create_app(small)) as other:
        together = threading.Barrier(6)

        def ask(one):
            together.wait()
            answers.append(complete(one, upload))

        threads = [threading.Thread(target=ask, args=(one,)) for one in (client, other) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = complete(other, upload)
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    assert [answer.status_code for answer in answers].count(201) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"request_in_flight"}
    assert {answer.json()["id"] for answer in answers if answer.status_code < 300} == {last.json()["id"]}
    assert len(client.get("/v1/datasets").json()["items"]) == 1


def test_parts_may_arrive_at_different_processes(client, settings):
    upload = begin(client)
    with TestClient(create_app(settings)) as other:
        for number in range(1, PARTS + 1):
            assert put((client, other)[number % 2], upload, number).status_code == 201
        assert complete(other, upload).status_code == 201


def test_missing_parts_are_named_and_can_be_sent_then(client):
    upload = begin(client)
    put(client, upload, 2)
    answer = complete(client, upload)
    assert answer.status_code == 409
    assert f"{PARTS - 1} of {PARTS} parts are missing: 1, 3, 4" in answer.json()["detail"]
    for number in (1, *range(3, PARTS + 1)):
        put(client, upload, number)
    assert complete(client, upload).status_code == 201


@pytest.mark.parametrize("number", [1, PARTS])
@pytest.mark.parametrize("change", [-1, 1, -PART_BYTES])
def test_a_part_of_another_length_is_refused(client, settings, number, change):
    upload = begin(client)
    right = part_of(BODY, number)
    content = right + b"x" if change > 0 else right[:change]
    answer = put(client, upload, number, content)
    assert answer.status_code in (413, 422)
    if answer.status_code == 422:
        assert f"part {number} of this upload has {len(right)} bytes" in answer.json()["detail"]
    assert stored(settings, "uploads") == []


def test_a_part_that_is_too_large_for_any_upload_is_refused_before_it_is_read(client):
    upload = begin(client)
    assert put(client, upload, 1, b"x" * (PART_BYTES + 1)).status_code == 413


@pytest.mark.parametrize("number", [0, PARTS + 1, 10_001, "one"])
def test_a_part_that_there_is_none_of_is_refused(client, number):
    answer = put(client, begin(client), number, b"x")
    assert answer.status_code == 422
    assert pointers(answer) == ["path:number"]


def test_what_was_acknowledged_does_not_change(client):
    upload = begin(client)
    assert put(client, upload, 1).status_code == 201
    other = bytes(reversed(part_of(BODY, 1)))
    answer = put(client, upload, 1, other)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert hashlib.sha256(other).hexdigest() in answer.json()["detail"]
    for number in range(2, PARTS + 1):
        put(client, upload, number)
    assert complete(client, upload).json()["sha256"] == hashlib.sha256(BODY).hexdigest()


def test_a_checksum_of_a_part_is_checked_before_it_is_stored(client):
    upload = begin(client)

    def digest(content):
        return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"

    wrong = put(client, upload, 1, **{"Content-Digest": digest(b"other")})
    assert (wrong.status_code, pointers(wrong)) == (422, ["header:content-digest"])
    assert client.get(f"/v1/uploads/{upload['id']}").json()["parts"] == []
    right = digest(part_of(BODY, 1))
    for malformed in (
        "garbage",
        "",
        right.replace(":", ""),
        right.removesuffix(":"),
        right.replace("sha", "SHA"),
        right[:20] + "?" + right[20:],
        f"md5=:x:, x {right}",
    ):
        refused = put(client, upload, 1, **{"Content-Digest": malformed})
        assert (refused.status_code, pointers(refused)) == (422, ["header:content-digest"]), malformed
    short = put(client, upload, 1, **{"Content-Digest": "sha-256=:AAAA:"})
    assert (short.status_code, pointers(short)) == (422, ["header:content-digest"])
    right = put(client, upload, 1, **{"Content-Digest": f"md5=:x:, {digest(part_of(BODY, 1))}"})
    assert right.status_code == 201


def test_a_checksum_of_the_file_is_checked_at_the_end(client):
    upload = begin(client, sha256="0" * 64)
    send_all(client, upload)
    answer = complete(client, upload)
    assert answer.status_code == 422
    assert hashlib.sha256(BODY).hexdigest() in answer.json()["detail"]
    assert client.get("/v1/datasets").json()["items"] == []


def test_a_compressed_part_is_refused(client):
    assert put(client, begin(client), 1, **{"Content-Encoding": "gzip"}).status_code == 415


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"bytes": 0}, "/bytes"),
        ({"bytes": 1_000_001}, "/bytes"),
        ({"bytes": None}, "/bytes"),
        ({"sha256": "0" * 63}, "/sha256"),
        ({"filename": "houses.doc"}, "/media_type"),
        ({"filename": None}, "/media_type"),
        ({"media_type": "text/html"}, "/media_type"),
        ({"filename": "a\nb.csv"}, "/filename"),
        ({"encoding": "br"}, "/encoding"),
        ({"filename": "a.parquet", "header": True}, "/header"),
        ({"part_bytes": 5}, "/part_bytes"),
        ({"missing": ["x" * 51]}, "/missing/0"),
    ],
)
def test_what_is_wrong_with_an_upload_is_named_at_its_begin(client, fields, place):
    answer = client.post("/v1/uploads", json={"filename": "houses.csv", "bytes": 10, **fields})
    assert (answer.status_code, pointers(answer)) == (422, [place]), answer.text


def test_a_file_that_is_no_table_is_refused_as_in_one_request(client):
    body = b"a,b\n1\n"
    upload = begin(client, body)
    send_all(client, upload, body)
    whole = client.post("/v1/datasets", content=body, headers={"Content-Type": CSV}).json()
    for _ in range(2):
        answer = complete(client, upload)
        assert answer.status_code == 422
        assert {**answer.json(), "instance": ""} == {**whole, "instance": ""}
    assert client.get(f"/v1/uploads/{upload['id']}").json()["state"] == "open"


def test_a_project_has_a_bounded_number_of_unfinished_uploads(client):
    made = [begin(client) for _ in range(3)]
    refused = client.post("/v1/uploads", json={"filename": "a.csv", "bytes": 1})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_uploads")
    assert int(refused.headers["retry-after"]) > 0
    assert [one["id"] for one in client.get("/v1/uploads").json()["items"]] == [one["id"] for one in reversed(made)]
    assert client.delete(f"/v1/uploads/{made[0]['id']}").status_code == 204
    send_all(client, begin(client))
    send_all(client, made[1])
    complete(client, made[1])
    begin(client)


def test_a_deleted_upload_and_its_parts_are_gone(client, settings):
    upload = begin(client)
    send_all(client, upload)
    place = f"/v1/uploads/{upload['id']}"
    assert client.delete(place).status_code == 204
    assert stored(settings, "uploads") == []
    for answer in (client.get(place), client.delete(place), put(client, upload, 1), complete(client, upload)):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_an_upload_that_is_being_completed_is_neither_deleted_nor_completed(client):
    upload = begin(client)
    send_all(client, upload)
    context = client.app.state.context
    locks.try_lock(context.database, uploads.lock_name(upload["id"]), "another process", 20, context.now())
    assert client.get(f"/v1/uploads/{upload['id']}").json()["state"] == "completing"
    for answer in (client.delete(f"/v1/uploads/{upload['id']}"), complete(client, upload)):
        assert (answer.status_code, answer.json()["code"]) == (409, "request_in_flight")
    # the other process dies
    locks.try_lock(context.database, uploads.lock_name(upload["id"]), "another process", -1, context.now())
    assert complete(client, upload).status_code == 201


def test_expired_uploads_go_and_a_new_part_keeps_one_alive(settings):
    passed = [timedelta()]
    small = settings.model_copy(update={"upload_part_bytes": PART_BYTES, "upload_seconds": 100})
    with TestClient(create_app(small, now=lambda: utc_now() + passed[0])) as client:
        kept, left = begin(client), begin(client)
        put(client, kept, 1), put(client, left, 1)
        passed[0] = timedelta(seconds=60)
        put(client, kept, 2)
        passed[0] = timedelta(seconds=120)
        assert client.get(f"/v1/uploads/{left['id']}").status_code == 404
        assert [one["id"] for one in client.get("/v1/uploads").json()["items"]] == [kept["id"]]
        Reconciler(client.app.state.context).look()
        assert len(stored(settings, "uploads")) == 2
        for number in range(3, PARTS + 1):
            put(client, kept, number)
        assert complete(client, kept).status_code == 201


def test_a_part_that_storage_has_damaged_is_sent_again(client, settings):
    upload = begin(client)
    send_all(client, upload)
    damaged = random.Random(0).choice(sorted((settings.home / "artifacts" / "uploads").rglob("*-*")))
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    number = int(damaged.name.partition("-")[0])
    answer = complete(client, upload)
    assert answer.status_code == 409
    assert f"part {number} was damaged in storage" in answer.json()["detail"]
    assert put(client, upload, number).status_code == 201
    assert complete(client, upload).json()["sha256"] == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("step", ["store", "uploads.finish"])
def test_a_fault_while_completing_loses_nothing(client, settings, monkeypatch, step):
    upload = begin(client)
    send_all(client, upload)
    with monkeypatch.context() as patch:
        patch.setattr(f"service.datasets.part_uploads.{step}", _fail)
        assert complete(client, upload).status_code == 500
    assert client.get(f"/v1/uploads/{upload['id']}").json()["state"] == "open"
    assert list((settings.home / "tmp").iterdir()) == []
    made = complete(client, upload)
    assert made.status_code in (200, 201)
    assert len(client.get("/v1/datasets").json()["items"]) == 1


def test_the_parts_of_an_upload_are_those_of_its_file():
    fields = dict.fromkeys(("filename", "encoding", "sha256", "name", "header", "missing", "dataset"))
    for length in range(1, 40):
        for size in range(1, 12):
            total = -(-length // size)
            upload = Upload.model_construct(
                **fields, bytes=length, part_bytes=size, total_parts=total, parts=[], media_type=CSV
            )
            assert sum(upload.part_length(number) for number in range(1, total + 1)) == length
            assert all(0 < upload.part_length(number) <= size for number in range(1, total + 1))
            assert upload.missing_parts == list(range(1, total + 1))


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("a fault")

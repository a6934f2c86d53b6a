from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from support.tables import WRITERS, as_npz

from worker.contracts.errors import FactRFMError
from worker.tables.media import CSV, NPZ

TABLE = pa.table({"a": [1.0, 2.0], "b": ["x", None]})


def _upload(client, body, kind=CSV, **headers):
    return client.post("/v1/datasets", content=body, headers={"Content-Type": kind, **headers})


@pytest.mark.parametrize("kind", WRITERS)
def test_every_form_is_taken(client, kind):
    answer = _upload(client, WRITERS[kind](TABLE), kind)
    assert answer.status_code == 201
    dataset = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert (dataset["rows"], [column["name"] for column in dataset["columns"]]) == (2, ["a", "b"])
    assert client.get(answer.headers["location"]).json() == dataset


def test_npz_is_taken(client):
    assert _upload(client, as_npz(X=[[1.0]], y=[2.0]), NPZ).json()["rows"] == 1


def test_the_same_bytes_again_are_the_same_dataset(client):
    first, again = _upload(client, b"a\n1\n"), _upload(client, b"a\n1\n")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_bodies_are_undone(client, encoding):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, encoding) as stream:
        stream.write(b"a,b\n1,2\n")
    answer = _upload(client, sink.getvalue().to_pybytes(), **{"Content-Encoding": encoding})
    assert answer.status_code == 201, answer.text
    assert answer.json()["bytes"] == 8


def test_an_unknown_encoding_is_refused(client):
    assert _upload(client, b"a\n1\n", **{"Content-Encoding": "br"}).status_code == 415


def test_a_form_with_one_file_is_taken(client):
    answer = client.post("/v1/datasets", files={"file": ("../../etc/prices.csv", b"a,b\n1,2\n", "text/csv")})
    assert answer.status_code == 201
    assert answer.json()["name"] == "prices.csv"
    by_suffix = client.post("/v1/datasets", files={"file": ("t.csv", b"a\n1\n", "application/octet-stream")})
    assert by_suffix.status_code == 201


def test_forms_without_one_file_are_refused(client):
    two = [("file", ("a.csv", b"a\n1\n", "text/csv")), ("file", ("b.csv", b"a\n2\n", "text/csv"))]
    assert client.post("/v1/datasets", files=two).status_code == 422
    assert client.post("/v1/datasets", files={"other": ("a.csv", b"a\n1\n", "text/csv")}).status_code == 422
    broken = _upload(client, b"no boundary", "multipart/form-data; boundary=x")
    assert broken.status_code in (400, 422), broken.text


@pytest.mark.parametrize("name", ["a%0d%0aX: y", "%00", "x" * 201, ""])
def test_names_that_could_do_harm_are_refused(client, name):
    answer = client.post(f"/v1/datasets?name={name}", content=b"a\n1\n", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422


def test_nothing_stays_in_the_temporary_folder(client, settings, monkeypatch):
    _upload(client, b"a\n1\n")
    _upload(client, b"a,b\n1\n")
    monkeypatch.setattr("worker.tables.reader_process.ingest", _fail)
    assert _upload(client, b"a\n2\n").status_code == 500
    assert list((settings.home / "tmp").iterdir()) == []
    assert len(list(Path(settings.home / "artifacts").rglob("content"))) == 1


def _fail(*_, **__):
    raise FactRFMError("storage broke")


def test_rows_are_shown_as_they_were(client):
    dataset = _upload(client, b"a,b,c\n1,x,true\n2.5,,false\n,z,\n").json()["id"]
    rows = client.get(f"/v1/datasets/{dataset}/rows?limit=2").json()
    assert rows == {"columns": ["a", "b", "c"], "rows": [[1, "x", True], [2.5, None, False]]}


def test_content_is_the_original_and_can_be_had_in_part(client):
    body = b"a,b\n1,2\n3,4\n"
    url = _upload(client, body).headers["location"] + "/content"
    whole = client.get(url)
    assert whole.content == body
    etag = whole.headers["etag"]
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert client.get(url, headers={"If-None-Match": 'W/"x", ' + etag}).status_code == 304
    part = client.get(url, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, body[2:5], "bytes 2-4/12")
    assert client.get(url, headers={"Range": "bytes=-4"}).content == body[-4:]
    assert client.get(url, headers={"Range": "bytes=10-"}).content == body[10:]
    assert client.get(url, headers={"Range": "bytes=0-1", "If-Range": '"old"'}).status_code == 200
    outside = client.get(url, headers={"Range": "bytes=99-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, "bytes */12")


def test_lists_go_page_by_page_newest_first(client):
    made = [_upload(client, f"a\n{index}\n".encode()).json()["id"] for index in range(5)]
    first = client.get("/v1/datasets?limit=3").json()
    second = client.get(f"/v1/datasets?limit=3&after={first['next']}").json()
    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None
    for query in ("limit=0", "limit=201", "limit=x", "after=%00"):
        assert client.get(f"/v1/datasets?{query}").status_code == 422


def test_a_dataset_in_use_stays_and_another_goes(client, dataset):
    job = client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "price"}).json()["id"]
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 409
    client.post(f"/v1/jobs/{job}/cancel")
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 204
    assert client.get(f"/v1/datasets/{dataset}").status_code == 404


def test_a_histogram_counts_every_value_of_a_numeric_column(client, dataset):
    answer = client.get(f"/v1/datasets/{dataset}/columns/size/histogram")
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["edges"] == [edge - 0.5 for edge in range(8)]
    assert document["counts"] == [6, 6, 6, 6, 6, 5, 5]
    spread = client.get(f"/v1/datasets/{dataset}/columns/price/histogram", params={"bins": 5}).json()
    assert (len(spread["counts"]), sum(spread["counts"])) == (5, 40)


def test_a_histogram_is_of_a_numeric_column_that_is_there(client, dataset):
    assert client.get(f"/v1/datasets/{dataset}/columns/city/histogram").status_code == 422
    assert client.get(f"/v1/datasets/{dataset}/columns/nobody/histogram").status_code == 404
    assert client.get(f"/v1/datasets/{dataset}/columns/size/histogram", params={"bins": 0}).status_code == 422


def test_a_column_may_be_called_anything(client):
    upload = client.post("/v1/datasets", content="a/b ü?,y\n1,2\n3,4\n", headers={"Content-Type": "text/csv"})
    name = quote("a/b ü?", safe="")
    answer = client.get(f"/v1/datasets/{upload.json()['id']}/columns/{name}/histogram")
    assert (answer.status_code, answer.json()["column"]) == (200, "a/b ü?")

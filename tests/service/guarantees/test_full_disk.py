"""A disk without room is said to be full, 507, and deleting makes room."""

import ctypes
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from service.app import create_app
from worker.store.files.disk_full import RESERVE_BYTES, Reserve

CSV = {"Content-Type": "text/csv"}
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=32m") != 0:
        pytest.skip(f"this process may mount nothing: {os.strerror(ctypes.get_errno())}")
    try:
        yield folder
    finally:
        libc.umount2(os.fsencode(folder), 2)


def _fill(folder: Path) -> None:
    """Write until there is no room."""
    with (folder / "ballast").open("ab", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_on_a_full_disk_requests_are_507_and_deleting_works(settings, small_disk):
    with TestClient(create_app(settings.model_copy(update={"home": small_disk}))) as client:
        kept = client.post("/v1/datasets", content=b"a,y\n1,2\n3,4\n5,6\n", headers=CSV).json()["id"]
        table = b"a,y\n" + b"".join(b"%d,%d\n" % (row, row) for row in range(20_000))
        large = client.post("/v1/datasets", content=table, headers=CSV).json()["id"]
        _fill(small_disk)
        refused = [
            client.post("/v1/datasets", content=b"b,y\n1,2\n", headers=CSV),
            *(
                client.post("/v1/jobs", json={"kind": "fit", "dataset": kept, "target": "y", "model": f"m{number}"})
                for number in range(200)
            ),
        ]
        assert {answer.status_code for answer in refused} <= {202, 507}
        told = [answer for answer in refused if answer.status_code == 507]
        assert told[-1] is refused[-1]
        for answer in told:
            assert answer.json()["code"] == "storage_full"
            assert int(answer.headers["retry-after"]) > 0
        assert "the disk of the database is full" in told[-1].json()["detail"]
        for path in ("/", "/v1/jobs", f"/v1/datasets/{kept}/rows"):
            assert client.get(path).status_code == 200
        assert client.delete(f"/v1/datasets/{large}").status_code == 204
        assert client.get(f"/v1/datasets/{large}").status_code == 404
        assert client.post("/v1/datasets", content=b"b,y\n1,2\n", headers=CSV).status_code == 201


def test_a_database_that_is_full_is_507(client, context, dataset):
    """Where no file system can be mounted: SQLite says the same of a file that may not grow."""
    connections = []

    def bounded(connection, *_):
        cursor = connection.execute("PRAGMA page_count")
        connection.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
        connections.append(connection)

    event.listen(context.database.engine, "checkout", bounded)
    answers = [
        client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "price", "model": "x" * 100})
        for _ in range(50)
    ]
    event.remove(context.database.engine, "checkout", bounded)
    full = next(answer for answer in answers if answer.status_code != 202)
    assert (full.status_code, full.json()["code"]) == (507, "storage_full")
    assert "database" in full.json()["detail"]
    assert connections


def test_a_reserve_is_kept_given_once_and_kept_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve")
    assert not reserve.give()
    reserve.keep()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    assert reserve.give()
    assert list(tmp_path.iterdir()) == []
    reserve.keep()
    assert reserve.give()


@pytest.mark.parametrize("encoding", ["gzip", None])
def test_a_full_disk_is_no_fault_of_a_body_that_is_unpacked(small_disk, settings, encoding):
    packed = io.BytesIO()
    np.savez_compressed(packed, X=np.zeros((600_000, 10)), y=np.zeros(600_000))
    body = gzip.compress(b"a,y\n" + b"1,2\n" * 12_000_000) if encoding else packed.getvalue()
    headers = {"Content-Type": "text/csv" if encoding else "application/x-npz"}
    if encoding:
        headers["Content-Encoding"] = encoding
    roomy = settings.model_copy(update={"home": small_disk, "max_body_bytes": 10**9})
    with TestClient(create_app(roomy)) as client:
        answer = client.post("/v1/datasets", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full"), answer.text
        assert not list((small_disk / "tmp").iterdir())

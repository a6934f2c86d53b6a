"""Bodies made to hurt. Each is refused with a reason, in bounded memory and time, and leaves nothing on disk."""

import gzip
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.ipc
import pytest
from support.processes import System

MIB = 2**20
MAX_BYTES = 64 * MIB
MAX_GROWTH = 300 * MIB
MAX_SECONDS = 20.0
CSV = "text/csv"
ZEROS = b"\0" * (MAX_BYTES + MIB)


@pytest.fixture(scope="module")
def system(queue_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    home = tmp_path_factory.mktemp("bombs")
    system = System(home, queue_address, queue=home.name, max_body_bytes=str(MAX_BYTES), max_json_bytes=str(2 * MIB))
    system.start_api()
    yield system
    system.stop()


def _npz_bomb() -> bytes:
    body = io.BytesIO()
    np.savez_compressed(body, X=np.zeros((MAX_BYTES // 8 + 1, 1)), y=np.zeros(3))
    return body.getvalue()


def _dictionary() -> bytes:
    indices = pa.array(np.zeros(100_000, np.int32))
    table = pa.table({"a": pa.DictionaryArray.from_arrays(indices, pa.array(["x" * MIB]))})
    body = io.BytesIO()
    with pa.ipc.new_stream(body, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return body.getvalue()


def _form(parts: bytes) -> tuple[bytes, dict[str, str]]:
    return parts + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


def _field(name: bytes, extra: bytes = b"") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="' + name + b'"\r\n' + extra + b"\r\nx\r\n"


def _encoded(body: bytes, encoding: str) -> tuple[bytes, dict[str, str]]:
    return body, {"Content-Type": CSV, "Content-Encoding": encoding}


def _plain(body: bytes, kind: str = CSV) -> tuple[bytes, dict[str, str]]:
    return body, {"Content-Type": kind}


BOMBS: dict[str, Callable[[], tuple[bytes, dict[str, str]]]] = {
    "gzip": lambda: _encoded(gzip.compress(ZEROS), "gzip"),
    "gzip in many members": lambda: _encoded(gzip.compress(b"\0" * MIB) * 66, "gzip"),
    "gzip in gzip": lambda: _encoded(gzip.compress(gzip.compress(ZEROS)), "gzip"),
    "zstd": lambda: _encoded(pa.Codec("zstd").compress(ZEROS, asbytes=True), "zstd"),
    "npz": lambda: _plain(_npz_bomb(), "application/x-npz"),
    "Arrow dictionary": lambda: _plain(_dictionary(), "application/vnd.apache.arrow.stream"),
    "CSV of one line": lambda: _plain(b"a,b\n" + b"1" * (40 * MIB)),
    "CSV of one header": lambda: _plain(b"a" * (40 * MIB)),
    "CSV of one open quote": lambda: _plain(b'a,b\n"' + b"1\n" * (20 * MIB)),
    "JSON of one row": lambda: _plain(
        b'{"columns": ["a"], "rows": [[' + b"1," * (20 * MIB) + b"1]]}", "application/json"
    ),
    "JSON of one text": lambda: _plain(
        b'{"columns": ["a"], "rows": [["' + b"x" * (40 * MIB) + b'"]]}', "application/json"
    ),
    "JSON of one number": lambda: _plain(
        b'{"columns": ["a"], "rows": [[' + b"9" * 100_000 + b"]]}", "application/json"
    ),
    "deep JSON": lambda: _plain(b"[" * (10 * MIB), "application/json"),
    "form of endless parts": lambda: _form(b"".join(_field(b"%d" % index) for index in range(50_000))),
    "form of endless headers": lambda: _form(_field(b"a", b"".join(b"X-%d: y\r\n" % i for i in range(100_000)))),
    "form of one long header": lambda: _form(_field(b"a", b"X: " + b"y" * (20 * MIB) + b"\r\n")),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_bounded_memory_and_time_and_leaves_nothing(system: System, name: str) -> None:
    body, headers = BOMBS[name]()
    assert system.api is not None
    before = _peak(system.api.pid)
    began = time.monotonic()
    answer = system.client.post("/v1/datasets", content=body, headers=headers)
    seconds, growth = time.monotonic() - began, _peak(system.api.pid) - before
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) < 1000
    assert growth < MAX_GROWTH, growth // MIB
    assert seconds < MAX_SECONDS
    assert list((system.home / "tmp").glob("*")) == []
    assert not [path for path in (system.home / "artifacts").rglob("*") if path.is_file()]


ODD = {
    "doubled key": '{"kind": "fit", "kind": "predict", "dataset": "ds_01jd0000000000000000000000"}',
    "NaN": '{"kind": "fit", "dataset": "ds_01jd0000000000000000000000", "target": "y", "spec": {"ridge": NaN}}',
    "long number": '{"kind": "fit", "spec": {"ridge": ' + "9" * 100_000 + "}}",
    "long exponent": '{"kind": "fit", "spec": {"ridge": 1e' + "9" * 100_000 + "}}",
    "deep": '{"kind": ' + "[" * 100_000,
    "lone surrogate": '{"kind": "\\ud800"}',
    "NUL": '{"kind": "fit", "dataset": "ds_01jd0000000000000000000000", "target": "\\u0000"}',
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
def test_odd_json_is_refused_with_a_short_reason(system: System, path: str, name: str) -> None:
    body = ODD[name] if path == "/v1/jobs" else f"[{ODD[name]}]"
    answer = system.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert len(json.dumps(answer.json())) < 5000


@pytest.mark.parametrize(
    "address",
    [
        "/v1/jobs?model=" + "x" * 60_000,
        "/v1/jobs?" + "&".join(f"a{index}=1" for index in range(8000)),
        "/v1/jobs?limit=" + "9" * 50_000,
        "/v1/jobs?after=" + "a" * 50_000,
        "/" + "a/" * 30_000,
    ],
    ids=["value", "parameters", "number", "after", "path"],
)
def test_a_very_long_address_is_answered(system: System, address: str) -> None:
    answer = system.client.get(address)
    assert answer.status_code in (200, 400, 404, 422)
    assert len(answer.content) < 10_000


@pytest.mark.parametrize("value", ["9" * 30_000, "-1", "1e9", "²", "99999999999999999999"])
def test_numbers_in_headers_are_read_or_refused_and_break_nothing(system: System, value: str) -> None:
    for header, path in (("Last-Event-ID", "/v1/jobs/none/events"), ("Range", "/v1/jobs")):
        headers = {header: (f"bytes={value}-" if header == "Range" else value).encode()}
        assert system.client.get(path, headers=headers).status_code in (200, 404, 422)


def test_a_connect_of_a_path_is_no_request(system: System) -> None:
    assert system.client.request("CONNECT", "/v1/jobs").status_code == 400


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PATCH", "DELETE", "X" * 500])
def test_an_unknown_method_is_405(system: System, method: str) -> None:
    answer = system.client.request(method, "/v1/jobs")
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def _peak(pid: int) -> int:
    """Return the most memory that the API and the process that reads its tables have held, in bytes."""
    held = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children()]:
        status = Path(f"/proc/{process.pid}/status").read_text()
        held += 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return held

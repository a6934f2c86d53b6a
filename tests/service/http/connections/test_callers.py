"""Callers who are slow, who read nothing or who leave hold little, and not for long."""

import json
import socket
import time
from contextlib import ExitStack, suppress

import psutil
import pytest
from support.processes import System, wait_until
from support.wire import HEAD_SECONDS, LIVE, OFFER, STALL_SECONDS, all_of, is_alive

PIECE = 2**13

ENDLESS = 2**28
KEPT_SECONDS = 5
"""How long uvicorn keeps a connection on which nothing comes."""


def _drip(connection: socket.socket, piece: bytes, seconds: float) -> float:
    """Send a piece every tenth of a second. Returns after how many seconds the server would have no more."""
    began = time.monotonic()
    connection.settimeout(0.1)
    while time.monotonic() < began + seconds:
        try:
            connection.sendall(piece)
            if connection.recv(2**16) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def test_a_head_that_drips_is_dropped(system: System, connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
    assert _drip(connection, b"X-A: b\r\n", 10) < HEAD_SECONDS + 2
    assert is_alive(system)


def test_a_drop_is_not_told_of_the_request_before_it(system: System, connection: socket.socket) -> None:
    before = len((system.home / "api.log").read_text())
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: first\r\n\r\nGET / HTTP/1.1\r\nHos")
    assert all_of(connection).startswith(b"HTTP/1.1 200")
    told = [json.loads(line) for line in (system.home / "api.log").read_text()[before:].splitlines()]
    assert [line.get("request_id") for line in told if line["event"] == "connection dropped"] == [None]


def test_another_protocol_is_answered_at_once(connection: socket.socket) -> None:
    began = time.monotonic()
    # the beginning of a TLS handshake
    connection.sendall(bytes.fromhex("16030100f8010000f40303"))
    assert all_of(connection).startswith(b"HTTP/1.1 400")
    assert time.monotonic() - began < HEAD_SECONDS


def test_a_second_head_that_drips_is_dropped_too(connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(2**16).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET /livez HTTP/1.1\r\n")
    assert _drip(connection, b"X-A: b\r\n", 10) < HEAD_SECONDS + 2


def test_a_connection_that_says_nothing_is_dropped(connection: socket.socket) -> None:
    assert all_of(connection) == b""


@pytest.mark.parametrize("piece", [b"", b"1"], ids=["stalls", "drips"])
def test_a_body_that_hardly_comes_is_refused_and_leaves_nothing(
    system: System, connection: socket.socket, piece: bytes
) -> None:
    connection.sendall(b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n")
    connection.sendall(b"Content-Length: 100000\r\n\r\na,b\n")
    if piece:
        assert _drip(connection, piece, 20) < STALL_SECONDS * 3
    else:
        answer = all_of(connection)
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert b'"body_too_slow"' in answer
        assert b"connection: close" in answer.lower()
    assert list((system.home / "tmp").glob("*")) == []


def test_the_rest_of_a_refused_body_is_not_waited_for(connection: socket.socket) -> None:
    connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n{")
    assert b" 413 " in connection.recv(2**16)
    assert _drip(connection, b"1", 10) < HEAD_SECONDS + 2


@pytest.fixture
def followed(system: System) -> str:
    """The address of the events of a job that waits."""
    upload = system.client.post(
        "/v1/datasets", content="a,y\n" + "1,2\n2,3\n" * 20, headers={"Content-Type": "text/csv"}
    ).json()["id"]
    return f"/v1/jobs/{system.submit(dataset=upload)}/events"


def test_a_stream_to_a_caller_of_old_has_no_lengths_in_it(followed: str, connection: socket.socket) -> None:
    connection.sendall(f"GET {followed} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n".encode())
    found = b""
    while b"\n\n" not in found.partition(b"\r\n\r\n")[2]:
        block = connection.recv(2**16)
        assert block, found
        found += block
    head, _, stream = found.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert stream.startswith((b"id:", b"event:", b":", b"retry:")), stream


@pytest.mark.parametrize("behind", [b"", LIVE, LIVE[:10]], ids=["nothing", "a request", "a part of one"])
def test_a_follower_who_leaves_gives_the_place_back(system: System, followed: str, behind: bytes) -> None:
    follow = f"GET {followed} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", system.port)) as connection:
            connection.sendall(follow + behind)
            wait_until(lambda one=connection: one.recv(20).startswith(b"HTTP/1.1 200"), 10, "the stream begins")
        time.sleep(0.3)


def _open_connections(system: System) -> int:
    assert system.api is not None
    return len(psutil.Process(system.api.pid).net_connections("tcp"))


def test_whoever_takes_no_answer_is_dropped_also_after_an_offer_and_a_whole_answer(system: System) -> None:
    before = _open_connections(system)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", system.port))
        for _ in range(40):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.01)
        with suppress(OSError):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\n" + OFFER + b"\r\n")
        wait_until(lambda: _open_connections(system) <= before, 10, "the connection is dropped")


def test_requests_without_end_wait_where_they_come_from(system: System, connection: socket.socket) -> None:
    assert system.api is not None
    process = psutil.Process(system.api.pid)
    before = process.memory_info().rss
    sent = 0
    connection.settimeout(0.3)
    with suppress(TimeoutError):
        while sent < ENDLESS:
            sent += connection.send(LIVE * 2000)
    assert sent < ENDLESS, "the server took all of it"
    assert process.memory_info().rss - before < 2**25


def test_a_request_that_came_with_another_is_not_ended_by_the_pause_between_them(system: System) -> None:
    upload = system.client.post(
        "/v1/datasets", content="a,y\n" + "1,2\n2,3\n" * 20, headers={"Content-Type": "text/csv"}
    ).json()["id"]
    follow = f"GET /v1/jobs/{system.submit(dataset=upload)}/events HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", system.port)) as connection:
        # so long that no more than the beginning of the second is looked at before the first is answered
        first = LIVE[:-2] + b"X-A: " + b"a" * (PIECE - len(LIVE) - 20) + b"\r\n\r\n"
        connection.sendall(first + follow.encode() + b"Accept: text/event-stream\r\n\r\n")
        connection.settimeout(KEPT_SECONDS + 1)
        with suppress(TimeoutError):
            while connection.recv(2**16):
                pass
            pytest.fail("the connection was ended")


def test_a_follower_who_reads_nothing_holds_little_and_those_who_come_after_are_told(system: System) -> None:
    upload = system.client.post(
        "/v1/datasets", content="a,y\n" + "1,2\n2,3\n" * 20, headers={"Content-Type": "text/csv"}
    ).json()["id"]
    job = system.submit(dataset=upload)
    request = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
    followers = [socket.create_connection(("127.0.0.1", system.port)) for _ in range(2)]
    try:
        for one in followers:
            one.sendall(request)
            assert one.recv(20).startswith(b"HTTP/1.1 200")
        refused = system.client.get(f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_followers")
        assert refused.headers["retry-after"]
        assert system.client.get(f"/v1/jobs/{job}/events").status_code == 200, "the list is not a stream"
    finally:
        for one in followers:
            one.close()


def test_a_download_that_nobody_reads_is_given_up(system: System) -> None:
    table = b"a,y\n" + b"1,2\n" * 2_000_000
    stored = system.client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"})
    place = stored.headers["location"].encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", system.port))
        before = len((system.home / "api.log").read_text())
        connection.sendall(b"GET " + place + b"/content HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: "takes no answer" in (system.home / "api.log").read_text()[before:], 10, "it is dropped")
        connection.settimeout(10)
        assert len(all_of(connection)) < len(table)


def test_whoever_takes_all_but_the_last_bytes_is_dropped_too(system: System) -> None:
    table = b"a,y\n" + b"1,2\n" * 1_000_000
    stored = system.client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"})
    place = stored.headers["location"].encode()
    before = _open_connections(system)
    with ExitStack() as stack:
        # of one of these lengths the kernels take nearly all
        for length in range(2**18, len(table), 3 * 2**14):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", system.port))
            head = b"GET " + place + b"/content HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-%d\r\n\r\n" % length
            connection.sendall(head)
        wait_until(lambda: _open_connections(system) <= before, KEPT_SECONDS + 10, "all of them are dropped")


def test_a_download_that_is_left_closes_its_file(system: System) -> None:
    assert system.api is not None
    process = psutil.Process(system.api.pid)
    table = b"a,y\n" + b"3,4\n" * 2_000_000
    stored = system.client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"}).json()["id"]

    def opened() -> list[str]:
        return [file.path for file in process.open_files() if stored in file.path]

    for _ in range(5):
        with socket.create_connection(("127.0.0.1", system.port)) as connection:
            connection.sendall(f"GET /v1/datasets/{stored}/content HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            wait_until(lambda: opened() != [], 10, "the file is opened")
    wait_until(lambda: opened() == [], 5, "the files are closed")


@pytest.mark.parametrize("asked", ["", "Range: bytes=100-\r\n"])
def test_a_download_of_a_damaged_file_breaks_off(system: System, asked: str) -> None:
    table = b"a,y\n" + b"5,6\n" * 1_000_000 + f"7,{len(asked)}\n".encode()
    stored = system.client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"}).json()["id"]
    request = f"GET /v1/datasets/{stored}/content HTTP/1.1\r\nHost: localhost\r\n{asked}\r\n".encode()
    with (system.home / "artifacts" / "datasets" / stored / "content").open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"8")
    with socket.create_connection(("127.0.0.1", system.port)) as connection:
        connection.settimeout(30)
        connection.sendall(request)
        answer = all_of(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    if asked:
        assert b"artifact_corrupt" in body
    else:
        assert b"200 OK" in head
        assert b"Content-Length: %d" % len(table) in head or b"content-length: %d" % len(table) in head
        assert len(body) < len(table)


WIDE = "\n".join(
    ",".join(f"{'c' if row == 0 else row}{column}" for column in range(20_000)) for row in range(25)
).encode()
UPLOAD = (
    b"POST /v1/datasets?name=wide HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
    b"Content-Length: %d\r\n\r\n" % len(WIDE)
)


def _readers(system: System) -> set[int]:
    """Return the processes that read tables."""
    assert system.api is not None
    found = set()
    for process in psutil.Process(system.api.pid).children(recursive=True):
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if "worker.tables.reader_process" in process.cmdline():
                found.add(process.pid)
    return found


def test_a_table_is_not_read_to_its_end_for_a_caller_who_has_closed(system: System) -> None:
    system.client.post("/v1/datasets", content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"})
    before = _readers(system)
    with socket.create_connection(("127.0.0.1", system.port)) as connection:
        connection.sendall(UPLOAD + WIDE)
        time.sleep(0.5)
    wait_until(lambda: not before & _readers(system), 8, "the reader is ended")
    names = {dataset["name"] for dataset in system.client.get("/v1/datasets").json()["items"]}
    assert "wide" not in names


def test_a_caller_who_waits_behind_a_half_closed_connection_is_answered(connection: socket.socket) -> None:
    connection.settimeout(60)
    connection.sendall(UPLOAD.replace(b"name=wide", b"name=kept") + WIDE)
    connection.shutdown(socket.SHUT_WR)
    answer = all_of(connection)
    interim = b"HTTP/1.1 102 \r\n\r\n"
    assert answer.startswith(interim)
    assert answer.replace(interim, b"").startswith(b"HTTP/1.1 201 ")

"""What a caller may do to a connection. Raw bytes to a real server, whose times are short."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest
from support.processes import System, valkey, wait_until

from service.quick_connections import PIECE

HEAD_SECONDS = 0.4
STALL_SECONDS = 0.6
ENDLESS = 2**28
LIVE = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
KEPT_SECONDS = 5
"""How long uvicorn keeps a connection on which nothing comes."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("connections")
    with valkey(folder) as address:
        times = {"head_seconds": str(HEAD_SECONDS), "stall_seconds": str(STALL_SECONDS)}
        system = System(folder / "home", address, max_followers_per_project="2", **times)
        system.start_api()
        yield system
        system.stop()


@pytest.fixture
def connection(system: System) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", system.port), timeout=20) as connection:
        yield connection


def _all_of(connection: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    found = bytearray()
    try:
        while block := connection.recv(2**16):
            found += block
    except ConnectionResetError:
        pass
    return bytes(found)


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


def _answer(connection: socket.socket) -> bytes:
    """Return one whole answer that says its length."""
    found = b""
    while (body := found.partition(b"\r\n\r\n"))[1] == b"" or len(body[2]) < _length(body[0]):
        block = connection.recv(2**16)
        assert block, found
        found += block
    return found


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def _pour(connection: socket.socket, piece: bytes) -> None:
    """Send a piece again and again, 10 MB and more in all."""
    for _ in range(1000):
        connection.sendall(piece)
        time.sleep(0.001)


def _alive(system: System) -> bool:
    return bool(system.client.get("/livez").status_code == 200)


def test_a_head_that_drips_is_dropped(system: System, connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n")
    assert _drip(connection, b"X-A: b\r\n", 10) < HEAD_SECONDS + 2
    assert _alive(system)


def test_a_second_head_that_drips_is_dropped_too(connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.recv(2**16).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET /livez HTTP/1.1\r\n")
    assert _drip(connection, b"X-A: b\r\n", 10) < HEAD_SECONDS + 2


def test_a_connection_that_says_nothing_is_dropped(connection: socket.socket) -> None:
    assert _all_of(connection) == b""


@pytest.mark.parametrize("piece", [b"", b"1"], ids=["stalls", "drips"])
def test_a_body_that_hardly_comes_is_refused_and_leaves_nothing(
    system: System, connection: socket.socket, piece: bytes
) -> None:
    head = b"POST /v1/datasets HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\nContent-Length: 100000\r\n\r\na,b\n"
    connection.sendall(head)
    if piece:
        assert _drip(connection, piece, 20) < STALL_SECONDS * 3
    else:
        answer = _all_of(connection)
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert b'"body_too_slow"' in answer
        assert b"connection: close" in answer.lower()
    assert list((system.home / "tmp").glob("*")) == []


def test_the_rest_of_a_refused_body_is_not_waited_for(connection: socket.socket) -> None:
    connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n{")
    assert b" 413 " in connection.recv(2**16)
    assert _drip(connection, b"1", 10) < HEAD_SECONDS + 2


SMUGGLED = {
    "both lengths": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET /v1/datasets HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "no number": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
    "endless number": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 9000 + b"\r\n\r\nabcd",
    "other encoding": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\nabcd",
    "space before the colon": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nabcd",
    "folded header": b"GET /livez HTTP/1.1\r\nHost: a\r\nX-A: b\r\n GET /v1/jobs HTTP/1.1\r\nX: \x00\r\n\r\n",
    "bare line feed in a value": b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-ID: a\rSet-Cookie: b\r\n\r\n",
    "huge head": b"GET /livez HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "huge head in small headers": b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
    "huge target": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "version of long ago": b"GET /livez HTTP/0.9\r\nHost: a\r\n\r\n",
    "version to come": b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n",
    "no number of a chunk": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0x4\r\nabcd\r\n0\r\n\r\n",
    "two encodings": b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_bytes_that_two_servers_could_read_in_two_ways_are_answered_once_and_refused(
    system: System, connection: socket.socket, name: str
) -> None:
    connection.sendall(SMUGGLED[name])
    answer = _all_of(connection)
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert _alive(system)


CHUNKED = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_headers_behind_the_body_are_none(connection: socket.socket) -> None:
    change = (
        b"PATCH /v1/models/none"
        + CHUNKED
        + b"2\r\n{}\r\n0\r\nContent-Type: application/json\r\nX-Request-ID: told-late\r\n\r\n"
    )
    connection.sendall(change)
    answer = _all_of(connection)
    assert answer.startswith(b"HTTP/1.1 415"), answer
    assert b"told-late" not in answer


@pytest.mark.parametrize(
    "endless",
    [b"0\r\nX-A: ", b"0\r\n", b"2;a="],
    ids=["a header behind the body", "headers behind it", "a chunk's name"],
)
def test_what_is_around_the_pieces_of_a_body_has_an_end(
    system: System, connection: socket.socket, endless: bytes
) -> None:
    connection.sendall(b"POST /v1/jobs" + CHUNKED + endless)
    piece = b"X-A: bcde\r\n" * 1000 if endless.endswith(b"\r\n") else b"a" * 10_000
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        _pour(connection, piece)
    assert _alive(system)


def test_a_head_that_has_no_end_is_not_kept(system: System, connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-A: ")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        _pour(connection, b"a" * 10_000)
    assert _alive(system)


def test_an_offer_of_another_protocol_is_not_taken_and_hides_no_body(connection: socket.socket) -> None:
    offer = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    for _ in range(2):
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\n" + offer)
        connection.sendall(b"Content-Type: application/json\r\nContent-Length: 29\r\n\r\n")
        time.sleep(0.05)
        connection.sendall(b"GET /v1/jobs HTTP/1.1\r\n\r\nabcd")
        assert _answer(connection).startswith(b"HTTP/1.1 422")
    connection.sendall(b"GET /livez HTTP/1.1\r\n" + offer + b"\r\n")
    assert _answer(connection).startswith(b"HTTP/1.1 200")


OFFER = b"Host: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Type: application/json\r\n"
HIDDEN = b"GET /v1/jobs/hidden HTTP/1.1\r\nHost: a\r\n\r\n"
OFFERED = {
    "a length": b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "pieces": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", OFFERED)
@pytest.mark.parametrize("step", [1, 50, 10_000])
def test_a_body_behind_an_offer_is_read_however_it_comes(connection: socket.socket, body: str, step: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent = b"POST /v1/jobs HTTP/1.1\r\n" + OFFER + OFFERED[body] + b"GET /v1/jobs/next HTTP/1.1\r\nHost: a\r\n"
    sent += b"Connection: close\r\n\r\n"
    for start in range(0, len(sent), step):
        connection.sendall(sent[start : start + step])
    answers = _all_of(connection)
    assert answers.startswith(b"HTTP/1.1 422"), answers
    assert answers.count(b"HTTP/1.1 ") == 2, answers
    assert b"next" in answers
    assert b"/v1/jobs/hidden" not in answers


FIRST = HIDDEN.replace(b"hidden", b"first")


def test_an_offer_behind_another_request_hides_nothing(connection: socket.socket) -> None:
    connection.sendall(FIRST + b"POST /v1/jobs HTTP/1.1\r\nConnection: close\r\n" + OFFER + OFFERED["a length"])
    answers = _all_of(connection)
    assert re.findall(rb"HTTP/1.1 (...)", answers) == [b"404", b"422"]
    assert b"/v1/jobs/hidden" not in answers


@pytest.mark.parametrize(
    "wrong", [b"\x00\r\n\r\n", b"GET /livez HTTP/1.1\r\n\r\n", b" ", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"]
)
def test_what_is_no_request_takes_no_answer_from_those_before_it(connection: socket.socket, wrong: bytes) -> None:
    connection.sendall(FIRST * 2 + wrong)
    answers = _all_of(connection)
    assert answers.count(b"/v1/jobs/first") == 2, answers
    assert b"HTTP/1.1 400" not in answers
    assert answers.count(b"HTTP/1.1 ") <= 3


@pytest.mark.parametrize(
    "line", [b"GET /livez HTTP/1.0", b"GET http://a/livez HTTP/1.1", b"GET /livez?a=\x7e HTTP/1.1"]
)
def test_a_request_that_begins_otherwise_is_answered_too(connection: socket.socket, line: bytes) -> None:
    connection.sendall(line + b"\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert _all_of(connection).startswith((b"HTTP/1.1 200", b"HTTP/1.1 404"))


@pytest.mark.parametrize("line", [b"GET /livez RTSP/1.0", b"SOURCE /livez ICE/1.0", b"GET /livez"])
def test_what_is_of_another_protocol_is_refused(connection: socket.socket, line: bytes) -> None:
    connection.sendall(line + b"\r\nHost: a\r\n\r\n")
    assert _all_of(connection).startswith(b"HTTP/1.1 400")


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
    follow = f"GET {followed} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n".encode()
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
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.01)
        with suppress(OSError):
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\n" + OFFER + b"\r\n")
        wait_until(lambda: _open_connections(system) <= before, 10, "the connection is dropped")


def test_a_tunnel_is_not_opened(connection: socket.socket) -> None:
    connection.sendall(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + HIDDEN)
    answer = _all_of(connection)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_request_may_come_byte_by_byte(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(2):
        for byte in b"PATCH /v1/models/none HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
            connection.sendall(bytes([byte]))
        assert _answer(connection).startswith(b"HTTP/1.1 415")


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


def test_many_requests_in_a_row_are_all_answered(connection: socket.socket) -> None:
    count = 3000
    sender = threading.Thread(target=connection.sendall, args=(LIVE * count,))
    sender.start()
    with connection.makefile("rb") as answers:
        for _ in range(count):
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            head = b"".join(iter(answers.readline, b"\r\n"))
            answers.read(_length(head))
    sender.join()


def test_a_request_that_came_with_another_is_not_ended_by_the_pause_between_them(system: System) -> None:
    upload = system.client.post(
        "/v1/datasets", content="a,y\n" + "1,2\n2,3\n" * 20, headers={"Content-Type": "text/csv"}
    ).json()["id"]
    follow = f"GET /v1/jobs/{system.submit(dataset=upload)}/events HTTP/1.1\r\nHost: a\r\n"
    with socket.create_connection(("127.0.0.1", system.port)) as connection:
        # so long that no more than the beginning of the second is looked at before the first is answered
        first = LIVE[:-2] + b"X-A: " + b"a" * (PIECE - len(LIVE) - 20) + b"\r\n\r\n"
        connection.sendall(first + follow.encode() + b"Accept: text/event-stream\r\n\r\n")
        connection.settimeout(KEPT_SECONDS + 1)
        with suppress(TimeoutError):
            while connection.recv(2**16):
                pass
            pytest.fail("the connection was ended")


def test_requests_sent_in_a_row_are_answered_in_their_order(connection: socket.socket) -> None:
    connection.sendall(b"".join(b"GET /v1/jobs/job_%d HTTP/1.1\r\nHost: a\r\n\r\n" % k for k in range(20)))
    found = b""
    while found.count(b"HTTP/1.1 404") < 20 or b"job_19" not in found.rpartition(b"HTTP/1.1")[2]:
        block = connection.recv(2**16)
        assert block, found
        found += block
    bodies = found.split(b"HTTP/1.1 404")[1:]
    assert [b"job_%d'" % k in body or b'job_%d"' % k in body for k, body in enumerate(bodies)] == [True] * 20


def test_a_follower_who_reads_nothing_holds_little_and_those_who_come_after_are_told(system: System) -> None:
    upload = system.client.post(
        "/v1/datasets", content="a,y\n" + "1,2\n2,3\n" * 20, headers={"Content-Type": "text/csv"}
    ).json()["id"]
    job = system.submit(dataset=upload)
    request = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n".encode()
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
        connection.sendall(b"GET " + place + b"/content HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: "takes no answer" in (system.home / "api.log").read_text()[before:], 10, "it is dropped")
        connection.settimeout(10)
        assert len(_all_of(connection)) < len(table)


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
            head = b"GET " + place + b"/content HTTP/1.1\r\nHost: a\r\nRange: bytes=0-%d\r\n\r\n" % length
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
            connection.sendall(f"GET /v1/datasets/{stored}/content HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            wait_until(lambda: opened() != [], 10, "the file is opened")
    wait_until(lambda: opened() == [], 5, "the files are closed")


def test_what_a_caller_writes_is_one_line_of_the_log(system: System) -> None:
    before = len((system.home / "api.log").read_text())
    system.client.get("/v1/jobs/a%0d%0a%7b%22level%22:%22critical%22%7d", headers={"X-Request-ID": 'a", "b": "c'})
    lines = [line for line in (system.home / "api.log").read_text()[before:].splitlines() if "critical" in line]
    assert [json.loads(line)["event"] for line in lines] == ["request"]
    assert json.loads(lines[0])["request_id"].isalnum()

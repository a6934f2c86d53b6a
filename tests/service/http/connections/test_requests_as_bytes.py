"""Bytes that are no request, or two, or none like most: each is answered once, in its order, or refused."""

import json
import re
import socket
import threading
import time
from contextlib import suppress

import pytest
from support.processes import System
from support.wire import HEAD_SECONDS, LIVE, OFFER, all_of, is_alive, length_in, one_answer

from service.http.middleware.security_headers import ALWAYS
from service.http.strict_http import MAX_HEAD_BYTES

KEEP_ALIVE_SECONDS = 4
HIDDEN = b"GET /v1/jobs/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"

POST = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: "
SMUGGLED = {
    "both lengths": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/datasets HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two lengths": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "no number": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: +4\r\n\r\nabcd",
    "endless number": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 9000 + b"\r\n\r\nabcd",
    "other encoding": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\nabcd",
    "space before the colon": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length : 4\r\n\r\nabcd",
    "folded header": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n GET /v1/jobs HTTP/1.1\r\nX: \x00\r\n\r\n",
    "bare line feed in a value": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\rSet-Cookie: b\r\n\r\n",
    "huge head": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "huge head in small headers": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
    "huge target": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: b\r\n\r\n",
    "version of long ago": b"GET /livez HTTP/0.9\r\nHost: localhost\r\n\r\n",
    "version to come": b"GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "no number of a chunk": b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0x4\r\nabcd\r\n0\r\n\r\n",
    "two encodings": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "bare line feeds": b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    "a bare line feed behind the line": b"GET /livez HTTP/1.1\nHost: localhost\r\n\r\n",
    "a bare line feed behind a header": b"GET /livez HTTP/1.1\r\nHost: localhost\nX-A: b\r\n\r\n",
    "a bare line feed before the end": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\n",
    "a bare return behind a header": b"GET /livez HTTP/1.1\r\nHost: localhost\rX-A: b\r\n\r\n",
    "two returns": b"GET /livez HTTP/1.1\r\nHost: localhost\r\r\n\r\n",
    "a fragment and a bare line feed": b"GET /livez#a HTTP/1.1\nHost: localhost\n\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\r\n\r\n",
    "a header folded by a tab": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n\tc\r\n\r\n",
    "a folded first header": b"GET /livez HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "a folded length": POST + b"Content-Length:\r\n 4\r\n\r\nabcd",
    "a length twice": POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "a length twice in one": POST + b"Content-Length: 4, 4\r\n\r\nabcd",
    "two lengths in one": POST + b"Content-Length: 4, 5\r\n\r\nabcde",
    "a length twice, in other letters": POST + b"Content-Length: 4\r\nCONTENT-LENGTH: 4\r\n\r\nabcd",
    "a length below zero": POST + b"Content-Length: -1\r\n\r\nabcd",
    "a length in hexadecimal digits": POST + b"Content-Length: 0x4\r\n\r\nabcd",
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nabcdefghij",
    "a length of nothing": POST + b"Content-Length:\r\n\r\nabcd",
    "a chunked body of long ago": b"POST /v1/jobs HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an encoding of nothing": POST + b"Transfer-Encoding:\r\n\r\nabcd",
    "an encoding after chunked": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a chunk of no size": CHUNKS + b";a\r\nabcd\r\n0\r\n\r\n",
    "a chunk's size below zero": CHUNKS + b"-4\r\nabcd\r\n0\r\n\r\n",
    "a chunk's size with an underscore": CHUNKS + b"0_4\r\nabcd\r\n0\r\n\r\n",
    "a chunk's size without end": CHUNKS + b"0" * 17 + b"4\r\nabcd\r\n0\r\n\r\n",
    "a space behind a chunk's size": CHUNKS + b"4 \r\nabcd\r\n0\r\n\r\n",
    "a chunk's size and a bare line feed": CHUNKS + b"4\nabcd\r\n0\r\n\r\n",
    "a bare return in a chunk's extension": CHUNKS + b"4;a\rb\r\nabcd\r\n0\r\n\r\n",
    "a bare line feed in a chunk's extension": CHUNKS + b"4;a\nb\r\nabcd\r\n0\r\n\r\n",
    "a NUL in a chunk's extension": CHUNKS + b"4;a\x00b\r\nabcd\r\n0\r\n\r\n",
    "a chunk's extension without end": CHUNKS + b"4;" + b"a" * 2000 + b"\r\nabcd\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKS + b"3\r\nabcd\r\n0\r\n\r\n",
    "a chunk that ends in a bare line feed": CHUNKS + b"4\r\nabcd\n0\r\n\r\n",
    "a bare line feed behind the last chunk": CHUNKS + b"4\r\nabcd\r\n0\r\n\n",
    "a bare line feed in a trailer": CHUNKS + b"4\r\nabcd\r\n0\r\nX-A: b\n\r\n",
    "a folded trailer": CHUNKS + b"4\r\nabcd\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "a space before a colon": b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "a tab before a colon": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A\t: b\r\n\r\n",
    "no colon": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A\r\n\r\n",
    "no name": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n: b\r\n\r\n",
    "a fragment": b"GET /livez#a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a fragment alone": b"GET # HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a fragment of an address": b"GET http://localhost/livez#a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an authority": b"GET localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an authority for a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel to a path": b"CONNECT /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an asterisk": b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path without a slash": b"GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address with a user": b"GET http://localhost@b/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address of no host": b"GET http:///livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address of another protocol": b"GET ftp://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two spaces": b"GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tab in the line": b"GET\t/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the target": b"GET /livez a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space behind the line": b"GET /livez HTTP/1.1 \r\nHost: localhost\r\n\r\n",
    "small letters of the protocol": b"GET /livez http/1.1\r\nHost: localhost\r\n\r\n",
    "a version of three numbers": b"GET /livez HTTP/1.1.1\r\nHost: localhost\r\n\r\n",
    "a version in between": b"GET /livez HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "no version": b"GET /livez\r\nHost: localhost\r\n\r\n",
    "a NUL in the target": b"GET /livez\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a NUL in a value": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: a\x00b\r\n\r\n",
    "a NUL in a name": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX\x00A: b\r\n\r\n",
    "a control character in a value": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: a\x0bb\r\n\r\n",
    "a deletion in a value": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: a\x7fb\r\n\r\n",
    "no ASCII in the target": "GET /livé HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "no ASCII in a name": "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-É: b\r\n\r\n".encode(),
    "no ASCII in the method": "GÉT /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "no ASCII in a length": POST + "Content-Length: ４\r\n\r\nabcd".encode(),
    "an empty line first": b"\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a head of one byte more": HEAD + b"a" * (MAX_HEAD_BYTES - len(HEAD) + 1) + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_bytes_that_two_servers_could_read_in_two_ways_are_answered_once_and_refused(
    system: System, connection: socket.socket, name: str
) -> None:
    with suppress(ConnectionError):
        connection.sendall(SMUGGLED[name] + HIDDEN)
    answer = all_of(connection)
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert b"application/problem+json" in answer
    head = answer.partition(b"\r\n\r\n")[0].lower().decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in head)
    assert {name.lower(): value for name, value in ALWAYS.items()}.items() <= headers.items()
    assert len(headers["x-request-id"]) == 32
    assert headers["cache-control"] == "no-store"
    assert is_alive(system)


def test_what_was_wrong_with_a_head_is_said(connection: socket.socket) -> None:
    connection.sendall(SMUGGLED["huge head"])
    answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 431"), answer
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (problem["status"], problem["code"]) == (431, "invalid_http")
    assert str(MAX_HEAD_BYTES) in problem["detail"]


def test_a_head_of_the_largest_size_is_read(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"a" * (MAX_HEAD_BYTES - len(HEAD)) + b"\r\n\r\n")
    assert one_answer(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "body",
    [
        b"A;name=value\r\n0123456789\r\n0\r\n\r\n",
        b"4\r\n\r\n\n\r\r\n0\r\nX-A: b\r\n\r\n",
    ],
    ids=["an extension", "line ends in a chunk"],
)
def test_chunks_as_the_standard_writes_them_are_read(connection: socket.socket, body: bytes) -> None:
    connection.sendall(CHUNKS + body + LIVE)
    assert one_answer(connection).startswith(b"HTTP/1.1 415")


def test_values_hold_what_is_no_ascii(connection: socket.socket) -> None:
    connection.sendall("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A:\té \t\r\n\r\n".encode())
    assert one_answer(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("step", [1, 7])
def test_strictness_does_not_depend_on_how_bytes_come(connection: socket.socket, step: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent = SMUGGLED["a bare line feed behind a header"]
    with suppress(ConnectionError):
        for start in range(0, len(sent), step):
            connection.sendall(sent[start : start + step])
            time.sleep(0.002)
    assert all_of(connection).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://localhost/livez HTTP/1.1", b"200"),
        (b"GET HTTP://127.0.0.1:80/livez?a=b HTTP/1.1", b"200"),
        (b"GET http://localhost HTTP/1.1", b"200"),
        (b"GET http://localhost?a=b HTTP/1.1", b"200"),
        (b"GET https://localhost/v1/jobs/%6Aone HTTP/1.1", b"404"),
        (b"GET http://evil.example/livez HTTP/1.1", b"421"),
        (b"OPTIONS * HTTP/1.1", b"204"),
        (b"GET //localhost/livez HTTP/1.1", b"404"),
    ],
)
def test_a_target_may_name_its_host(connection: socket.socket, line: bytes, status: bytes) -> None:
    connection.sendall(line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = all_of(connection)
    assert re.findall(rb"HTTP/1.1 (...)", answer) == [status]
    if status == b"404":
        assert b"'jone'" in answer or b"//localhost/livez" in answer


def test_the_host_of_the_target_counts_and_not_the_header(connection: socket.socket) -> None:
    connection.sendall(b"GET http://localhost/livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert all_of(connection).startswith(b"HTTP/1.1 200")


HALF_CLOSED = {
    "a request": LIVE,
    "two requests": LIVE * 2,
    "a body": b"PATCH /v1/models/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    "a body in pieces": CHUNKS + b"3\r\nabc\r\n0\r\n\r\n",
    "a long answer": b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", HALF_CLOSED)
def test_whoever_says_that_nothing_more_will_come_is_answered(connection: socket.socket, name: str) -> None:
    sent = HALF_CLOSED[name]
    connection.sendall(sent)
    connection.shutdown(socket.SHUT_WR)
    began = time.monotonic()
    answers = all_of(connection)
    assert answers.count(b"HTTP/1.1 ") == sent.count(b" HTTP/1.1\r\n"), answers[:1000]
    head, _, body = answers.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    assert len(body) == length_in(head)
    assert time.monotonic() - began < KEEP_ALIVE_SECONDS, "the connection is not kept for more"


@pytest.mark.parametrize("sent", [LIVE[:-2], CHUNKS + b"3\r\nab", POST + b"Content-Length: 9\r\n\r\nabc"])
def test_a_request_that_stays_unfinished_is_not_waited_for(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    connection.shutdown(socket.SHUT_WR)
    began = time.monotonic()
    assert b"HTTP/1.1 2" not in all_of(connection)
    assert time.monotonic() - began < HEAD_SECONDS


CHUNKED = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_headers_behind_the_body_are_none(connection: socket.socket) -> None:
    change = (
        b"PATCH /v1/models/none"
        + CHUNKED
        + b"2\r\n{}\r\n0\r\nContent-Type: application/json\r\nX-Request-ID: told-late\r\n\r\n"
    )
    connection.sendall(change)
    answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 415"), answer
    assert b"told-late" not in answer


def _pour(connection: socket.socket, piece: bytes) -> None:
    """Send a piece again and again, 10 MB and more in all."""
    for _ in range(1000):
        connection.sendall(piece)
        time.sleep(0.001)


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
    assert is_alive(system)


def test_a_head_that_has_no_end_is_not_kept(system: System, connection: socket.socket) -> None:
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        _pour(connection, b"a" * 10_000)
    assert is_alive(system)


def test_an_offer_of_another_protocol_is_not_taken_and_hides_no_body(connection: socket.socket) -> None:
    offer = b"Host: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    offer += b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    for _ in range(2):
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\n" + offer)
        connection.sendall(b"Content-Type: application/json\r\nContent-Length: 29\r\n\r\n")
        time.sleep(0.05)
        connection.sendall(b"GET /v1/jobs HTTP/1.1\r\n\r\nabcd")
        assert one_answer(connection).startswith(b"HTTP/1.1 422")
    connection.sendall(b"GET /livez HTTP/1.1\r\n" + offer + b"\r\n")
    assert one_answer(connection).startswith(b"HTTP/1.1 200")


OFFERED = {
    "a length": b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "pieces": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", OFFERED)
@pytest.mark.parametrize("step", [1, 50, 10_000])
def test_a_body_behind_an_offer_is_read_however_it_comes(connection: socket.socket, body: str, step: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent = b"POST /v1/jobs HTTP/1.1\r\n" + OFFER + OFFERED[body] + b"GET /v1/jobs/next HTTP/1.1\r\nHost: localhost\r\n"
    sent += b"Connection: close\r\n\r\n"
    for start in range(0, len(sent), step):
        connection.sendall(sent[start : start + step])
    answers = all_of(connection)
    assert answers.startswith(b"HTTP/1.1 422"), answers
    assert answers.count(b"HTTP/1.1 ") == 2, answers
    assert b"next" in answers
    assert b"/v1/jobs/hidden" not in answers


FIRST = HIDDEN.replace(b"hidden", b"first")


def test_an_offer_behind_another_request_hides_nothing(connection: socket.socket) -> None:
    connection.sendall(FIRST + b"POST /v1/jobs HTTP/1.1\r\nConnection: close\r\n" + OFFER + OFFERED["a length"])
    answers = all_of(connection)
    assert re.findall(rb"HTTP/1.1 (...)", answers) == [b"404", b"422"]
    assert b"/v1/jobs/hidden" not in answers


@pytest.mark.parametrize(
    "wrong", [b"\x00\r\n\r\n", b"GET /livez HTTP/1.1\r\n\r\n", b" ", b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
def test_what_is_no_request_takes_no_answer_from_those_before_it(connection: socket.socket, wrong: bytes) -> None:
    connection.sendall(FIRST * 2 + wrong)
    answers = all_of(connection)
    assert answers.count(b"/v1/jobs/first") == 2, answers
    assert re.findall(rb"HTTP/1.1 (...)", answers) == [b"404", b"404", b"400"]


@pytest.mark.parametrize(
    "line", [b"GET /livez HTTP/1.0", b"GET http://localhost/livez HTTP/1.1", b"GET /livez?a=\x7e HTTP/1.1"]
)
def test_a_request_that_begins_otherwise_is_answered_too(connection: socket.socket, line: bytes) -> None:
    connection.sendall(line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert all_of(connection).startswith((b"HTTP/1.1 200", b"HTTP/1.1 404"))


@pytest.mark.parametrize("line", [b"GET /livez RTSP/1.0", b"SOURCE /livez ICE/1.0", b"GET /livez"])
def test_what_is_of_another_protocol_is_refused(connection: socket.socket, line: bytes) -> None:
    connection.sendall(line + b"\r\nHost: localhost\r\n\r\n")
    assert all_of(connection).startswith(b"HTTP/1.1 400")


def test_a_tunnel_is_not_opened(connection: socket.socket) -> None:
    connection.sendall(b"CONNECT a:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" + HIDDEN)
    answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_request_may_come_byte_by_byte(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(2):
        for byte in b"PATCH /v1/models/none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc":
            connection.sendall(bytes([byte]))
        assert one_answer(connection).startswith(b"HTTP/1.1 415")


def test_many_requests_in_a_row_are_all_answered(connection: socket.socket) -> None:
    count = 3000
    sender = threading.Thread(target=connection.sendall, args=(LIVE * count,))
    sender.start()
    with connection.makefile("rb") as answers:
        for _ in range(count):
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            head = b"".join(iter(answers.readline, b"\r\n"))
            answers.read(length_in(head))
    sender.join()


def test_requests_sent_in_a_row_are_answered_in_their_order(connection: socket.socket) -> None:
    connection.sendall(b"".join(b"GET /v1/jobs/job_%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % k for k in range(20)))
    found = b""
    while found.count(b"HTTP/1.1 404") < 20 or b"job_19" not in found.rpartition(b"HTTP/1.1")[2]:
        block = connection.recv(2**16)
        assert block, found
        found += block
    bodies = found.split(b"HTTP/1.1 404")[1:]
    assert [b"job_%d'" % k in body or b'job_%d"' % k in body for k, body in enumerate(bodies)] == [True] * 20


@pytest.mark.parametrize("offer", [b"Host: localhost\r\n", OFFER])
def test_a_request_inherits_nothing_of_the_one_before_it(
    system: System, connection: socket.socket, offer: bytes
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    named = b"GET /v1/jobs HTTP/1.1\r\n%btraceparent: 00-%b-00f067aa0ba902b7-01\r\n\r\n" % (offer, trace.encode())
    before = len((system.home / "api.log").read_text())
    connection.sendall(named + b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert all_of(connection).count(b"HTTP/1.1 200") == 2
    told = [json.loads(line) for line in (system.home / "api.log").read_text()[before:].splitlines()]
    traced = {line["path"]: line.get("trace_id") for line in told if line["event"] == "request"}
    assert traced == {"/v1/jobs": trace, "/v1/models": None}


def test_what_a_caller_writes_is_one_line_of_the_log(system: System) -> None:
    before = len((system.home / "api.log").read_text())
    system.client.get("/v1/jobs/a%0d%0a%7b%22level%22:%22critical%22%7d", headers={"X-Request-ID": 'a", "b": "c'})
    lines = [line for line in (system.home / "api.log").read_text()[before:].splitlines() if "critical" in line]
    assert [json.loads(line)["event"] for line in lines] == ["request"]
    assert json.loads(lines[0])["request_id"].isalnum()

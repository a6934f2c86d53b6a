"""Requests as bytes on a connection, and answers as they come back."""

import socket

from support.processes import System

LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
OFFER = b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Type: application/json\r\n"
HEAD_SECONDS = 0.4
STALL_SECONDS = 0.6
"""How long the servers of these tests wait for the rest of a head, and of a body."""


def all_of(connection: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    found = bytearray()
    try:
        while block := connection.recv(2**16):
            found += block
    except ConnectionResetError:
        pass
    return bytes(found)


def one_answer(connection: socket.socket) -> bytes:
    """Return one whole answer that says its length."""
    found = b""
    while (body := found.partition(b"\r\n\r\n"))[1] == b"" or len(body[2]) < length_in(body[0]):
        block = connection.recv(2**16)
        assert block, found
        found += block
    return found


def length_in(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def is_alive(system: System) -> bool:
    return bool(system.client.get("/livez").status_code == 200)

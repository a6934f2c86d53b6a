"""A line that breaks: a relay between TCP ports that cuts connections."""

import contextlib
import socket
import threading
from collections.abc import Callable

BLOCK = 2**14


class CuttingLine:
    """Relays a port of loopback to ``port``. Started by the constructor, ended by ``close``.

    ``cut(connection, sent)`` says before each block whether the connection with that number, counted from 0, is cut
    after ``sent``, the bytes that the caller has sent on it. ``dead``: new connections are closed at once.
    """

    def __init__(self, port: int, cut: Callable[[int, bytes], bool]) -> None:
        self._upstream = port
        self._cut = cut
        self.dead = False
        self.connections = 0
        self.cuts = 0
        self.relayed = 0
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        self.dead = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for one in list(self._sockets):
            self._end(one)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            if self.dead:
                caller.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._upstream))
            self._sockets |= {caller, server}
            number, self.connections = self.connections, self.connections + 1
            for work in ((self._up, caller, server, number), (self._down, server, caller)):
                thread = threading.Thread(target=work[0], args=work[1:])
                self._threads.append(thread)
                thread.start()

    def _up(self, caller: socket.socket, server: socket.socket, number: int) -> None:
        sent = bytearray()
        try:
            while block := caller.recv(BLOCK):
                sent += block
                self.relayed += len(block)
                server.sendall(block)
                if self._cut(number, bytes(sent)):
                    self.cuts += 1
                    break
        except OSError:
            pass
        self._end(caller)
        self._end(server)

    def _down(self, server: socket.socket, caller: socket.socket) -> None:
        try:
            while block := server.recv(BLOCK):
                caller.sendall(block)
        except OSError:
            pass
        self._end(caller)

    def _end(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
        self._sockets.discard(one)

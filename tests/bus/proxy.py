"""A TCP proxy between a worker and the server that breaks connections where a test says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

CHUNK = 65536
TIMEOUT_S = 10.0


Hook = Callable[[bytes], int | None]


def _pass_all(data: bytes) -> int | None:
    return None


class Proxy:
    """The proxy. It runs in its own threads, since the client under test blocks in threads, too.

    `on_request` and `on_answer` see what comes from either side and return how much of it is passed on before
    the connection is reset: None passes on all of it, without a reset.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.on_request: Hook = _pass_all
        self.on_answer: Hook = _pass_all
        self.times = 1  # how often each answer is passed on
        self.connections = 0
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self.connections += 1
            self._sockets += [client, server]
            for source, sink, hook, times in (
                (client, server, self._request, lambda: 1),
                (server, client, self._answer, lambda: self.times),
            ):
                thread = threading.Thread(target=self._pump, args=(source, sink, hook, times))
                self._threads.append(thread)
                thread.start()

    def _request(self, data: bytes) -> int | None:
        return self.on_request(data)

    def _answer(self, data: bytes) -> int | None:
        return self.on_answer(data)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, hook: Hook, times: Callable[[], int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                passed = hook(data)
                sink.sendall(data[:passed] * times())
                if passed is not None:
                    for one in (source, sink):
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    source.close()
                    break
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy(server_port: int) -> Iterator[Proxy]:
    one = Proxy(server_port)
    try:
        yield one
    finally:
        one.close()

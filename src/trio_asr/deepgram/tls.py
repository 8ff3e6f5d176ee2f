"""TLS without a socket: bytes of the network in, bytes of the application out, and the other way round.

`trio.SSLStream` gives way to other tasks three times for every message, which costs more than the encryption.
This only turns bytes into bytes, so that `stream` can send a message before it gives way at all.
"""

from __future__ import annotations

import ssl

READ = 16 * 1024  # as much as a record holds


def context() -> ssl.SSLContext:
    """Return how to trust a server: by the system's root certificates, as Python does by default."""
    made = ssl.create_default_context()
    made.options |= ssl.OP_NO_RENEGOTIATION  # or what is encrypted might have to wait for what is received
    return made


class Tls:
    """The client's side of one connection.

    Whatever a method did, `outgoing` may have something for the network afterwards.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def outgoing(self) -> bytes:
        """Return what is to be sent now, and nothing else before it."""
        return self._outgoing.read()

    def incoming(self, data: bytes | bytearray) -> None:
        """Take what was received; nothing means that nothing will come any more."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is done, else more must come in.

        Raises:
            ssl.SSLError: there will be no connection, for instance because the certificate is not good.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return what to send for `data`. What was encrypted first must be sent first.

        Raises:
            ssl.SSLError: the connection has failed before.
        """
        self._tls.write(data)
        return self._outgoing.read()

    def decrypt(self, most: int = READ) -> bytes | None:
        """Return some of what has come, nothing if that was all, None if more must come in first.

        Raises:
            ssl.SSLError: what came is not of this connection.
        """
        try:
            return self._tls.read(most)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Said or not: a WebSocket has an end of its own, and servers often leave out that of TLS.
            return b""

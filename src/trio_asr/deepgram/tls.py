"""TLS without I/O: network bytes in, application bytes out, and the other way round.

`trio.SSLStream` runs through three checkpoints for every message, which costs more than the encryption. This
module only turns bytes into bytes, so that `stream` can send a message without a single one.
"""

from __future__ import annotations

import ssl

READ = 16 * 1024  # bytes; the payload of one TLS record


def context() -> ssl.SSLContext:
    """Return an SSL context that trusts the system's root certificates, as Python does by default."""
    made = ssl.create_default_context()
    made.options |= ssl.OP_NO_RENEGOTIATION  # or encrypting might have to wait for receiving
    return made


class Tls:
    """The client's side of one TLS connection.

    After any method, `outgoing` may have bytes for the network.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def outgoing(self) -> bytes:
        """Return the bytes to send now, before anything else."""
        return self._outgoing.read()

    def incoming(self, data: bytes | bytearray) -> None:
        """Take bytes from the network. An empty `data` is the end of the stream."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def shake_hands(self) -> bool:
        """Advance the handshake; return whether it is done. If not, it needs more bytes from the network.

        Raises:
            ssl.SSLError: The handshake has failed, for instance because the certificate is not valid.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Encrypt `data` and return the bytes to send. Results must be sent in the order of the calls.

        Raises:
            ssl.SSLError: The connection had failed before.
        """
        self._tls.write(data)
        return self._outgoing.read()

    def decrypt(self, most: int = READ) -> bytes | None:
        """Return up to `most` bytes of the application.

        Empty means the end of the stream, None that more bytes from the network are needed.

        Raises:
            ssl.SSLError: The bytes received are not valid on this connection.
        """
        try:
            return self._tls.read(most)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Announced or not: a WebSocket has a close of its own, and servers often leave out that of TLS.
            return b""

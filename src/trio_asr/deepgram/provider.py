"""What a call needs of a speech provider: a connection that takes audio and gives messages."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from trio_asr.wire.messages import Message


class ConnectFailed(Exception):
    """No connection came about.

    `status` is the HTTP status of a refusal, None where no answer came at all; `request_id` is the
    provider's name for the attempt, "" where it gave none.
    """

    def __init__(self, reason: str, *, status: int | None = None, request_id: str = "") -> None:
        super().__init__(f"HTTP {status}: {reason}" if status is not None else reason)
        self.reason = reason
        self.status = status
        self.request_id = request_id


class LinkClosed(Exception):
    """The connection is over; `code` is the WebSocket close code (1006: it broke without one)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class Link(Protocol):
    """One connection. One task sends, one receives; all methods raise `LinkClosed` once it is over."""

    @property
    def request_id(self) -> str:
        """The provider's id of this connection."""
        ...

    def send_audio(self, pcm: bytes) -> Awaitable[None] | None:
        """Send s16le audio of the connection's rate, a whole number of samples and at least one.

        Return what to await, at once, until it has left; None if it has.
        """
        ...

    async def send_control(self, text: str) -> None:
        """Send a control message (`trio_asr.wire.messages`)."""
        ...

    async def receive(self) -> Message:
        """Wait for the next message."""
        ...


class Provider(Protocol):
    """Makes connections."""

    @property
    def name(self) -> str:
        """The name as in the config."""
        ...

    @property
    def has_sockets(self) -> bool:
        """Whether connections are sockets (the mock's are not, and are not counted)."""
        ...

    def connect(self, sample_rate: int) -> AbstractAsyncContextManager[Link]:
        """Open a connection for audio of `sample_rate` Hz, closed when the block is left.

        Raises:
            ConnectFailed: on entering.
        """
        ...

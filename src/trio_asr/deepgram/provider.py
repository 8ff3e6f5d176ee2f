"""The interface to a speech provider: links that take audio and return messages."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from trio_asr.wire.audio_format import Format
from trio_asr.wire.messages import Message


class ConnectFailed(Exception):
    """A failed attempt to connect.

    `status` is the HTTP status of a refusal, or None if there was no answer at all. `request_id` is the
    provider's id of the attempt, or "" if it gave none.
    """

    def __init__(self, reason: str, *, status: int | None = None, request_id: str = "") -> None:
        super().__init__(f"HTTP {status}: {reason}" if status is not None else reason)
        self.reason = reason
        self.status = status
        self.request_id = request_id


class LinkClosed(Exception):
    """The end of a link. `code` is the WebSocket close code (1006: it broke without one)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class Link(Protocol):
    """One open connection. One task sends and one receives.

    Every method raises `LinkClosed` once the connection is over.
    """

    @property
    def request_id(self) -> str:
        """The provider's id of this connection, or "" if it gave none."""
        ...

    def send_audio(self, pcm: bytes) -> Awaitable[None] | None:
        """Send audio of the link's format: a whole number of samples, at least one.

        Return None if the audio has been handed to the kernel; else an awaitable, to be awaited at once,
        that ends when it has. The awaitable is where backpressure is felt.

        Raises:
            LinkClosed: The connection is over. The awaitable raises it, too.
        """
        ...

    async def send_control(self, text: str) -> None:
        """Send a control message, one of the constants in `trio_asr.wire.messages`.

        Raises:
            LinkClosed: The connection is over.
        """
        ...

    async def receive(self) -> Message:
        """Wait for the next message.

        Raises:
            LinkClosed: The connection is over.
        """
        ...


class Provider(Protocol):
    """A maker of links."""

    @property
    def name(self) -> str:
        """The name, as the key `asr.provider` has it."""
        ...

    @property
    def has_sockets(self) -> bool:
        """Whether links are sockets. The mock's are not, and are not counted as connections."""
        ...

    def connect(self, fmt: Format) -> AbstractAsyncContextManager[Link]:
        """Open a link for raw audio of this format, and close it when the block is left.

        Raises:
            ConnectFailed: No connection could be opened. Raised on entering only.
        """
        ...

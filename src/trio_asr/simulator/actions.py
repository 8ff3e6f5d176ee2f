"""The actions that a session, or the faults in front of it, asks for.

The shell carries them out in order and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trio_asr.simulator.engines import Job, Words
from trio_asr.simulator.wire import Message


@dataclass(frozen=True, slots=True)
class Send:
    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """A WebSocket close handshake; nothing is sent after it."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Recognise:
    """A job to run in a thread; its result goes to `recognised(ticket, ...)`."""

    ticket: int
    job: Job


@dataclass(frozen=True, slots=True)
class Abort:
    """A drop of the TCP connection without a close handshake (a fault)."""


@dataclass(frozen=True, slots=True)
class StopReading:
    """An end of all reading, with the connection kept open (a fault)."""


Action = Send | Close | Recognise | Abort | StopReading


class Peer(Protocol):
    """The shell's counterpart: a session, or faults around one.

    Times are in seconds, on any monotonic clock.
    """

    @property
    def backlogged(self) -> bool:
        """Whether too much recognition is outstanding to read more audio for now."""
        ...

    def audio(self, data: bytes, now: float) -> list[Action]:
        """Handle a binary message."""
        ...

    def text(self, data: str, now: float) -> list[Action]:
        """Handle a text message."""
        ...

    def recognised(self, ticket: int, words: Words | None, now: float) -> list[Action]:
        """Handle the result of a job; None if it failed."""
        ...

    def next_timeout(self) -> float | None:
        """Return when to call `on_timeout` if nothing else happens first; calling early does no harm."""
        ...

    def on_timeout(self, now: float) -> list[Action]:
        """Handle the passing of time."""
        ...

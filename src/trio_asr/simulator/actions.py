"""What a session, or the faults in front of it, want done. The shell does it in this order and decides
nothing.
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
    """The WebSocket close handshake; nothing is sent after it."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Recognise:
    """Run the job in a thread, then answer with ``recognised(ticket, ...)``."""

    ticket: int
    job: Job


@dataclass(frozen=True, slots=True)
class Abort:
    """Drop the TCP connection without a close handshake (a fault)."""


@dataclass(frozen=True, slots=True)
class StopReading:
    """Never read from the connection again, and keep it open (a fault)."""


Action = Send | Close | Recognise | Abort | StopReading


class Peer(Protocol):
    """What the shell talks to: a session, or faults around one. Times are seconds of any monotonic clock."""

    @property
    def backlogged(self) -> bool:
        """Whether so much recognition is outstanding that no more audio should be read for now."""
        ...

    def audio(self, data: bytes, now: float) -> list[Action]:
        """A binary message came."""
        ...

    def text(self, data: str, now: float) -> list[Action]:
        """A text message came."""
        ...

    def recognised(self, ticket: int, words: Words | None, now: float) -> list[Action]:
        """A job is done; None when it failed."""
        ...

    def next_timeout(self) -> float | None:
        """When ``on_timeout`` wants to be called, if nothing else happens before. It may be called early."""
        ...

    def on_timeout(self, now: float) -> list[Action]:
        """Time has passed."""
        ...

"""What a platform is: its side of one socket, as messages. Pure."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any, ClassVar, NamedTuple

import msgspec

from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.settings import Dial
from trio_asr.wire.audio_format import Encoding

Message = str | bytes


class Unfit(Exception):
    """A platform cannot place this call, or cannot do this fault; the message says why."""


class Traits(NamedTuple):
    """The habits of a platform.

    The first of `encodings` is what a recording in none of them is put into. `legs` are its words for the
    channels, where each is sent on its own. `channels` is the most that it sends. A `clocked` one tells the
    time of each message, a `numbered` one counts them. `retries` is how often it dials again, at once, if it
    was refused. With `tcp` it speaks that, and no WebSocket.
    """

    encodings: tuple[Encoding, ...]
    rates: range | tuple[int, ...]
    chunk_ms: int
    channels: int = 1
    legs: tuple[str, ...] = ()
    burst_ms: int = 0
    clocked: bool = False
    numbered: bool = False
    retries: int = 0
    subprotocols: tuple[str, ...] = ()
    tcp: bool = False


class Platform:
    """One socket of one call, from the platform's side.

    `number` counts the call's sockets from 1. `previous` is the socket that this one takes the place of.
    """

    TRAITS: ClassVar[Traits]

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:  # noqa: ARG002
        self._dial = dial
        self.chance = random.Random(f"{dial.faults.seed}/{dial.call}/{number}")  # noqa: S311 - no secret
        self._stream = hashlib.sha256(f"{dial.call}/{number}".encode()).hexdigest()[:32]
        self._form = dial.recording.format
        self.ready = True  # audio may be sent
        self.over = False  # nothing more is to be said: the socket may be closed
        self.acked = 0  # what the server has confirmed, in the platform's own numbers
        self.complaint = ""  # what the server said against the call
        self.alarm = math.inf  # when `tick` is to be called, by the clock of its `now`

    @property
    def unconfirmed(self) -> bool:
        """Whether the call has audio that is worth another socket even after its end."""
        return False

    def headers(self, wall: float, nonce: str) -> dict[str, str]:  # noqa: ARG002 - for those who sign
        """Return the headers of the request at a Unix time; `nonce` is a string of no other request."""
        return {}

    def first_sample(self, at: int) -> int:
        """Return the sample that this socket begins with, where the call itself is at sample `at`."""
        return at

    def hello(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return the messages before any audio. The last one is that which begins the stream, if any is."""
        return []

    def media(self, frame: Frame) -> list[Message]:
        """Return the messages for a frame: the audio as it is, where the platform does not wrap it."""
        return [frame.audio]

    def hear(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002
        """Take what the server says, and return the answers. `now` is in seconds, from any time."""
        return []

    def tick(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return what is to be said now that it is the time of `alarm`, and set that to the next one."""
        return []

    def stop(self, now: float) -> list[Message]:  # noqa: ARG002
        """Return the messages that end the call. It is over now, or once they are answered."""
        self.over = True
        return []


def encoded(document: dict[str, Any]) -> str:
    """Return a document as JSON."""
    return msgspec.json.encode(document).decode()


def decoded(message: Message) -> dict[str, Any]:
    """Return the JSON object in a message of the server; an empty one if there is none in it."""
    try:
        document = msgspec.json.decode(message)
    except msgspec.DecodeError:
        return {}
    return document if isinstance(document, dict) else {}

"""What a dialect is: the reading of one platform's messages, as effects on one call.

A dialect is pure: it gets whole messages and says what they mean. Everything that platforms have in common is
done elsewhere: clocks and holes, the pairing of two legs, entries, ownership, ends.

What platforms do wrong is forgiven where it costs no audio, and counted (`Odd`). What cannot be used refuses
the socket (`Refusal`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from trio_asr.wire.audio_format import Format

# Close codes of WebSockets (RFC 6455, 7.4.1) that refuse a peer.
UNSUPPORTED, POLICY, TOO_BIG, INTERNAL = 1003, 1008, 1009, 1011


class Refusal(Exception):
    """What a peer sent cannot be used: its socket is closed, and the call of it ends.

    `kind` is a word for the metrics, from a closed list of the dialect's; `reason` is for the peer and the
    log: it names the field and the value, but never a secret and no payload. It is cut to 123 bytes (RFC
    6455, 5.5) for the peer.
    """

    def __init__(self, kind: str, reason: str, code: int = POLICY) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.code = kind, reason, code


class Begin(NamedTuple):
    """A call's media begins on this socket, or begins anew with other ids.

    `call` is the platform's id of it. `format` is that of the audio as it comes. `legs` are the platform's
    words for who is heard, such as ("inbound", "outbound"), or () for nobody in particular. Two legs come
    each on its own, with one channel, and are interleaved here; or `interleaved`, as the channels of one.
    `account` is who the platform says it is; `tenant` whose call it says that this is. `meta` is what it says
    of the call, unfiltered. With `counts` its messages of audio are counted, and `Dialect.stored` is told
    which are stored; `resume_from` is the last of them that the client knows to be. `probe`: there is no
    call, only a test of the way.
    """

    call: str
    format: Format
    legs: tuple[str, ...] = ()
    interleaved: bool = False
    account: str = ""
    tenant: str = ""
    meta: Mapping[str, Any] = {}
    counts: bool = False
    resume_from: int | None = None
    probe: bool = False


class Audio(NamedTuple):
    """Audio of a leg (its index in `legs`; 0 where the legs are interleaved or there is one).

    `at_ms` is when it begins by the platform's clock, in milliseconds from any time; None where it has none.
    `number` counts the messages of a leg, where the platform may deliver them out of order; else None.
    """

    audio: bytes
    leg: int = 0
    at_ms: float | None = None
    number: int | None = None


class Lost(NamedTuple):
    """So many milliseconds of audio are missing here, of all legs, as the platform says itself."""

    ms: float


class Finish(NamedTuple):
    """The call is over, as the platform says. What comes after is ignored."""

    reason: str


class Say(NamedTuple):
    """A text message for the peer."""

    text: str


class Odd(NamedTuple):
    """Something that cost no audio, or only that message: a word for the metrics, from a closed list."""

    kind: str


Effect = Begin | Audio | Lost | Finish | Say | Odd


class Request(NamedTuple):
    """The request that opened a socket. Header names are in lower case; repeated ones are joined by commas.

    `target` is path and query as sent, `path` and `query` its parts; values of the query are unescaped.
    """

    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...] = ()
    address: str = ""


class Dialect(Protocol):
    """The reading of one socket."""

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:
        """Return what a message means, in order. A text is in UTF-8, not yet checked.

        Raises:
            Refusal: It cannot be used.
        """
        ...

    def stored(self, number: int) -> str | None:
        """Return what to say, if anything, once the audio messages up to `number` (from 1) are stored."""
        ...

    def leave(self, reason: str) -> str | None:
        """Return what to say before this side closes, if anything: the platform may want to be asked.

        The reason is "error" after a refusal.
        """
        ...

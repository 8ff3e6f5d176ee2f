"""Injected faults: what a stream, a network or Deepgram itself can do wrong. Pure.

`Faults` lists them; `refusal` applies them to the handshake, `recut.RecutEar` to an engine's segments,
`faulty.FaultyPeer` to everything that passes between the shell and a session. Nothing else makes faults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trio_asr.simulator.query import Pairs, Refused

#: The texts of Deepgram's page "Errors" for the statuses that a refusal may have.
_TEXTS: Final = {
    400: ("Bad Request", "Bad request."),
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", "Project does not have enough credits for an ASR request."),
    403: ("INSUFFICIENT_PERMISSIONS", "Project does not have access to the requested model."),
    404: ("PROJECT_NOT_FOUND", "Project not found."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    503: ("SERVICE_UNAVAILABLE", "Service Unavailable"),
}
_PREFIX: Final = "sim_"
_MAX_REASON: Final = 123  # bytes, in a close frame
_MOST: Final = 10**12


@dataclass(frozen=True)
class Faults:
    """The faults of a connection; all are off by default.

    `*_s` are seconds since the connection's 101; `*_every: 3` means every third one.
    """

    handshake_delay_s: float = 0.0
    """Delay the answer to the handshake by this many seconds."""
    refuse_status: int = 0
    """Refuse the handshake with this HTTP status ..."""
    refuse_first: int | None = None
    """... but only for this many first connections,"""
    refuse_for_s: float | None = None
    """and only for this many seconds after the first one."""
    mute_after_s: float | None = None
    """Send nothing from then on, not even a close, but keep reading."""
    stop_reading_after_s: float | None = None
    """Read and send nothing from then on, but keep the connection open."""
    abort_after_s: float | None = None
    """Drop the TCP connection at that time."""
    abort_after_bytes: int | None = None
    """Drop the TCP connection after this many bytes of audio."""
    close_after_s: float | None = None
    """Close at that time, with `close_code` and `close_reason`."""
    close_code: int = 1011
    close_reason: str = ""
    only_channel: int | None = None
    """Confine the faults from here to `utterance_end_delay_s` to this channel."""
    channel_delay_s: float = 0.0
    """Delay all that is said about a channel by this many seconds, in order. The end of the stream waits."""
    drop_result_every: int = 0
    """Results, be they interim or final, that never come; 1 is all of them."""
    cut_every_s: float = 0.0
    """End segments after every so many seconds of audio, wherever the engine would. A strike cannot do it."""
    final_delay_s: float = 0.0
    """Delay finals by this many seconds. Interims do not wait for them; the end of the stream does."""
    drop_final_every: int = 0
    """Finals that never come."""
    duplicate_final_every: int = 0
    """Finals that come twice."""
    shrink_final_every: int = 0
    """Finals that end before their last word; a second final covers the rest."""
    overlap_final_every: int = 0
    """Finals that begin with a repeat of the last word of the one before."""
    zero_final_every: int = 0
    """Finals followed by an empty one of zero length."""
    utterance_end_delay_s: float = 0.0
    """Delay UtteranceEnd by this many seconds."""
    unknown_every: int = 0
    """Messages preceded by one of an unknown type."""
    garbage_every: int = 0
    """Messages preceded by a binary one of 256 bytes."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: No server could do what a value says.
        """
        if self.refuse_status and not 300 <= self.refuse_status <= 599:
            raise ValueError(f"refuse_status {self.refuse_status} is not in 300..599")
        if not 1000 <= self.close_code <= 4999:
            raise ValueError(f"close_code {self.close_code} is not in 1000..4999")
        if len(self.close_reason.encode("utf-8", "replace")) > _MAX_REASON:
            raise ValueError(f"close_reason is above {_MAX_REASON} bytes")
        for name in PARSERS:
            value = getattr(self, name)
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"{name} {value} is below 0")
            if isinstance(value, int | float) and value > _MOST:
                raise ValueError(f"{name} is above {_MOST}")

    def concern(self, channel: int) -> bool:
        """Return whether the faults of channels concern this one."""
        return self.only_channel in {None, channel}

    @property
    def in_stream(self) -> bool:
        """Whether any of the faults affects an open connection."""
        return any(getattr(self, name) != default for name, default in _IN_STREAM.items())


_AT_START: Final = {"handshake_delay_s", "refuse_status", "refuse_first", "refuse_for_s", "cut_every_s"}
_IN_STREAM: Final = {f.name: f.default for f in dataclasses.fields(Faults) if f.name not in _AT_START}
#: The parser of each fault's value.
PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    f.name: (str if "str" in f.type else float if "float" in f.type else int)
    for f in dataclasses.fields(Faults)
    if isinstance(f.type, str)
}

#: The faults of a connection, by its index (from 0) and its query.
FaultsFor = Callable[[int, Pairs], Faults]


def with_query(faults: Faults, query: Pairs) -> Faults:
    """Add the faults that the query asks for with `extra=sim_<fault>:<value>`.

    Raises:
        Refused: A fault is unknown or its value is invalid.
    """
    asked: dict[str, Any] = {}
    for extra in query.get("extra", ()):
        name, _, value = extra.partition(":")
        if not name.startswith(_PREFIX):
            continue
        try:
            asked[name.removeprefix(_PREFIX)] = PARSERS[name.removeprefix(_PREFIX)](value)
        except (KeyError, ValueError):
            raise Refused(400, f"The simulator has no fault '{extra}'.") from None
    try:
        return dataclasses.replace(faults, **asked) if asked else faults
    except ValueError as error:
        raise Refused(400, f"The simulator has no such fault: {error}.") from None


def refusal(faults: Faults, *, index: int, since_first: float) -> Refused | None:
    """Return the refusal of connection number `index` (from 0), or None if it is not refused."""
    if (
        not faults.refuse_status
        or (faults.refuse_first is not None and index >= faults.refuse_first)
        or (faults.refuse_for_s is not None and since_first >= faults.refuse_for_s)
    ):
        return None
    code, message = _TEXTS.get(
        faults.refuse_status, ("ERROR", f"Refused with status {faults.refuse_status}.")
    )
    return Refused(faults.refuse_status, message, code)

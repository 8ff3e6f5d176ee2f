"""What an ingest writes: entries of the audio stream, ends of calls, and what a call's next socket must know.

The forms are those of `docs/entries.md`; `entries` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from trio_asr.wire.audio_format import MOST_CHANNELS, Encoding, Format, audio_format
from trio_asr.wire.frames import MAX_POSITION, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE

_Count = Annotated[int, Meta(ge=0, le=MAX_POSITION)]
_pack = msgspec.msgpack.Encoder().encode


class Past(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a call was, beside its position: the format, the clock, and what was counted.

    The sample at the position `anchor` was spoken at `anchor_ms`, in milliseconds since 1970 by the store's
    clock. `seq` is the number of the last entry. `number` is that of the client's last message of audio that
    is stored, and `number_end` the position at which its audio ends; both 0 where messages have no numbers.
    """

    encoding: Encoding
    rate: Annotated[int, Meta(ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)]
    channels: Annotated[int, Meta(ge=1, le=MOST_CHANNELS)]
    anchor_ms: Annotated[float, Meta(ge=0, le=MAX_POSITION)]
    anchor: _Count
    seq: _Count
    number: _Count = 0
    number_end: _Count = 0

    @property
    def format(self) -> Format:
        """The format of the call's last audio."""
        return audio_format(self.rate, self.encoding, self.channels)

    def at_ms(self, position: int) -> float:
        """Return when the sample at a position is spoken, in milliseconds since 1970."""
        return self.anchor_ms + (position - self.anchor) * 1000 / self.rate

    def encode(self) -> bytes:
        """Return it as MessagePack."""
        return _pack(self)


_past = msgspec.msgpack.Decoder(Past)


def decode_past(about: bytes) -> Past | None:
    """Return what the store has of a call; None if there is nothing, or nothing that makes sense."""
    try:
        return _past.decode(about) if about else None
    except msgspec.MsgspecError:
        return None


class EntryWriter:
    """The writer of one call's entries."""

    __slots__ = ("_first", "_fixed")

    def __init__(
        self, call: str, tenant: str, fmt: Format, roles: Sequence[str] = (), meta: Mapping[str, Any] = {}
    ) -> None:
        self._fixed: dict[str, Any] = {
            "interaction_id": call,
            "tenant_id": tenant,
            "encoding": fmt.encoding,
            "sample_rate": fmt.rate,
            "channels": fmt.channels,
        }
        if roles:
            self._fixed["roles"] = list(roles)
        self._first: dict[str, Any] = {"meta": dict(meta)} if meta else {}

    def entry(self, position: int, seq: int, at_ms: float, audio: bytes) -> bytes:
        """Return the next entry. The first one says what the call is about."""
        document = {
            **self._fixed, **self._first,
            "position": position, "seq": seq, "timestamp_ms": round(at_ms), "audio": audio,
        }  # fmt: skip
        self._first = {}
        return _pack(document)


def end_entry(call: str, tenant: str, reason: str) -> bytes:
    """Return the end of a call, as JSON, which every reader of that stream knows."""
    return msgspec.json.encode({"interaction_id": call, "tenant_id": tenant, "reason": reason})

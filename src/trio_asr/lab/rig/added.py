"""What an ingest has added to Redis: where its entries say that they belong, and the ends of calls."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field

import msgspec

from trio_asr.client.redis import connect, entries
from trio_asr.lab.rig.evidence import documents
from trio_asr.lab.rig.spans import Span
from trio_asr.wire.audio_format import Encoding, audio_format


class _Placed(msgspec.Struct):
    interaction_id: str
    position: int
    encoding: Encoding
    sample_rate: int
    channels: int
    audio: bytes


@dataclass
class Added:
    """By call: the stretch of positions of each entry, in the order of the stream, and the ends' reasons."""

    entries: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def again(self, call: str) -> list[Span]:
        """Return the entries of a call that begin before the one before them has ended."""
        return [later for earlier, later in itertools.pairwise(self.entries[call]) if later[0] < earlier[1]]


def added(url: str, *, audio_stream: str = "audio_stream", end_stream: str = "call_end") -> Added:
    """Return what is on Redis of the calls of an ingest, the only producer."""
    out = Added()
    with connect(url) as client:
        for _, fields in entries(client, audio_stream):
            one = msgspec.msgpack.decode(fields[b"m"], type=_Placed)
            width = audio_format(one.sample_rate, one.encoding, one.channels).width
            last = one.position + len(one.audio) // width
            out.entries[one.interaction_id].append((one.position, last))
        for end in documents(client, end_stream):
            out.ends[end["interaction_id"]].append(end["reason"])
    return out

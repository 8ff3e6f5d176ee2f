"""What a run left behind: both sides of Redis, and the simulator's record of connections."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import redis

from trio_asr.client.producer import ENCODING_NAMES
from trio_asr.client.redis import connect_fleet, data, entries
from trio_asr.core.fleet.places import SINGLE, Places
from trio_asr.wire.audio_format import Encoding, Format, audio_format

REPEAT_WINDOW = 256  # an entry identical to one of the last 256 is a producer's repeat

Document = dict[str, Any]
Fields = dict[bytes, bytes]
# Our producers write pcm16, our ingest linear16.
ENCODINGS: dict[str, Encoding] = {
    "linear16": "linear16",
    **{name: encoding for encoding, name in ENCODING_NAMES.items()},
}


class _Frame(msgspec.Struct):
    interaction_id: str
    sample_rate: int
    encoding: str
    channels: int = 1
    roles: tuple[str, ...] = ()
    position: int | None = None


class _Plain(_Frame, kw_only=True):
    audio: str


class _Packed(_Frame, kw_only=True):
    audio: bytes


class Piece(NamedTuple):
    """Audio of one format, from entries one after the other, between which nothing was left out."""

    format: Format
    roles: tuple[str, ...]
    audio: bytes


@dataclass
class Evidence:
    """Each call's audio in Redis (without repeats), transcripts and events; and all connections."""

    audio: dict[str, list[Piece]] = field(default_factory=dict)
    transcripts: dict[str, list[Document]] = field(default_factory=dict)
    events: dict[str, list[Document]] = field(default_factory=dict)
    connections: list[Document] = field(default_factory=list)
    most_open: int = 0


def collect(url: str, connections: Document, places: Places = SINGLE) -> Evidence:
    """Collect the evidence of a run from Redis and from the simulator's `connections` document."""
    evidence = Evidence(connections=list(connections["connections"]), most_open=connections["most_open"])
    with connect_fleet(url) as client:
        for prefix in places.prefixes:
            fed, told = audio(client, prefix + "audio_stream"), events(client, prefix + "asr_events")
            evidence.audio |= fed
            evidence.events |= told
            for interaction_id in fed.keys() | told.keys():
                evidence.transcripts[interaction_id] = documents(
                    client, f"{prefix}transcript.{interaction_id}"
                )
    return evidence


def documents(client: redis.Redis, stream: str) -> list[Document]:
    """Return the JSON objects of a stream, in order."""
    return [msgspec.json.decode(one) for one in data(client, stream)]


def events(client: redis.Redis, stream: str = "asr_events") -> dict[str, list[Document]]:
    """Return the lifecycle events of each call."""
    by_call: dict[str, list[Document]] = defaultdict(list)
    for event in documents(client, stream):
        by_call[str(event.get("interaction_id"))].append(event)
    return dict(by_call)


def audio(client: redis.Redis, stream: str = "audio_stream") -> dict[str, list[Piece]]:
    """Return the audio of each call in entry order, without a producer's repeats.

    A hole between positions parts two pieces: the first sample behind it may look as the one that is missing.
    """
    pieces: dict[str, list[tuple[Format, tuple[str, ...], list[bytes]]]] = defaultdict(list)
    ends: dict[str, int | None] = {}  # by call: the position at which its last entry ended
    recent: dict[str, deque[Fields]] = defaultdict(lambda: deque(maxlen=REPEAT_WINDOW))
    for _, fields in entries(client, stream):
        with contextlib.suppress(msgspec.MsgspecError, binascii.Error, TypeError, KeyError):
            frame, pcm = _frame(fields)
            if fields in recent[frame.interaction_id]:
                continue
            recent[frame.interaction_id].append(fields)
            form = audio_format(frame.sample_rate, ENCODINGS[frame.encoding], frame.channels)
            before, at, end = pieces[frame.interaction_id], frame.position, ends.get(frame.interaction_id)
            # One that goes on in the middle of a sample may name the next one.
            hole = at is not None and end is not None and at > end + 1
            if not before or hole or before[-1][:2] != (form, frame.roles):
                before.append((form, frame.roles, []))
            before[-1][2].append(pcm)
            ends[frame.interaction_id] = None if at is None else at + len(pcm) // form.width
    return {
        interaction_id: [Piece(form, roles, b"".join(parts)) for form, roles, parts in found]
        for interaction_id, found in pieces.items()
    }


def _frame(fields: Fields) -> tuple[_Frame, bytes]:
    """Decode the entry of a healthy producer: its document, and its audio."""
    if b"m" in fields:
        packed = msgspec.msgpack.decode(fields[b"m"], type=_Packed)
        return packed, packed.audio
    plain = msgspec.json.decode(fields[b"data"], type=_Plain)
    return plain, base64.b64decode(plain.audio, validate=True)

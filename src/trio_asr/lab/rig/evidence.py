"""What a run left behind: both sides of Redis, and the simulator's record of connections."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis

from trio_asr.client.redis import connect, data

REPEAT_WINDOW = 256  # an entry identical to one of the last 256 is a producer's repeat

Document = dict[str, Any]


@dataclass
class Evidence:
    """Each call's audio in Redis (without repeats), transcripts and events; and all connections."""

    audio: dict[str, bytes] = field(default_factory=dict)
    transcripts: dict[str, list[Document]] = field(default_factory=dict)
    events: dict[str, list[Document]] = field(default_factory=dict)
    connections: list[Document] = field(default_factory=list)
    most_open: int = 0


def collect(
    url: str, connections: Document, *, audio_stream: str = "audio_stream", events_stream: str = "asr_events"
) -> Evidence:
    """Collect the evidence of a run from Redis and from the simulator's `connections` document."""
    with connect(url) as client:
        evidence = Evidence(
            audio=audio(client, audio_stream),
            events=events(client, events_stream),
            connections=list(connections["connections"]),
            most_open=connections["most_open"],
        )
        for interaction_id in {*evidence.audio, *evidence.events}:
            evidence.transcripts[interaction_id] = documents(client, f"transcript.{interaction_id}")
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


def audio(client: redis.Redis, stream: str = "audio_stream") -> dict[str, bytes]:
    """Return the audio of each call in entry order, without a producer's repeats."""
    pieces: dict[str, list[bytes]] = defaultdict(list)
    recent: dict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=REPEAT_WINDOW))
    for entry in data(client, stream):
        with contextlib.suppress(msgspec.MsgspecError, binascii.Error, TypeError, KeyError):
            frame = msgspec.json.decode(entry)
            seen = recent[frame["interaction_id"]]
            if entry not in seen:
                seen.append(entry)
                pieces[frame["interaction_id"]].append(base64.b64decode(frame["audio"], validate=True))
    return {interaction_id: b"".join(parts) for interaction_id, parts in pieces.items()}

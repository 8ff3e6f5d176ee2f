"""Helpers of the end-to-end tests: the promises as assertions, and the old web app as a reader."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.evidence import Document
from trio_asr.lab.rig.processes import Settings

MAX_SHIFT_MS = 30
# Where connections are counted, a busy machine must not pass for a provider that is slow.
PATIENT: Settings = {
    "deepgram": {f"{what}_timeout_ms": 60_000 for what in ("connect", "send", "stall", "close")}
}


def keeps_promises(account: Account, *, samples: int, connections: int | None = None) -> None:
    """Check that all `samples` were accepted and are inside exactly one committed final, at their true times.

    With `connections` each call must have had exactly that many.
    """
    assert account.total("samples") == samples
    assert (account.total("covered"), account.total("lost")) == (samples, 0), account
    assert account.total("doubled") == 0, account
    assert account.gaps == {}
    assert account.shift_ms < MAX_SHIFT_MS
    assert account.faults == []
    assert account.overlaps == 0
    assert all(call.ended for call in account.calls.values())
    if connections is not None:
        assert {call.connections for call in account.calls.values()} == {connections}


def web_app_lines(messages: Iterable[Document]) -> list[str]:
    """Return the lines of a call as the old web app stores them.

    It uses only `seq`, `text` and `timestamp_ms` of a message. Blank texts are skipped, a `seq` must fit 32
    bits and a timestamp must be a time, and the first line of a `seq` wins; a call is read in the order of
    `seq`.
    """
    kept: dict[int, str] = {}
    for message in messages:
        if not message["text"].strip():
            continue
        seq, timestamp_ms = message["seq"], message["timestamp_ms"]
        assert isinstance(seq, int)
        assert 0 <= seq < 2**31
        assert abs(timestamp_ms / 1000 - time.time()) < 600
        kept.setdefault(seq, message["text"])
    return [text for _, text in sorted(kept.items())]


def seed_frame(number: int, interaction_id: str = "seed-call", **more: Any) -> bytes:
    """Return one of the seed's frames: 577 bytes of silence, numbered from 1."""
    return msgspec.json.encode(
        {
            "tenant_id": "seed",
            "interaction_id": interaction_id,
            "seq": number,
            "timestamp_ms": int(time.time() * 1000),
            "sample_rate": 8000,
            "encoding": "pcm16",
            "audio": base64.b64encode(bytes(577)).decode(),
            **more,
        }
    )

"""Calls for the tests of callers."""

from __future__ import annotations

from typing import Any

from trio_asr.client.audio import Recording
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.rig.legs import stamped
from trio_asr.wire.audio_format import Encoding, audio_format

URL = "ws://ingest.test/in/a-path?x=1"


def recording(
    seconds: float, encoding: Encoding = "linear16", channels: int = 1, rate: int = 8000
) -> Recording:
    """Return stamped audio."""
    form = audio_format(rate, encoding, channels)
    return Recording(stamped(form, 1, 0, round(seconds * rate)), form)


def mulaw(seconds: float, channels: int = 2) -> Recording:
    """Return stamped audio in mu-law."""
    return recording(seconds, "mulaw", channels)


def call(platform: str, played: Recording, **settings: Any) -> Dial:
    """Return a call."""
    return Dial(**{"platform": platform, "url": URL, "call": "c-1", "recording": played, **settings})

"""What is read back from Redis of the audio that was there."""

from __future__ import annotations

import msgspec
import pytest

from trio_asr.client.redis import connect
from trio_asr.lab.rig.evidence import audio
from trio_asr.lab.rig.present import present
from trio_asr.simulator.stamps import stamp

pytestmark = pytest.mark.integration


def test_a_hole_between_positions_is_where_they_say(redis_url: str) -> None:
    """In 8 bits, samples at a distance of 31 blocks may look alike."""
    begin, end, last = 800, 800 + 8 * 31, 2000
    assert stamp(1, begin, 1, 1) == stamp(1, end, 1, 1)
    with connect(redis_url) as client:
        for first, until in [(0, 400), (400, begin), (end, last)]:
            envelope = {
                "interaction_id": "a", "sample_rate": 8000, "encoding": "mulaw", "position": first,
                "audio": stamp(1, first, until - first, 1),
            }  # fmt: skip
            client.xadd("audio_stream", {"m": msgspec.msgpack.encode(envelope)})
        found = present(audio(client)["a"], 8000)
    assert found.channels == [{1: [(0, begin), (end, last)]}]

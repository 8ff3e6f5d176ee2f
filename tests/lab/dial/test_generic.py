"""The generic protocol's messages."""

from __future__ import annotations

import json

from tests.lab.dial.calls import call, mulaw, recording

from trio_asr.config import Secret
from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.generic import STARTED_S, Generic


def frame(first: int, samples: int = 160) -> Frame:
    return Frame(0, first, samples, 0, b"ab" * samples, 0)


def test_start_has_the_four_fields_and_what_else_is_known() -> None:
    assert json.loads(str(Generic(call("generic", recording(1, rate=16000))).hello(0)[0])) == {
        "event": "start",
        "interaction_id": "c-1",
        "tenant_id": "acme",
        "sample_rate": 16000,
        "encoding": "pcm16",
    }
    more = call("generic", mulaw(1), caller="+1", called="+2", parameters={"k": "v"}, account="t9")
    assert json.loads(str(Generic(more).hello(0)[0])) == {
        "event": "start",
        "interaction_id": "c-1",
        "tenant_id": "t9",
        "sample_rate": 8000,
        "encoding": "mulaw",
        "channels": 2,
        "meta": {"from": "+1", "to": "+2", "k": "v"},
    }


def test_audio_waits_for_started_but_not_forever() -> None:
    generic = Generic(call("generic", recording(1)))
    generic.hello(5)
    assert (generic.ready, generic.alarm) == (False, 5 + STARTED_S)
    generic.hear('{"event":"started","interaction_id":"c-1"}', 6)
    assert generic.ready
    late = Generic(call("generic", recording(1)))
    late.hello(0)
    late.tick(10)
    assert (late.over, late.complaint) == (True, "no started")


def test_the_bearer() -> None:
    assert Generic(call("generic", recording(1), secret=Secret("a.b.c"))).headers(0, "") == {
        "Authorization": "Bearer a.b.c"
    }
    assert Generic(call("generic", recording(1))).headers(0, "") == {}


def test_a_client_resumes_after_the_last_message_confirmed() -> None:
    dial = call("generic", recording(1))
    first = Generic(dial)
    for number in range(5):
        assert first.media(frame(160 * number)) == [b"ab" * 160]
    first.hear('{"event":"ack","seq":3}', 0)
    first.hear('{"event":"ack","seq":9}', 0)  # more than was sent
    first.hear('{"event":"ack","seq":"5"}', 0)
    first.hear("no JSON", 0)
    second = Generic(dial, 2, first)
    assert (second.first_sample(4000), second.acked) == (480, 3)
    assert json.loads(str(second.hello(0)[0]))["resume_from"] == 3
    second.media(frame(480))
    second.hear('{"event":"ack","seq":4}', 0)
    assert Generic(dial, 3, second).first_sample(4000) == 640


def test_without_any_confirmation_the_call_goes_on_where_it_is() -> None:
    dial = call("generic", recording(1))
    first = Generic(dial)
    first.media(frame(0))
    second = Generic(dial, 2, first)
    assert second.first_sample(4000) == 4000
    assert "resume_from" not in json.loads(str(second.hello(0)[0]))

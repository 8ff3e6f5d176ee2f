"""The one text of jambonz and of FreeSWITCH's fork."""

from __future__ import annotations

import json

from tests.lab.dial.calls import call, recording

from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.jambonz import FreeSwitch, Jambonz


def test_jambonz_merges_what_the_application_adds() -> None:
    dial = call(
        "jambonz", recording(1, channels=2), caller="+1", called="+2", parameters={"to": "me", "q": "9"}
    )
    assert json.loads(str(Jambonz(dial).hello(0)[0])) == {
        "accountSid": "acme",
        "direction": "inbound",
        "callId": "sip-f230cf91873b736967eca8fbdc40ffe1",
        "callSid": "c-1",
        "from": "+1",
        "to": "me",
        "sampleRate": 8000,
        "mixType": "stereo",
        "q": "9",
    }
    assert Jambonz.TRAITS.subprotocols == ("audio.jambonz.org",)


def test_freeswitch_says_what_its_dialplan_has() -> None:
    fork = FreeSwitch(call("freeswitch", recording(1, rate=16000), parameters={"tenant": "t1"}))
    assert json.loads(str(fork.hello(0)[0])) == {
        "callSid": "c-1",
        "sampleRate": 16000,
        "mixType": "mono",
        "tenant": "t1",
    }
    assert FreeSwitch.TRAITS.subprotocols == ("audio.drachtio.org",)


def test_audio_is_sent_as_it_is_and_nothing_ends_the_stream() -> None:
    fork = FreeSwitch(call("freeswitch", recording(1)))
    assert fork.media(Frame(0.02, 0, 160, 0, b"ab" * 160, 0)) == [b"ab" * 160]
    assert (fork.stop(0), fork.over) == ([], True)

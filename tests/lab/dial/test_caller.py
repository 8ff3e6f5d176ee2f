"""A call from beginning to end, against a scripted server: what is sent when, and what is told of it."""

from __future__ import annotations

import base64
import json
import ssl
from typing import Any

import pytest
import trio
import trustme
from tests.lab.dial.calls import URL, call, mulaw, recording
from tests.lab.dial.server import Heard, Script, Server
from trio.testing import MockClock
from trio_websocket import WebSocketConnection
from websockets.uri import WebSocketURI

from trio_asr.client.audio import Recording
from trio_asr.config import Secret
from trio_asr.lab.dial.caller import over_network, place
from trio_asr.lab.dial.line import CONNECT_S
from trio_asr.lab.dial.platform import Unfit
from trio_asr.lab.dial.report import Outcome, Report
from trio_asr.lab.dial.settings import Faults
from trio_asr.simulator import stamps


async def placed(
    platform: str, played: Recording, script: Script | None = None, *, served: Any = None, **settings: Any
) -> tuple[Report, Server]:
    """Place a call to a server of its own; return what both sides say."""
    async with trio.open_nursery() as nursery:
        server = Server(nursery, script, **(served or {}))
        report = await place(call(platform, played, **settings), server.reach, wall=lambda: 1700000000.0)
        nursery.cancel_scope.cancel()
    return report, server


def track(heard: Heard, name: str = "inbound") -> bytes:
    """Return the audio of one track of Twilio's messages."""
    media = [text["media"] for text in heard.texts if text["event"] == "media"]
    return b"".join(base64.b64decode(one["payload"]) for one in media if one["track"] == name)


async def started(heard: Heard, socket: WebSocketConnection) -> None:
    """Answer the start of the generic protocol."""
    await socket.send_message(json.dumps({"event": "started"}))


async def test_a_twilio_call(autojump_clock: MockClock) -> None:
    report, server = await placed("twilio", mulaw(0.5), secret=Secret("t"))
    (heard,) = server.sockets
    assert heard.path == "/in/a-path?x=1"
    assert heard.headers["x-twilio-signature"]
    assert heard.offered == ()
    assert [text["event"] for text in heard.texts] == ["connected", "start", *["media"] * 50, "stop"]
    # 200 ms wait for the socket; then a frame of each track comes when it was spoken.
    assert heard.times == [0.2] * 22 + [at for i in range(15) for at in [round(0.22 + 0.02 * i, 3)] * 2] + [
        0.5
    ]
    assert track(heard) + track(heard, "outbound") == mulaw(0.5).audio[0::2] + mulaw(0.5).audio[1::2]
    assert heard.code == 1000
    assert report.as_wished
    assert report.samples == {0: 4000, 1: 4000}
    assert report.lines() == ["c-1 #1: finished 1000: 4000+4000 samples in 53 messages"]


async def test_pace_and_burst_are_settings(autojump_clock: MockClock) -> None:
    _, server = await placed("twilio", mulaw(1, 1), pace=10, burst_ms=0)
    assert server.sockets[0].times[:5] == [0, 0, 0.002, 0.004, 0.006]
    assert server.sockets[0].times[-1] == 0.1


async def test_a_generic_call_waits_for_started(autojump_clock: MockClock) -> None:
    async def slow(heard: Heard, socket: WebSocketConnection) -> None:
        await server_listens(heard, socket, 1)
        await trio.sleep(0.05)
        await started(heard, socket)
        await server_listens(heard, socket, 10)
        await socket.send_message(json.dumps({"event": "ack", "seq": 10}))

    report, server = await placed("generic", recording(0.3), slow, secret=Secret("a.b.c"))
    (heard,) = server.sockets
    assert heard.headers["authorization"] == "Bearer a.b.c"
    assert heard.times == [0, 0.05, 0.05, *[round(0.06 + 0.02 * i, 3) for i in range(13)]]
    assert heard.audio == recording(0.3).audio
    assert report.sockets[0].acked == 10
    assert report.lines() == ["c-1 #1: finished 1000: 2400 samples in 16 messages, 10 acked"]


async def server_listens(heard: Heard, socket: WebSocketConnection, count: int) -> None:
    for _ in range(count):
        message = await socket.get_message()
        heard.messages.append((trio.current_time(), message))


async def test_a_server_that_never_starts(autojump_clock: MockClock) -> None:
    report, _ = await placed("generic", recording(0.3))
    assert not report.as_wished
    assert report.lines() == ["c-1 #1: closed 1000 (no started): 0 samples in 1 messages"]
    assert trio.current_time() == 10


async def test_a_genesys_session(autojump_clock: MockClock) -> None:
    async def server(heard: Heard, socket: WebSocketConnection) -> None:
        answers = {"open": "opened", "ping": "pong", "close": "closed"}
        seq = 0
        while True:
            message = await socket.get_message()
            heard.messages.append((trio.current_time(), message))
            if isinstance(message, str) and (said := json.loads(message))["type"] in answers:
                await trio.sleep(0.05)  # so that no ping is due together with audio
                seq += 1
                media = {"media": said["parameters"]["media"][:1]} if said["type"] == "open" else {}
                answer = {"version": "2", "type": answers[said["type"]], "seq": seq, "clientseq": said["seq"]}
                await socket.send_message(json.dumps(answer | {"id": said["id"], "parameters": media}))

    report, served = await placed("genesys", mulaw(6.5), server, key="k-1", secret=Secret("c2VjcmV0"))
    (heard,) = served.sockets
    assert heard.headers["signature-input"].endswith("created=1700000000;expires=1700000030")
    assert [(said["type"], said["seq"], said["serverseq"], said["position"]) for said in heard.texts] == [
        ("open", 1, 0, "PT0S"),
        ("ping", 2, 1, "PT1S"),
        ("ping", 3, 2, "PT6S"),
        ("close", 4, 3, "PT6.5S"),
    ]
    assert heard.audio == mulaw(6.5).audio
    assert [at for at, m in heard.messages if isinstance(m, str)] == [0, 1.05, 6.05, 6.5]
    assert report.lines() == ["c-1 #1: finished 1000: 52000 samples in 37 messages, 2 acked"]


async def test_a_genesys_server_that_sends_it_away(autojump_clock: MockClock) -> None:
    async def server(heard: Heard, socket: WebSocketConnection) -> None:
        await socket.get_message()
        said = {"version": "2", "type": "disconnect", "seq": 1, "clientseq": 1}
        await socket.send_message(json.dumps(said | {"parameters": {"reason": "unauthorized"}}))
        heard.messages.append((0, await socket.get_message()))
        await socket.send_message(json.dumps({"version": "2", "type": "closed", "seq": 2, "clientseq": 2}))

    report, served = await placed("genesys", mulaw(2), server)
    assert served.sockets[0].texts[0]["parameters"] == {"reason": "disconnect"}
    assert report.lines() == ["c-1 #1: closed 1000 (disconnect: unauthorized): 0 samples in 2 messages"]
    assert not report.as_wished


async def test_jambonz_insists_on_its_subprotocol(autojump_clock: MockClock) -> None:
    url = "ws://user:pass%20word@ingest.test/in"
    accepting = {"subprotocol": "audio.jambonz.org"}
    report, server = await placed("jambonz", recording(0.1), served=accepting, url=url)
    assert report.as_wished
    assert server.sockets[0].headers["authorization"] == "Basic dXNlcjpwYXNzIHdvcmQ="
    assert server.sockets[0].offered == ("audio.jambonz.org",)
    assert server.sockets[0].audio == recording(0.1).audio
    report, _ = await placed("jambonz", recording(0.1))
    assert report.lines() == [
        "c-1 #1: refused 101 (the subprotocol audio.jambonz.org was not accepted): 0 samples in 0 messages"
    ]


async def test_a_refusal_is_told_with_its_status(autojump_clock: MockClock) -> None:
    report, server = await placed("twilio", mulaw(1), served={"refuse": (403,)})
    assert not report.as_wished
    assert report.lines() == ["c-1 #1: refused 403 (not you): 0 samples in 0 messages"]
    assert server.requests == 1
    report, _ = await placed("twilio", mulaw(1), served={"refuse": (403,)}, expect=403)
    assert report.as_wished


async def test_exotel_dials_twice(autojump_clock: MockClock) -> None:
    report, server = await placed("exotel", recording(1), served={"refuse": (500,)})
    assert [one.outcome for one in report.sockets] == [Outcome.REFUSED, Outcome.FINISHED]
    assert report.as_wished
    assert server.sockets[0].texts[1]["start"]["call_sid"] == "c-1"
    report, server = await placed("exotel", recording(1), served={"refuse": (500, 401, 500)})
    assert ([one.status for one in report.sockets], server.requests) == ([500, 401], 2)


async def test_a_server_that_closes_ends_the_call(autojump_clock: MockClock) -> None:
    async def close(heard: Heard, socket: WebSocketConnection) -> None:
        await trio.sleep(0.31)
        await socket.aclose(1008, "no\x1b such route")

    report, _ = await placed("twilio", mulaw(5), close)
    assert report.lines() == ["c-1 #1: closed 1008 (no? such route): 4000+4000 samples in 52 messages"]
    assert trio.current_time() == pytest.approx(0.51)
    report, _ = await placed("twilio", mulaw(5), close, expect=1008)
    assert report.as_wished


async def test_a_cut_and_no_return(autojump_clock: MockClock) -> None:
    report, server = await placed("twilio", mulaw(5), faults=Faults(drop_at_s=0.5))
    (heard,) = server.sockets
    assert heard.code == 1006
    assert track(heard) == mulaw(0.5).audio[0::2]
    assert report.as_wished
    assert report.lines() == ["c-1 #1: cut: 4000+4000 samples in 52 messages"]


async def test_a_cut_after_all_was_said_is_silence_until_then(autojump_clock: MockClock) -> None:
    _, server = await placed("twilio", mulaw(0.5), faults=Faults(drop_at_s=60))
    assert [text["event"] for text in server.sockets[0].texts][-1] == "media"
    assert trio.current_time() == 60


async def test_a_new_stream_after_a_cut_begins_where_the_call_is(autojump_clock: MockClock) -> None:
    faults = Faults(drop_at_s=0.5)
    report, server = await placed("twilio", mulaw(2), faults=faults, reconnect_after_s=0.3)
    first, second = server.sockets
    assert track(first) == mulaw(2).audio[0:8000:2]
    # It begins at 0.8 s of the call, and its socket opens when 200 ms of it are there.
    assert stamps.read(track(second), 1) == [(1, 6400, 16000)]
    assert second.times[0] == 1.0
    assert second.texts[2]["sequenceNumber"] == "2"
    assert second.code == 1000
    assert report.samples == {0: 4000 + 9600, 1: 4000 + 9600}
    assert report.sent(1) == [(0, 4000), (6400, 16000)]
    assert [round(one.age_s, 3) for one in report.sockets] == [0.2, 0.2]


async def test_a_generic_client_resumes_what_was_not_confirmed(autojump_clock: MockClock) -> None:
    async def acknowledge(heard: Heard, socket: WebSocketConnection) -> None:
        await started(heard, socket)
        while True:
            await server_listens(heard, socket, 1)
            if (audio := len(heard.messages) - 1) % 10 == 0 and audio:
                await socket.send_message(json.dumps({"event": "ack", "seq": audio}))

    faults = Faults(drop_at_s=0.5)
    _, server = await placed("generic", recording(1), acknowledge, faults=faults, reconnect_after_s=0.3)
    first, second = server.sockets
    assert stamps.read(first.audio) == [(1, 0, 4000)]
    assert second.texts == [first.texts[0] | {"resume_from": 20}]
    # What it has kept goes at once: from message 21 on to 0.8 s, and the rest as it is spoken.
    assert stamps.read(second.audio) == [(1, 3200, 8000)]
    assert [at for at, m in second.messages if isinstance(m, bytes)][:21] == [
        *[pytest.approx(0.8)] * 20,
        pytest.approx(0.82),
    ]


@pytest.mark.parametrize(("confirmed", "tries"), [(20, 2), (0, 1)])
async def test_what_was_not_confirmed_is_said_once_more_after_the_end(
    confirmed: int, tries: int, autojump_clock: MockClock
) -> None:
    async def leave(heard: Heard, socket: WebSocketConnection) -> None:
        if trio.current_time() < 0.5:
            await started(heard, socket)
            await server_listens(heard, socket, 45)
            await socket.send_message(json.dumps({"event": "ack", "seq": confirmed}))
        else:
            await server_listens(heard, socket, 1)
        await trio.sleep(0.01)
        await socket.aclose(1001)

    report, server = await placed("generic", recording(1), leave, reconnect_after_s=0.3)
    assert [one.code for one in report.sockets] == [1001] * tries
    assert [text.get("resume_from") for one in server.sockets for text in one.texts] == [None, 20][:tries]


async def test_a_server_that_goes_away_is_dialled_again(autojump_clock: MockClock) -> None:
    async def leave_once(heard: Heard, socket: WebSocketConnection) -> None:
        if trio.current_time() < 0.5:
            await trio.sleep(0.4)
            await socket.aclose(1001)

    report, _ = await placed("twilio", mulaw(2), leave_once, reconnect_after_s=0.5)
    assert [(one.outcome, one.code) for one in report.sockets] == [
        (Outcome.CLOSED, 1001),
        (Outcome.FINISHED, 1000),
    ]
    assert report.as_wished


async def test_nobody_there(autojump_clock: MockClock) -> None:
    async def nobody(url: WebSocketURI) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError("nobody there")

    report = await place(call("generic", recording(1), reconnect_after_s=0.4), nobody)
    assert [str(one.outcome) for one in report.sockets] == ["unreachable"] * 3
    assert report.lines()[0] == "c-1 #1: unreachable (nobody there): 0 samples in 0 messages"


async def test_an_answer_that_does_not_come(autojump_clock: MockClock) -> None:
    async def silent(url: WebSocketURI) -> trio.abc.Stream:
        ours, _theirs = trio.testing.memory_stream_pair()
        await trio.lowlevel.checkpoint()
        return ours

    report = await place(call("generic", recording(1)), silent)
    assert report.lines() == ["c-1 #1: refused (no answer within 10 s): 0 samples in 0 messages"]
    assert trio.current_time() == CONNECT_S


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\nhello", b"\0\1\2\r\n\r\n"])
async def test_an_answer_that_is_no_websocket(answer: bytes, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def odd(url: WebSocketURI) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = trio.testing.memory_stream_pair()

            async def answer_once() -> None:
                async with theirs:
                    await theirs.receive_some()
                    if answer:
                        await theirs.send_all(answer)

            nursery.start_soon(answer_once)
            return ours

        report = await place(call("generic", recording(1)), odd)
    assert report.sockets[0].outcome is Outcome.REFUSED
    assert report.sockets[0].status == (200 if b"200" in answer else 0)


async def test_a_second_socket_while_the_first_lives(autojump_clock: MockClock) -> None:
    report, server = await placed("twilio", mulaw(1), faults=Faults(second_socket_s=0.4))
    first, second = server.sockets
    assert track(first) == mulaw(1).audio[0::2]
    assert stamps.read(track(second), 1) == [(1, 3200, 8000)]
    assert first.texts[1]["streamSid"] != second.texts[1]["streamSid"]
    assert first.texts[1]["start"]["callSid"] == second.texts[1]["start"]["callSid"] == "c-1"
    assert [one.outcome for one in report.sockets] == [Outcome.FINISHED] * 2


async def test_no_stop(autojump_clock: MockClock) -> None:
    report, server = await placed("exotel", recording(0.5), faults=Faults(no_stop=True))
    assert [text["event"] for text in server.sockets[0].texts] == ["connected", "start", *["media"] * 5]
    assert server.sockets[0].code == 1000
    assert report.as_wished


async def test_media_before_start(autojump_clock: MockClock) -> None:
    _, server = await placed("twilio", mulaw(0.5, 1), faults=Faults(media_before_start=True))
    events = [text["event"] for text in server.sockets[0].texts]
    assert events == ["connected", *["media"] * 5, "start", *["media"] * 20, "stop"]
    _, server = await placed("generic", recording(0.5), started, faults=Faults(media_before_start=True))
    kinds = [type(message) for _, message in server.sockets[0].messages]
    assert kinds == [*[bytes] * 5, str, *[bytes] * 20]


async def test_disorder_is_the_same_again(autojump_clock: MockClock) -> None:
    faults = Faults(reordered=True, repeated=True, seed=5)
    _, one = await placed("exotel", recording(3), faults=faults)
    _, other = await placed("exotel", recording(3), faults=faults)
    numbers = [int(text.get("sequence_number", 0)) for text in one.sockets[0].texts]
    assert numbers == [int(text.get("sequence_number", 0)) for text in other.sockets[0].texts]
    assert sorted(set(numbers)) == list(range(33))
    assert numbers != sorted(numbers)
    assert len(numbers) > 33
    assert numbers[-1] == 32  # the stop is never overtaken


async def test_a_server_that_does_not_read_is_cut_all_the_same(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = Server(nursery)

        async def narrow(url: WebSocketURI) -> trio.abc.Stream:
            stream = await server.reach(url)
            return Narrow(stream)

        report = await place(call("twilio", mulaw(5), faults=Faults(drop_at_s=1)), narrow)
        nursery.cancel_scope.cancel()
    assert report.sockets[0].outcome is Outcome.CUT
    assert trio.current_time() == 2


class Narrow(trio.abc.Stream):
    """A stream that takes the request, and nothing after it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._sent = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sent:
            await trio.sleep_forever()
        self._sent = True
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_wss_is_dialled_by_tls_and_trusts_what_it_is_told() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with trio.open_nursery() as nursery:
        server = Server(nursery)
        serve = server.serve
        listeners = await nursery.start(trio.serve_ssl_over_tcp, serve, 0, server_context, *[])
        url = f"wss://127.0.0.1:{listeners[0].transport_listener.socket.getsockname()[1]}/in"
        wanted = call(
            "generic", recording(0.02), url=url, faults=Faults(media_before_start=True, drop_at_s=0.05)
        )
        report = await place(wanted, over_network(trusting))
        assert report.sockets[0].outcome is Outcome.CUT
        distrusting = await place(wanted, over_network(ssl.create_default_context()))
        assert distrusting.sockets[0].outcome is Outcome.UNREACHABLE
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("platform", "played", "faults", "complaint"),
    [
        ("twilio", recording(1, rate=16000), {}, "twilio has no audio of 16000 Hz"),
        ("exotel", mulaw(1), {}, "exotel has one channel, the recording has 2"),
        ("jambonz", recording(1), {"clock_jump": (1, 1)}, "jambonz tells no times: its clock cannot jump"),
        (
            "genesys",
            mulaw(1),
            {"repeated": True},
            "genesys does not number its messages: none can be told from another",
        ),
        (
            "genesys",
            mulaw(1),
            {"late_track": (0, 1)},
            "genesys sends one row of audio here: no leg of it can be late",
        ),
        (
            "twilio",
            mulaw(1, 1),
            {"late_track": (0, 1)},
            "twilio sends one row of audio here: no leg of it can be late",
        ),
    ],
)
async def test_what_a_platform_cannot_do(
    platform: str, played: Recording, faults: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Unfit) as unfit:
        await place(call(platform, played, faults=Faults(**faults)))
    assert str(unfit.value) == complaint


async def test_audio_is_put_into_what_the_platform_has(autojump_clock: MockClock) -> None:
    _, server = await placed("exotel", recording(0.1, "alaw"))
    assert server.sockets[0].texts[1]["start"]["media_format"]["encoding"] == "raw/slin"
    assert len(base64.b64decode(server.sockets[0].texts[2]["media"]["payload"])) == 1600


async def test_a_secret_that_signs_nothing() -> None:
    with pytest.raises(Unfit, match=r"^genesys' client secret is in base64$"):
        await place(call("genesys", mulaw(1), secret=Secret("hus-h")))


@pytest.mark.parametrize("url", ["http://a.test/", "ws:///x", "ws://u@host/secret"])
async def test_a_url_of_something_else_is_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match=r"^not a URL of a WebSocket, such as wss://host/path$"):
        await place(call("generic", recording(1), url=url))


def test_nothing_secret_shows() -> None:
    shown = repr(call("twilio", recording(1), secret=Secret("hush"), url=f"{URL}&token=hush"))
    assert "hush" not in shown


async def test_a_server_that_vanishes(autojump_clock: MockClock) -> None:
    async def vanish(heard: Heard, socket: WebSocketConnection) -> None:
        await trio.sleep(0.11)
        await socket._stream.aclose()

    report, _ = await placed("twilio", mulaw(5), vanish)
    assert (report.sockets[0].outcome, report.sockets[0].code) == (Outcome.LOST, 1006)
    assert report.samples == {0: 2400, 1: 2400}
    assert not report.as_wished

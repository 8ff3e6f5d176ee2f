"""The routes that look at who asks: over real sockets where that matters."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from tests.web.web_harness import TOKEN, WebHarness, request, run_web

from trio_asr.config import Config, HttpConfig, Secret
from trio_asr.core.states import Life
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.web import live, server
from trio_asr.web.app import create_app

OPEN = ("/health", "/ready", "/live", "/metrics")
FILES = ("/", "/page.css", "/page.js", "/calls.js", "/charts.js", "/stream.js", "/page.svg")
DATA = ("/events", "/interactions", "/interactions/x")
HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"
# What may stand in an id: any printable character but braces.
IDS = (
    "call-17", "a/b", "/a", "//a//", "a%2Fb", "100%", "a?b=c#d", "ü € 漢", " a ", "a+b", "..", ".", "a;b,c&d",
    "<img src=x onerror=alert(1)>", "'\"\\", "x" * 256,
)  # fmt: skip


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream, secrets=[])
    yield stream
    logs.configure("info", "json")
    root.handlers = handlers


async def ask(
    view: Any, path: str, peer: str, token: str | None = None, *, configured: bool = True, **headers: str
) -> tuple[int, dict[str, str]]:
    """Ask the application as from some address; return status and headers, whatever else would come."""
    secret = Secret(TOKEN) if configured else None
    app = create_app(
        view, metrics := Metrics(), InternalErrors(metrics), Config(http=HttpConfig(token=secret))
    )
    sent = {"host": "127.0.0.1"} | headers | ({} if token is None else {"authorization": f"Bearer {token}"})
    fields = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in sent.items()]
    scope: Any = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": (peer, 1),
        "headers": fields, "extensions": {},
    }  # fmt: skip
    answer: list[Any] = []

    async def receive() -> Any:
        if not answer:
            answer.append(None)
            return {"type": "http.request", "body": b"", "more_body": False}
        return await trio.sleep_forever()

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            answer.append(message)
            enough.cancel()

    with trio.move_on_after(60) as enough:
        await app(scope, receive, send)
    return answer[-1]["status"], {
        name.decode().lower(): value.decode() for name, value in answer[-1]["headers"]
    }


# -- who may see what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configured", "token", "peer", "files", "data"),
    [
        (False, None, HERE, 200, {"/events": 200, "/interactions": 403, "/interactions/x": 403}),
        (False, None, ELSEWHERE, 403, dict.fromkeys(DATA, 403)),
        (False, "a-guess", ELSEWHERE, 401, dict.fromkeys(DATA, 401)),
        (True, None, HERE, 200, {"/events": 200, "/interactions": 401, "/interactions/x": 401}),
        (True, None, ELSEWHERE, 200, dict.fromkeys(DATA, 401)),
        (True, "a-guess", HERE, 401, dict.fromkeys(DATA, 401)),
        (True, "a-guess", ELSEWHERE, 401, dict.fromkeys(DATA, 401)),
        (True, TOKEN, HERE, 200, {"/events": 200, "/interactions": 200, "/interactions/x": 404}),
        (True, TOKEN, ELSEWHERE, 200, {"/events": 200, "/interactions": 200, "/interactions/x": 404}),
    ],
)
async def test_who_may_see_what(  # noqa: PLR0917
    view: Any, configured: bool, token: str | None, peer: str, files: int, data: dict[str, int]
) -> None:
    expected = dict.fromkeys(OPEN, 200) | dict.fromkeys(FILES, files) | data
    assert {
        path: (await ask(view, path, peer, token, configured=configured))[0] for path in expected
    } == expected


async def test_a_borrowed_name_or_a_proxy_is_elsewhere(view: Any) -> None:
    """DNS rebinding: somebody's page has its own name lead here. It must not even see numbers."""
    assert (await ask(view, "/events", HERE, host="evil.test"))[0] == 401
    assert (await ask(view, "/events", HERE, host="evil.test", configured=False))[0] == 403
    assert (await ask(view, "/events", HERE, X_Forwarded_For=ELSEWHERE))[0] == 401
    assert (await ask(view, "/health", HERE, host="pod.cluster:3001"))[0] == 200


async def test_a_page_of_another_site_gets_no_stream(view: Any) -> None:
    assert (await ask(view, "/events", HERE, Sec_Fetch_Site="cross-site"))[0] == 403
    assert (await ask(view, "/events", HERE, Sec_Fetch_Site="same-origin"))[0] == 200
    assert (await ask(view, "/", HERE, Sec_Fetch_Site="cross-site"))[0] == 200  # a link may lead here


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/health", "/metrics", "/events", "/interactions", "/nothing"]
)
async def test_every_answer_is_fenced(view: Any, path: str) -> None:
    _, headers = await ask(view, path, HERE)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "set-cookie" not in headers
    assert "access-control-allow-origin" not in headers


async def test_guessing_ends_in_429_and_one_line_in_the_log(log: io.StringIO) -> None:
    async with run_web() as one:
        answers = [await one.get("/interactions", f"wrong-token-{number}") for number in range(12)]
        assert [status for status, _ in answers] == [401] * 10 + [429] * 2
        status, head, _ = await request(one.port, "/interactions", TOKEN)
        assert status == 429
        assert b"retry-after: 60" in head
        assert (await request(one.port, "/health"))[0] == 200
    lines = [line for line in log.getvalue().splitlines() if "Wrong HTTP token" in line]
    assert len(lines) == 1
    assert "wrong-token" not in log.getvalue()
    assert TOKEN not in log.getvalue()


async def test_large_requests_are_refused() -> None:
    async with run_web() as one:
        assert (await request(one.port, "/health", more=f"X: {'x' * 12_000}\r\n"))[0] == 200
        try:
            status, _, _ = await request(one.port, "/health", more=f"X: {'x' * 200_000}\r\n")
        except (trio.BrokenResourceError, IndexError):
            status = 431  # it hung up in the middle of it
        assert 400 <= status < 500
        assert (await request(one.port, "/interactions", TOKEN, "POST", more="Content-Length: 9\r\n"))[
            0
        ] == 405


# -- calls ---------------------------------------------------------------------------------------------------


async def test_a_call_in_json() -> None:
    async with run_web(("One.", "Two."), interim="thr") as one:
        await one.speak("call-17", 2.5)
        await trio.sleep(0.2)  # the interim may take a commit more
        status, body = await one.get("/interactions")
        assert status == 200
        (call,) = body["interactions"]
        detail = (await one.call("call-17"))[1]
        assert set(detail) == set(call) | {"lines", "interim"}
        expected = {
            "id": "call-17", "tenant": "tenant", "trace_id": None, "state": "streaming", "connection": 1,
            "request_id": "request-1", "last_error": "", "received_s": 2.5,
        }  # fmt: skip
        assert {name: detail[name] for name in expected} == expected
        assert 0 < detail["finalized_s"] <= detail["sent_s"] <= detail["received_s"]
        assert detail["lag_s"] == pytest.approx(detail["received_s"] - detail["finalized_s"])
        assert detail["held_bytes"] == pytest.approx(detail["lag_s"] * 16_000, abs=2)
        assert detail["chunks"] >= 1
        assert detail["since"] > 1_600_000_000_000
        assert detail["lines"][0] == {
            "number": 1, "type": "final", "text": "One.", "start_ms": 0, "end_ms": 1000,
            "seq": detail["lines"][0]["seq"],
        }  # fmt: skip
        assert await one.call("call-18") == (404, {"error": "Not Found"})


async def test_any_id_can_be_asked_for() -> None:
    async with run_web() as one:
        async with trio.open_nursery() as nursery:
            for interaction_id in IDS:
                nursery.start_soon(one.speak, interaction_id)
        assert {call["id"] for call in (await one.get("/interactions"))[1]["interactions"]} == set(IDS)
        for interaction_id in IDS:
            status, call = await one.call(interaction_id)
            assert (status, call.get("id")) == (200, interaction_id)


async def test_a_call_of_two_people_as_json() -> None:
    async with run_web(("Hello.", "Good morning."), interim="how") as one:
        await one.speak_as_two("call-17", 1.5)
        with trio.fail_after(60):
            while len((call := (await one.call("call-17"))[1])["interims"]) < 2:  # noqa: ASYNC110 (over HTTP)
                await trio.sleep(0.02)
        (listed,) = (await one.get("/interactions"))[1]["interactions"]
        assert [listed[name] for name in ("encoding", "sample_rate", "channels")] == ["mulaw", 8000, 2]
        assert listed["legs"] == [
            {"channel": 0, "role": "customer", "finalized_s": 1.0, "lag_s": 0.5},
            {"channel": 1, "role": "agent", "finalized_s": 1.0, "lag_s": 0.5},
        ]
        said = [(line["text"], line["channel"], line["role"]) for line in call["lines"]]
        assert said == [("Hello.", 0, "customer")]
        assert [(one["text"], one["channel"]) for one in call["interims"]] == [("how", 0), ("how", 1)]
        assert call["interim"] in call["interims"]


async def test_a_call_of_one_person_has_the_fields_it_always_had() -> None:
    async with run_web(("Hello.",), interim="how") as one:
        await one.speak("call-17")
        (listed,) = (await one.get("/interactions"))[1]["interactions"]
        call = (await one.call("call-17"))[1]
        assert call.keys() - listed.keys() == {"lines", "interim"}
        assert not {"encoding", "sample_rate", "channels", "legs"} & listed.keys()
        assert call["lines"][0].keys() == {"number", "type", "text", "start_ms", "end_ms", "seq"}


async def test_without_a_token_no_transcript_is_kept() -> None:
    async with run_web(token=None) as one:
        await one.speak("call-17")
        assert one.daemon.interactions["call-17"].call.outbox.recent is None


async def test_the_trace_id_of_the_producer_is_everywhere(log: io.StringIO) -> None:
    async with run_web() as one:
        frame = json.loads(_frame(one))
        one.store.add("audio_stream", json.dumps(frame | {"trace_id": "trace-1"}).encode())
        await one.speak("call-17")
        assert (await one.call("call-17"))[1]["trace_id"] == "trace-1"
        (message, *_) = [json.loads(data) for data in one.store.messages("transcript.call-17")]
        assert message["trace_id"] == "trace-1"
        opened = [json.loads(line) for line in log.getvalue().splitlines() if "Connection opened" in line]
        assert [line["trace_id"] for line in opened] == ["trace-1"]


def _frame(one: WebHarness) -> bytes:
    from tests.worker_harness import Producer

    return Producer(one.store, "call-17", 1).envelope(0.02)


# -- the stream ----------------------------------------------------------------------------------------------


async def listen(port: int, token: str | None = None, path: str = "/events") -> trio.SocketStream:
    """Begin to watch; returns once the answer has begun."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    authorization = "" if token is None else f"Authorization: Bearer {token}\r\n"
    await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}\r\n".encode())
    return stream


async def first(stream: trio.SocketStream, wanted: bytes = b"\n\n") -> str:
    """Return what comes until `wanted` does."""
    got = b""
    with trio.fail_after(60):
        while wanted not in got:
            chunk = await stream.receive_some()
            assert chunk, got
            got += chunk
    return got.decode()


async def test_numbers_for_everybody_and_calls_for_the_token() -> None:
    async with run_web(("A secret.",), interim="more") as one:
        await one.speak("call-17")
        async with await listen(one.port, path="/events?call=call-17") as stream:
            seen = await first(stream) + await first(stream)  # two pictures
        assert seen.startswith("HTTP/1.1 200")
        assert '"calls":1' in seen
        assert '"token":"needed"' in seen
        for hidden in ("call-17", "secret", "more", "tenant", "request-1"):
            assert hidden not in seen
        async with await listen(one.port, TOKEN, "/events?call=call-17") as stream:
            seen = await first(stream, b"event: call\n")
            seen += await first(stream)
        assert '"token":"given"' in seen
        assert "A secret." in seen
        async with await listen(one.port, TOKEN, "/events?call=nobody") as stream:
            assert "event: call\ndata: null" in await first(stream, b"data: null")


async def test_a_head_request_has_an_end() -> None:
    async with run_web() as one:
        assert (await request(one.port, "/events", method="HEAD"))[0] == 200


async def test_so_many_may_watch_and_no_more() -> None:
    async with run_web() as one, AsyncExitStack() as watching:
        guests = []
        for _ in range(live.MAX_GUESTS):
            guests.append(await watching.enter_async_context(await listen(one.port)))
            assert "200" in await first(guests[-1], b"\r\n")
        assert (await request(one.port, "/events"))[0] == 503
        for _ in range(live.MAX_WATCHERS - live.MAX_GUESTS):
            stream = await watching.enter_async_context(await listen(one.port, TOKEN))
            assert "200" in await first(stream, b"\r\n")
        status, head, body = await request(one.port, "/events", TOKEN)
        assert (status, json.loads(body)["reason"]) == (503, "too many watch")
        assert b"retry-after: 10" in head
        assert (await request(one.port, "/health"))[0] == 200
        await guests[0].aclose()
        with trio.fail_after(60):
            while True:  # until the place is free again
                async with await listen(one.port) as stream:
                    if "200" in await first(stream, b"\r\n"):
                        break
                await trio.sleep(0.05)


async def test_a_stop_ends_the_streams_at_once() -> None:
    began = 0.0
    async with AsyncExitStack() as watching:
        async with run_web() as one:
            await one.speak("call-17")
            streams = [await watching.enter_async_context(await listen(one.port, TOKEN)) for _ in range(5)]
            for stream in streams[:4]:  # the fifth does not read
                await first(stream)
            began = trio.current_time()
        assert trio.current_time() - began < 60
        with trio.fail_after(60):
            for stream in streams:
                while await stream.receive_some():
                    pass


async def test_who_stops_reading_loses_the_place(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SEND_TIMEOUT_MS", 300)
    app = create_app(view, metrics := Metrics(), InternalErrors(metrics), Config())
    async with trio.open_nursery() as nursery, AsyncExitStack() as deaf:
        port = await nursery.start(server.serve, app, HttpConfig(port=0))
        for _ in range(live.MAX_GUESTS):
            stream = await deaf.enter_async_context(await listen(port))
            await stream.receive_some(16)
        # What has been sent so far is little, and waits in the sockets of those who do not read it.
        assert (await request(port, "/events"))[0] == 503
        view.since = {f"{number} {'x' * 1000}": 0.0 for number in range(500)}  # half a megabyte a second
        with trio.fail_after(60):
            answer: bytes | bytearray = b""
            while not answer.startswith(b"HTTP/1.1 200"):  # until one of them was dropped
                with trio.move_on_after(5):
                    async with await listen(port) as stream:
                        answer = await stream.receive_some(16)
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


# -- what it costs -------------------------------------------------------------------------------------------


async def test_one_picture_a_second_for_all_and_none_for_nobody(view: Any, autojump_clock: object) -> None:
    shown = live.Live(view, Metrics(), Config(http=HttpConfig(token=Secret(TOKEN))))
    await trio.sleep(100)
    assert shown.built == 0
    got: list[list[bytes]] = [[], [], []]

    async def watch(number: int) -> None:
        await trio.sleep(number / 10)
        async for picture in shown.stream(trusted=True, call=None):
            got[number].append(picture)

    with trio.move_on_after(10.5):
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(watch, number)
    # A second each of the state and the calls; and the history, once for each who came in that second.
    assert [len(pictures) for pictures in got] == [11, 11, 11]
    assert shown.built <= 11 * 2 + 1
    assert got[0][5] is not got[0][6]
    assert got[0][5] == got[1][5] == got[2][5]
    built = shown.built
    await trio.sleep(100)
    assert shown.built == built


async def test_calls_in_trouble_come_first_where_not_all_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_SHOWN", 2)
    async with run_web() as one:
        for number in range(3):
            await one.speak(f"call-{number}")
        life = one.daemon.interactions["call-2"].life
        life.now = Life.FAILED
        async with await listen(one.port, TOKEN) as stream:
            seen = await first(stream, b"event: calls\n") + await first(stream)
        life.now = Life.RUNNING
    listed = json.loads(seen.rpartition("data: ")[2].partition("\n")[0])
    assert listed["more"] == 1
    assert listed["calls"][0]["id"] == "call-2"
    assert listed["calls"][0]["state"] == "restarting"

"""The pages: whatever clients send and hold, three calls are whole and others are answered."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import ALL, examples
from tests.hostile import junk
from tests.hostile.daemon_harness import MemoryBackend, run_daemon

from trio_asr.client.http import get
from trio_asr.web.clients import MAX_PER_PEER

CLIENTS = 120 if ALL else MAX_PER_PEER + 10
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
SENT = {
    "nothing": b"",
    "half": b"GET /metr",
    "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + (b"\0\0\x08\x06" + bytes(13)) * 2000,
    "h2c": GET.replace(
        b"\r\n\r\n", b"\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade\r\n\r\n"
    ),
    "ahead": GET * 2000,
    "chunks": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 20_000,
    "head": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000,
    "line": b"GET /" + b"x" * 2_000_000,
    "junk": bytes(range(256)) * 1000,
}

STAY = ("nothing", "half")  # on connections that nothing ends but others who want the place


async def hold(port: int, data: bytes) -> None:
    """Connect from another address of this machine, send, read nothing; and again, if that ends."""
    while True:
        with suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2") as stream:
                await stream.send_all(data)
                await trio.sleep(1)
        await trio.sleep(0.05)


@pytest.mark.parametrize("name", SENT)
@pytest.mark.soak
async def test_floods(name: str) -> None:
    async with run_daemon(MemoryBackend()) as one, trio.open_nursery() as nursery:

        async def beside() -> None:
            await trio.sleep(0.5)
            for _ in range(3):
                with trio.fail_after(600):  # for ever, however slow the machine
                    status, _ = await get(one.daemon.port, "/live")
                assert status == 200
                await trio.sleep(0.2)

        for _ in range(CLIENTS):
            nursery.start_soon(hold, one.daemon.port, SENT[name])
        await one.three_good_calls(beside, seconds=1.5)
        if name in STAY:
            with trio.fail_after(600):  # on a slow machine they are still on their way
                while (  # noqa: ASYNC110 - a counter tells nobody
                    one.counted("asr_http_connections_turned_away_total") < CLIENTS - MAX_PER_PEER
                ):
                    await trio.sleep(0.1)
        assert one.counted("asr_internal_errors_total", place="page") == 0
        nursery.cancel_scope.cancel()


@settings(max_examples=examples(5), deadline=None, suppress_health_check=junk.UNHEALTHY)
@given(
    st.lists(
        st.one_of(st.binary(max_size=100), st.sampled_from(list(SENT.values()))), min_size=5, max_size=40
    )
)
def test_any_clients(sent: list[bytes]) -> None:
    async def main() -> None:
        async with run_daemon(MemoryBackend()) as one, trio.open_nursery() as nursery:
            for data in sent:
                nursery.start_soon(hold, one.daemon.port, data)
            await one.three_good_calls(seconds=1.0)
            assert one.counted("asr_internal_errors_total", place="page") == 0
            nursery.cancel_scope.cancel()

    trio.run(main)

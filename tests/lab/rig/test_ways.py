"""A member's own way to each server, which can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any, cast

import pytest
import redis
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.lab.rig.valkey import HOST, EmbeddedValkey, free_port
from trio_asr.lab.rig.ways import Announced, Ways, ways

A, B = "127.0.0.2", "127.0.0.3"  # of the members of that name


class Server:
    """A server that answers in capitals."""

    def __init__(self) -> None:
        self.port = free_port()
        self.heard = b""
        self.left = trio.Event()

    async def answer(self, stream: trio.SocketStream) -> None:
        async for data in stream:
            self.heard += data
            await stream.send_all(data.upper())
        self.left.set()


@asynccontextmanager
async def served(*, there: bool = True) -> AsyncIterator[tuple[Server, Server, Ways]]:
    """Run two servers, or only say that they are there, and the ways of two members to both."""
    servers = Server(), Server()
    async with trio.open_nursery() as nursery:
        if there:
            for server in servers:
                await nursery.start(partial(trio.serve_tcp, server.answer, server.port, host=HOST))
        async with ways(cast("tuple[EmbeddedValkey, ...]", servers), "ab") as found:
            yield (*servers, found)
        nursery.cancel_scope.cancel()


async def asked(stream: trio.SocketStream, text: bytes) -> bytes:
    await stream.send_all(text)
    return bytes(await stream.receive_some())


@pytest.mark.integration
async def test_what_is_cut_is_one_members_way_to_one_server() -> None:
    async with served() as (first, second, found), AsyncExitStack() as clients:

        async def client(host: str, server: Server) -> trio.SocketStream:
            return await clients.enter_async_context(await trio.open_tcp_stream(host, server.port))

        cut = await client(A, first)
        assert await asked(cut, b"one") == b"ONE"
        found.cut("a", 0)
        late = await client(A, first)
        await cut.send_all(b"late")
        await late.send_all(b"later")
        assert await asked(await client(A, second), b"two") == b"TWO"
        assert await asked(await client(B, first), b"two") == b"TWO"
        assert first.heard == b"onetwo"
        found.join("a", 0)
        assert [await cut.receive_some(), await late.receive_some()] == [b"LATE", b"LATER"]


@pytest.mark.integration
async def test_either_end_of_a_way_is_that_of_both() -> None:
    async with served() as (first, _, found):
        async with await trio.open_tcp_stream(A, first.port) as stream:
            assert await asked(stream, b"one") == b"ONE"
        await first.left.wait()
        assert found.url("a") == f"redis://{A}:{first.port}/0"
        assert found.url("c") is None
    async with served(there=False) as (first, _, _), await trio.open_tcp_stream(A, first.port) as stream:
        assert await stream.receive_some() == b""


def test_addresses_have_one_digit() -> None:
    with pytest.raises(ValueError, match="9 members are more than 8"):
        Ways((), "abcdefghi")


ANSWER = b"*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n$9\r\n127.0.0.1\r\n"


@given(st.lists(st.integers(1, len(ANSWER)), max_size=6))
def test_addresses_are_replaced_however_an_answer_is_split(places: list[int]) -> None:
    announced = Announced(A)
    at = [0, *sorted(places), len(ANSWER)]
    pieces = [announced(ANSWER[first:last]) for first, last in pairwise(at)]
    assert b"".join(pieces) == ANSWER.replace(b"127.0.0.1", b"127.0.0.2")


@pytest.mark.integration
async def test_a_cluster_tells_a_member_its_own_ways(session_cluster: EmbeddedCluster) -> None:
    def hosts() -> set[bytes]:
        with redis.Redis(B, session_cluster.servers[1].port) as client:
            ranges: Any = client.execute_command("CLUSTER SLOTS")
        return {node[0] for _, _, *nodes in ranges for node in nodes}

    async with ways(session_cluster.servers, "ab"):
        assert await trio.to_thread.run_sync(hosts) == {B.encode()}

"""The servers that a fleet lies on: a single one, or the nodes of a cluster.

A cluster says itself which of its nodes serves which slots. It is asked again when a node does not answer, or
does not serve a slot any more: then what lies there is away for a while, and nothing is refused for good.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
import trio

from trio_asr.bus.answers import describe
from trio_asr.bus.base import BusFault, BusUnavailable, KeyMisused
from trio_asr.bus.connection import PipelinedConnection, options
from trio_asr.bus.line import Line
from trio_asr.bus.poller import Poller
from trio_asr.bus.streams import MOST_BYTES

SLOTS = 16_384
LOOK_S = 1.0  # least time between two looks at which node serves what
SLOW_S = 0.2  # a node that has not said so by then may be frozen: the next one is asked beside it
LOOK_THREADS = 16  # those of nodes that are frozen end by their timeouts

T = TypeVar("T")


def slot_of(key: str) -> int:
    """Return the slot of a key in a cluster, 0 to 16,383: that of its hash tag, if it has one."""
    _, brace, rest = key.partition("{")
    tag, end, _ = rest.partition("}")
    return binascii.crc_hqx((tag if brace and end and tag else key).encode(), 0) % SLOTS


class Node:
    """A server that several shards lie on, with the lines that they share."""

    def __init__(self, url: str) -> None:
        self.line = Line("redis", PipelinedConnection(url, options()))
        self.poller = Poller("redis-read", PipelinedConnection(url, options(), MOST_BYTES))
        self.behind = Line("redis-again", PipelinedConnection(url, options(), MOST_BYTES))

    def close(self) -> None:
        """Disconnect; what waits fails."""
        for line in (self.line, self.poller, self.behind):
            line.close()


class _Range(NamedTuple):
    """Slots from `first` to `last`, and the URLs of the nodes that have them, that of the primary first."""

    first: int
    last: int
    urls: Sequence[str]


class Nodes:
    """The nodes behind a URL, which is that of any of them; its user, password and options hold for all."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ranges: Sequence[_Range] = ()  # none: not known yet
        self._is_cluster = True  # unless its server says otherwise
        self._nodes: dict[str, Node] = {}  # by URL
        self._by_slot: dict[int, Node] = {}  # of those slots that were asked for
        self._next_look = -math.inf
        self._why = ""  # why the last look failed
        self._looking = trio.Lock()
        self._threads = trio.CapacityLimiter(LOOK_THREADS)

    async def ask(self, slot: int, question: Callable[[Node], Awaitable[T]]) -> T:
        """Ask the node of a slot.

        Raises:
            BusUnavailable: It does not answer, or does not serve the slot now.
        """
        node = await self.node(slot)
        try:
            return await question(node)
        except (KeyMisused, BusFault):
            raise  # it has answered
        except BusUnavailable as error:
            failure = error
        with suppress(BusUnavailable):
            await self.look(besides=node)
        raise failure

    async def node(self, slot: int) -> Node:
        """Return the node that serves a slot, as far as is known.

        Raises:
            BusUnavailable: None does, or no node says which.
        """
        if not self._ranges:
            async with self._looking:
                if not self._ranges:  # nobody has found out meanwhile
                    if trio.current_time() < self._next_look:
                        raise BusUnavailable(self._why)
                    await self._look(None)
        if slot not in self._by_slot:
            url = next((one.urls[0] for one in self._ranges if one.first <= slot <= one.last), None)
            if url is None:
                raise BusUnavailable(f"no node of the cluster serves slot {slot}")
            if url not in self._nodes:
                self._nodes[url] = Node(url)
            self._by_slot[slot] = self._nodes[url]
        return self._by_slot[slot]

    def known(self, slot: int) -> Node | None:
        """Return the node that serves a slot, if that was asked for since the last look."""
        return self._by_slot.get(slot)

    async def look(self, besides: Node | None = None) -> None:
        """Ask which node serves what, unless that was just done; `besides` one node, which is asked last.

        Raises:
            BusUnavailable: No node says so.
        """
        is_due = self._is_cluster and trio.current_time() >= self._next_look
        if not is_due or self._looking.locked():
            return
        async with self._looking:
            await self._look(besides)

    async def _look(self, besides: Node | None) -> None:
        self._next_look = trio.current_time() + LOOK_S
        known = dict.fromkeys([*(url for one in self._ranges for url in one.urls), self._url])
        first = sorted(known, key=lambda url: self._nodes.get(url) is besides is not None)
        try:
            found = await _ranges(first, self._threads)
        except BusUnavailable as error:
            self._why = str(error)
            raise
        self._is_cluster = bool(found)
        self._ranges = found or [_Range(0, SLOTS - 1, [self._url])]
        self._by_slot.clear()
        for url in self._nodes.keys() - {one.urls[0] for one in self._ranges}:
            self._nodes.pop(url).close()

    def close(self) -> None:
        """Disconnect from all nodes."""
        for node in self._nodes.values():
            node.close()


async def _ranges(urls: Sequence[str], threads: trio.CapacityLimiter) -> Sequence[_Range]:
    """Ask one node after another which of them serves what, and the next one as soon as one is slow.

    The first answer is taken; a server of no cluster has no ranges.

    Raises:
        BusUnavailable: None of them says so.
    """
    found: list[Sequence[_Range]] = []
    reasons: list[Exception] = []

    async def ask(url: str, over: trio.Event) -> None:
        # In a thread for the moment: a node that is frozen must not hold up the others' lines.
        look = partial(trio.to_thread.run_sync, abandon_on_cancel=True, limiter=threads)
        try:
            found.append(await look(_ranges_of, url))
            nursery.cancel_scope.cancel()
        except (redis.RedisError, OSError) as error:
            reasons.append(error)
        over.set()

    async with trio.open_nursery() as nursery:
        for url in urls:
            over = trio.Event()
            nursery.start_soon(ask, url, over)
            with trio.move_on_after(SLOW_S):
                await over.wait()
    if not found:
        raise BusUnavailable(describe(reasons[-1])) from reasons[-1]
    return found[0]


def _ranges_of(url: str) -> Sequence[_Range]:
    """Return the ranges as a node says; of a server of no cluster none. Blocking."""
    if url.startswith("unix:"):
        return []  # the other nodes of a cluster could not be reached like that
    host = urlsplit(url).hostname or "localhost"
    with closing(PipelinedConnection(_url_of(url, host, urlsplit(url).port), options())) as connection:
        (found,) = connection.ask(("CLUSTER", "SLOTS"))
    if isinstance(found, redis.ResponseError):
        if "cluster support disabled" in str(found):
            return []
        raise found
    if not found:  # it is not taken for a single server: another node may know more, or this one later
        raise redis.RedisError("this node of a cluster knows of no slots (yet): see CLUSTER INFO")
    if database := redis.ConnectionPool.from_url(url).connection_kwargs.get("db"):
        raise redis.RedisError(f"redis.url names database {database}, but a cluster has only database 0")
    return [
        _Range(first, last, [_place(url, host, *node) for node in nodes]) for first, last, *nodes in found
    ]


def _place(url: str, host: str, announced: bytes | None, port: int, *_: Any) -> str:
    """Return the URL of a node; one that announces no host is where the others are asked for."""
    name = (announced or b"").decode()
    return _url_of(url, name if name not in ("", "?") else host, port)


def _url_of(url: str, host: str, port: int | None) -> str:
    """Return a URL with another host and port, and without a database."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    place = f"[{host}]" if ":" in host else host
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "db"])
    netloc = user + at + place + (f":{port}" if port is not None else "")
    return parts._replace(netloc=netloc, path="", query=query).geturl()

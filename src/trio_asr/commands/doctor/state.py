"""Checks of the workers' state in Redis: owner, progress, other readers."""

from __future__ import annotations

from contextlib import closing
from typing import Any, cast

import redis

from trio_asr.bus.base import BusForbids
from trio_asr.bus.connection import PipelinedConnection, options
from trio_asr.bus.groups import consumers_of
from trio_asr.bus.keys import Keys
from trio_asr.bus.line import answer
from trio_asr.commands.doctor.findings import Report
from trio_asr.commands.doctor.server import Server
from trio_asr.config import RedisConfig
from trio_asr.wire import ids
from trio_asr.wire.records import ReaderState, decode_reader
from trio_asr.worker.foreign_readers import ACTIVE_MS, advice

BEHIND_S = 60.0  # un-finalized audio holds the floor back by seconds; this is more
KEPT_S = 60.0  # with less audio than this in the stream, a restart may lose some
COUNTED = 1000


class State:
    """The checks of what the workers have left in Redis: a single worker's, or of one shard by its keys."""

    def __init__(self, config: RedisConfig, server: Server, keys: Keys | None = None) -> None:
        self._config, self._server = config, server
        self._keys = keys or Keys(config.consumer_group)

    def ownership(self, report: Report) -> None:
        """Check the lease against the fencing token, and count the calls in progress."""
        client = self._server.client
        if client is None:
            return
        pipe: Any = client.pipeline(transaction=False)
        pipe.get(self._keys.lease)
        pipe.pttl(self._keys.lease)
        pipe.get(self._keys.fence)
        pipe.scard(self._keys.live)
        holder, ttl_ms, fence, live = pipe.execute()
        group = self._config.consumer_group
        if fence is None:
            report.warn("ownership", f"no worker has ever run as group {group}", "start one: trio-asr serve")
        elif holder is None:
            report.warn("ownership", f"no worker is active for group {group}", "start one: trio-asr serve")
        elif holder != fence:
            report.warn("ownership", "lease and fence differ: a worker is just taking over", "ask again")
        else:
            token = holder[:6].decode("utf-8", "replace")
            left = f"the lease holds {ttl_ms / 1000:.1f} s more (redis.lease_ms {self._config.lease_ms})"
            report.ok("ownership", f"a worker is active for group {group}, token {token}...; {left}")
        if fence is not None:
            report.ok("calls", f"{live} in progress, as far as is committed")

    def progress(self, report: Report) -> None:
        """Check the lag: how far the floors are behind the ends of the streams."""
        client = self._server.client
        if client is None:
            return
        state = client.hget(self._keys.reader, "state")
        reader = decode_reader(cast("bytes", state)) if state else ReaderState()
        for stream, floor in (
            (self._config.audio_stream, reader.audio_floor),
            (self._config.call_end_stream, reader.end_floor),
        ):
            kind = cast("bytes", client.type(stream)).decode()
            if kind == "none":
                report.ok("progress", f"{stream} does not exist yet: no producer has written to it")
            elif kind != "stream":
                report.fail("progress", f"{stream} is a {kind}, not a stream", "give it another name")
            else:
                self._behind(report, client, stream, floor, started=bool(state))

    def _behind(self, report: Report, client: redis.Redis, stream: str, floor: str, *, started: bool) -> None:
        info: dict[str, Any] = client.xinfo_stream(stream)
        last = info["last-generated-id"].decode()
        missing = client.xrange(stream, min=f"({floor}" if floor != ids.ORIGIN else "-", count=COUNTED) or []
        count = f"{len(missing)} entries" if len(missing) < COUNTED else f"{COUNTED} or more entries"
        if not started:
            report.ok("progress", f"{stream}: {count}, never read as group {self._config.consumer_group}")
        elif not missing:
            report.ok("progress", f"{stream}: all of it was read, up to {last}")
        else:
            behind_s = (ids.milliseconds(last) - ids.milliseconds(floor)) / 1000
            says = f"{stream}: the floor {floor} is {behind_s:.1f} s behind the end, {count}"
            if behind_s > BEHIND_S:
                report.warn("progress", says, "no worker reads, or a call finds no connection: see /ready")
            else:
                report.ok("progress", says)
        if stream == self._config.audio_stream:
            self._cut(report, info, floor if started else ids.ORIGIN)

    def _cut(self, report: Report, info: dict[str, Any], floor: str) -> None:
        """Check whether producers trim the audio stream too short (MAXLEN)."""
        first, added = info.get("first-entry"), info.get("entries-added")  # the latter since Redis 7
        if not first or added == info["length"]:
            return
        last, begin = info["last-generated-id"].decode(), first[0].decode()
        kept_s = (ids.milliseconds(last) - ids.milliseconds(begin)) / 1000
        remedy = "raise MAXLEN at the producers, or let redis.trim do the cutting"
        if floor != ids.ORIGIN and ids.key(begin) > ids.key(floor):
            report.warn("cut", f"audio before {begin} was cut away past the floor {floor}", remedy)
        elif added is None:
            report.ok("cut", "up to the floor nothing is missing; more can be told since Redis 7.0")
        elif not self._config.trim and kept_s < KEPT_S:
            says = f"the audio stream is cut and holds {kept_s:.1f} s: a worker away for longer loses audio"
            report.warn("cut", says, remedy)
        else:
            report.ok("cut", f"the audio stream is cut, and holds {kept_s:.0f} s")

    def consumers(self, report: Report) -> None:
        """Check for other readers in the consumer group."""
        if self._server.client is None:
            return
        group, streams = (
            self._config.consumer_group,
            (self._config.audio_stream, self._config.call_end_stream),
        )
        try:
            with closing(PipelinedConnection(self._config.url, options())) as connection:
                found = sorted(answer(connection, consumers_of(group, streams)), key=lambda one: one.idle_ms)
        except BusForbids as error:
            report.warn("consumers", f"may not be asked for: {error}", "allow XINFO CONSUMERS")
            return
        if not found:
            report.ok("consumers", f"nobody else reads in group {group}")
        elif found[0].idle_ms < ACTIVE_MS:
            says = advice(found[0])
            (report.warn if self._config.allow_foreign_consumers else report.fail)("consumers", says)
        else:
            says = f"{len(found)} of another program in group {group}"
            report.ok("consumers", f"{says}, silent for {found[0].idle_ms / 1000:.0f} s")

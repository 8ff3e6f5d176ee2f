"""Checks of the Redis server: its reachability, and the version and settings that our promises rest on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import redis
import redis.exceptions

from trio_asr.bus.keys import Keys
from trio_asr.client.redis import RedisFailure, connect, connect_fleet
from trio_asr.commands.doctor.findings import Report
from trio_asr.config import RedisConfig, mask_url

_NO_SCRIPT = "0" * 40  # the SHA-1 of none
OLDEST = (6, 2)
FULL, NEARLY_FULL = 0.95, 0.8  # of maxmemory
CLOCK_S = 1.0
LONG_MS = 60_000


Commands = Iterator[tuple[str | int, ...]]


class Server:
    """The checks of the server. `client` is None until it has answered; without it they report nothing.

    `commands` are those of the process whose rights are checked; without any they are the daemon's. A fleet
    may lie on a cluster: `client` is then one of all its nodes, and the server the one that the URL names.
    """

    def __init__(
        self,
        config: RedisConfig,
        commands: Callable[[RedisConfig], Commands] | None = None,
        *,
        fleet: bool = False,
    ) -> None:
        self._config = config
        self._commands = commands or daemons
        self.client: Any = None
        self._node: redis.Redis | None = None
        self._fleet = fleet

    def reach(self, report: Report) -> None:
        """Check the connection, and keep it for the checks that follow."""
        shown = mask_url(self._config.url)
        client = None
        try:
            client = connect(self._config.url)
            began = time.monotonic()
            client.ping()
            took_ms = (time.monotonic() - began) * 1000
        except redis.AuthenticationError as error:
            report.fail("redis", f"{shown} refuses the login: {error}", "see user and password in redis.url")
        except redis.exceptions.NoPermissionError as error:
            self._refused(report, shown, client, error)
        except (redis.RedisError, RedisFailure, OSError) as error:
            report.fail("redis", f"{shown} is not reachable: {error}", "see redis.url (REDIS_URL)")
        else:
            self._take(client)
            report.ok("redis", f"{shown} answers, after {took_ms:.1f} ms")

    def _refused(
        self,
        report: Report,
        shown: str,
        client: redis.Redis | None,
        error: redis.exceptions.NoPermissionError,
    ) -> None:
        """Distinguish a user that may not PING, which the daemon never does, from one that may do nothing."""
        if "'ping'" in str(error):
            self._take(client)
            report.ok("redis", f"{shown} answers; its user may not PING, and need not")
        else:
            report.fail("redis", f"{shown} lets this user do nothing: {error}", "allow it by ACL SETUSER")

    def _take(self, client: redis.Redis | None) -> None:
        self._node = client
        self.client = connect_fleet(self._config.url) if self._fleet else client

    def settings(self, report: Report) -> None:
        """Check version, role, durability and memory."""
        if self._node is None:
            return
        info: Mapping[str, Any] = self._node.info()
        _version(report, info, cluster=self._fleet)
        if not info.get("cluster_enabled"):
            durability(report, info, setting(self._node, "appendfsync"))
            memory(report, info)

    def clock(self, report: Report) -> None:
        """Compare the server's clock with ours: the age of audio is computed from both."""
        if self._node is None:
            return
        clock(report, self._node)

    def permissions(self, report: Report) -> None:
        """Check that the user may run all commands. ACL DRYRUN executes nothing."""
        if self._node is None:
            return
        try:
            user = self._node.execute_command("ACL", "WHOAMI")  # type: ignore[no-untyped-call]
            denied = [
                " ".join(str(word) for word in command[:2])
                for command in self._commands(self._config)
                if self._node.execute_command("ACL", "DRYRUN", user, *command) != b"OK"  # type: ignore[no-untyped-call]
            ]
        except redis.ResponseError as error:
            report.warn("permissions", f"cannot be asked for ({error})", "see the daemon's log")
            return
        name = bytes(user or b"?").decode("utf-8", "replace")
        if denied:
            advice = "ACL SETUSER, for the streams, trio_asr:* and the transcripts' keys"
            report.fail("permissions", f"user {name} may not: {', '.join(dict.fromkeys(denied))}", advice)
        else:
            report.ok("permissions", f"user {name} may do all that is needed")


def clock(report: Report, node: redis.Redis) -> None:
    """Compare a server's clock with ours."""
    before = time.time()
    seconds, micros = node.time()
    off = seconds + micros / 1e6 - (before + time.time()) / 2
    says = f"the clocks of Redis and this machine are {abs(off) * 1000:.0f} ms apart"
    if abs(off) > CLOCK_S:
        report.warn("clock", says, "run NTP on both: ages and latencies in metrics are off by as much")
    else:
        report.ok("clock", says)


def refused_script(client: Any, *keys: str) -> str:
    """Return why the server takes no EVALSHA from us; "" if it does."""
    try:
        with suppress(redis.exceptions.NoScriptError):
            client.evalsha(_NO_SCRIPT, len(keys), *keys)
    except redis.ResponseError as error:
        return str(error)
    return ""


def setting(node: redis.Redis, name: str) -> str:
    """Return a setting, or "" where CONFIG is not allowed, as on many hosted servers."""
    try:
        return str(node.config_get(name).get(name, ""))
    except redis.ResponseError:
        return ""


def _version(report: Report, info: Mapping[str, Any], *, cluster: bool = False) -> None:
    text = str(info.get("redis_version", ""))
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {text}"
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if version < OLDEST:
        report.fail("version", f"{name} is too old", "6.2 or newer is needed")
    else:
        report.ok("version", name)
    if info.get("cluster_enabled") and cluster:
        report.ok("topology", "a node of a cluster")
    elif info.get("cluster_enabled"):
        says = "this is a node of a cluster, and a single worker's keys lie on several nodes"
        report.fail("topology", says, "set fleet.shards to 2 or more, or use a single primary")
    elif info.get("role") != "master":
        report.fail("topology", f"this is a {info.get('role')}", "let redis.url name the primary")
    else:
        report.ok("topology", "a primary, no cluster")


def durability(report: Report, info: Mapping[str, Any], fsync: str) -> None:
    """Check whether a server keeps what it has acknowledged."""
    if not info.get("aof_enabled"):
        report.warn(
            "durability",
            "appendonly is off: a restart of Redis loses audio and transcripts",
            "set appendonly yes",
        )
    elif info.get("aof_last_write_status") != "ok":
        report.fail("durability", "the last write of the append-only file failed", "see the log of Redis")
    elif fsync == "no":
        report.warn(
            "durability",
            "appendonly with appendfsync no: a power loss loses more than a moment",
            "set appendfsync everysec",
        )
    else:
        bound = ": a power loss loses up to 2 s" if fsync == "everysec" else ""
        report.ok("durability", f"appendonly is on, appendfsync {fsync or '(not shown to us)'}{bound}")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        report.warn("durability", "the last snapshot failed: Redis may come to refuse writes", "see its log")


def memory(report: Report, info: Mapping[str, Any]) -> None:
    """Check whether a server has room left, and what it does without."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy = str(info.get("maxmemory_policy", ""))
    if not most:
        report.ok("memory", f"{used / 1e6:.0f} MB used, no maxmemory")
        return
    share = used / most
    says = f"{used / 1e6:.0f} of {most / 1e6:.0f} MB used ({share:.0%})"
    if share >= FULL:
        report.fail("memory", f"{says}: writes are about to be refused", "raise maxmemory, or trim streams")
    elif share >= NEARLY_FULL:
        report.warn("memory", says, "raise maxmemory, or trim streams (redis.trim)")
    else:
        report.ok("memory", says)
    if policy == "noeviction":
        report.ok("eviction", "maxmemory-policy noeviction")
    else:
        advice = "set maxmemory-policy noeviction"
        judge: Callable[..., None] = report.fail if policy.startswith("allkeys") else report.warn
        what = "audio and transcripts" if policy.startswith("allkeys") else "checkpoints of calls"
        judge("eviction", f"maxmemory-policy {policy}: a full Redis drops {what}", advice)


def daemons(config: RedisConfig, keys: Keys | None = None) -> Commands:
    """Yield the commands of the daemon, each with keys of the kinds that it uses."""
    keys = keys or Keys(config.consumer_group)
    call, audio, ends = keys.state("doctor"), config.audio_stream, config.call_end_stream
    yield from (("GET", keys.fence), ("SET", keys.lease, "x", "PX", LONG_MS))
    yield from (("PEXPIRE", keys.lease, LONG_MS), ("DEL", keys.lease), ("PERSIST", call))
    yield from (("HSET", call, "rev", 1), ("HGET", call, "rev"), ("HMGET", call, "rev", "state"))
    yield from (("SADD", keys.live, "x"), ("SREM", keys.live, "x"), ("SMEMBERS", keys.live))
    yield from (("EVALSHA", "0" * 40, 1, keys.fence), ("SCRIPT", "LOAD", "return 1"), ("TIME",))
    yield ("CLIENT", "SETNAME", "trio-asr")  # SELECT, for another database than 0, was needed to get here
    for stream in (config.transcript_key("doctor"), config.events_stream, config.dead_letter_stream):
        yield from (("TYPE", stream), ("XADD", stream, "*", "data", "x"))
    for stream in (audio, ends):
        yield from (("XREAD", "STREAMS", stream, "0"), ("XINFO", "CONSUMERS", stream, config.consumer_group))
        for verb in ("CREATE", "SETID"):
            yield ("XGROUP", verb, stream, config.consumer_group, "0")
    yield ("XRANGE", audio, "-", "+")
    yield ("XINFO", "GROUPS", audio)
    if config.trim:
        yield from (("XPENDING", audio, "x"), ("XTRIM", audio, "MINID", "0"))

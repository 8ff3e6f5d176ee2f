"""The figures of a run, and how they are shown. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from trio_asr.lab.load.account import Account
from trio_asr.lab.load.feeder import Fed
from trio_asr.lab.load.measure import exact_percentile
from trio_asr.lab.load.plan import Plan
from trio_asr.lab.rig.page import Page

MILLISECONDS = 1000


class Latency(msgspec.Struct):
    """Percentiles in milliseconds; None if nothing was measured, or beyond the histogram's buckets."""

    p50: float | None
    p95: float | None
    p99: float | None

    def __str__(self) -> str:
        return " / ".join("-" if one is None else f"{one:.1f}" for one in (self.p50, self.p95, self.p99))


class Report(msgspec.Struct):
    """The figures of one run. Delays are in ms, CPU is in cores over the measured window."""

    calls: int
    seconds: float
    frame_ms: int
    input: str
    wss: bool
    cpu_ms_per_call_second: float
    calls_per_core: int
    daemon_cpu: float
    idle_cpu: float
    simulator_cpu: float
    feeder_cpu: float
    redis_cpu: float
    memory_kb_per_call: float
    unfinalized_kb_per_call: float  # part of that
    send_delay: Latency  # flush due -> on the socket
    commit_delay: Latency  # result on the socket -> readable in Redis
    loop_delay: Latency
    partial_delay: Latency  # last sample added -> partial readable, measured from outside
    final_delay: Latency
    redis_bytes_per_call_second: float  # of audio entries, in Redis's memory
    frames_per_read: float
    commits_per_second: float
    account: Account
    fed: Fed

    @property
    def failures(self) -> list[str]:
        """What shows that the daemon failed."""
        account = self.account
        return [
            text
            for wrong, text in (
                (account.lost, f"{account.lost} samples are lost"),
                (account.gaps, f"{account.gaps} samples were given up"),
                (account.doubled, f"{account.doubled} samples are there twice"),
                (account.strangers, f"{account.strangers} samples are in calls that are not theirs"),
                (account.unended, f"{account.unended} calls have not ended"),
                (
                    account.connections - self.calls,
                    f"{account.connections} connections for {self.calls} calls",
                ),
            )
            if wrong
        ]

    @property
    def complaints(self) -> list[str]:
        """The failures, and what spoils the figures although the daemon did its part."""
        fed = self.fed
        late = [f"the feeder was late with {fed.late} of {fed.frames} frames"] if fed.late else []
        return self.failures + late


@dataclass(frozen=True)
class Usage:
    """The CPU seconds that processes had used at one time, and the daemon's memory in bytes."""

    daemon: float
    simulator: float
    feeder: float
    redis: float
    memory: int


@dataclass(frozen=True)
class Reading:
    """One reading of everything, at a time on the monotonic clock."""

    at: float
    usage: Usage
    page: Page


@dataclass(frozen=True)
class Measured:
    """The measurements of a run."""

    plan: Plan
    wss: bool
    idle_bytes: int
    idle_cpu: float
    begin: Reading
    end: Reading
    account: Account
    fed: Fed
    entry_bytes: float  # in Redis's memory
    partials_s: list[float]
    finals_s: list[float]


def report(seen: Measured) -> Report:
    """Compute the figures."""
    begin, end, calls = seen.begin, seen.end, seen.plan.calls
    passed = end.at - begin.at

    def share(name: str) -> float:
        used: float = getattr(end.usage, name) - getattr(begin.usage, name)
        return used / passed

    def counted(name: str) -> float:
        return end.page.value(name) - begin.page.value(name)

    def delay(name: str) -> Latency:
        observed = end.page.histogram(name).since(begin.page.histogram(name))
        return Latency(*(_ms(observed.quantile(percent / 100)) for percent in (50, 95, 99)))

    daemon = share("daemon")
    return Report(
        calls=calls,
        seconds=round(passed, 2),
        frame_ms=seen.plan.frame_ms,
        input=seen.plan.input,
        wss=seen.wss,
        cpu_ms_per_call_second=round(daemon * MILLISECONDS / calls, 4),
        calls_per_core=round(calls / daemon) if daemon else 0,
        daemon_cpu=round(daemon, 4),
        idle_cpu=round(seen.idle_cpu, 4),
        simulator_cpu=round(share("simulator"), 4),
        feeder_cpu=round(share("feeder"), 4),
        redis_cpu=round(share("redis"), 4),
        memory_kb_per_call=round((end.usage.memory - seen.idle_bytes) / 1024 / calls, 1),
        unfinalized_kb_per_call=round(end.page.value("asr_unfinalized_bytes") / 1024 / calls, 1),
        send_delay=delay("asr_send_delay_seconds"),
        commit_delay=delay("asr_commit_latency_seconds"),
        loop_delay=delay("asr_loop_delay_seconds"),
        partial_delay=_exact(seen.partials_s),
        final_delay=_exact(seen.finals_s),
        redis_bytes_per_call_second=round(seen.entry_bytes * MILLISECONDS / seen.plan.frame_ms),
        frames_per_read=round(
            counted("asr_audio_chunks_processed_total") / max(1.0, counted("asr_reads_total")), 1
        ),
        commits_per_second=round(counted("asr_commit_latency_seconds_count") / passed, 1),
        account=seen.account,
        fed=seen.fed,
    )


def table(one: Report) -> Table:
    """Return the figures as a table for people."""
    shown = Table(box=SIMPLE_HEAD, show_header=False, padding=(0, 1, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(justify="right", no_wrap=True, style="bold")
    shown.add_column(style="dim")
    account = one.account
    way = "wss" if one.wss else "ws"
    how = f"{one.calls} calls, {one.frame_ms} ms frames, {one.input}, {way}, {one.seconds:.0f} s"
    busy = f"simulator {one.simulator_cpu:.0%}, feeder {one.feeder_cpu:.0%}, Redis {one.redis_cpu:.0%}"
    for row in (
        ("CPU of the daemon", f"{one.cpu_ms_per_call_second:.3f} ms", "per call and second"),
        ("calls per core", f"{one.calls_per_core}", "by CPU alone; " + how),
        (
            "memory per call",
            f"{one.memory_kb_per_call:.0f} KB",
            f"open audio {one.unfinalized_kb_per_call:.0f}",
        ),
        ("due -> on the socket", f"{one.send_delay} ms", "p50 / p95 / p99"),
        ("result -> in Redis", f"{one.commit_delay} ms", "p50 / p95 / p99"),
        ("event loop late by", f"{one.loop_delay} ms", "p50 / p95 / p99"),
        ("spoken -> partial", f"{one.partial_delay} ms", "in Redis; chunking included"),
        ("spoken -> final", f"{one.final_delay} ms", "likewise"),
        ("audio on Redis", f"{one.redis_bytes_per_call_second:.0f} B", "per call and second"),
        ("frames per read", f"{one.frames_per_read:.0f}", f"{one.commits_per_second:.0f} commits a second"),
        ("daemon busy", f"{one.daemon_cpu:.1%}", f"of a core; idle {one.idle_cpu:.2%}"),
        ("others busy", "", busy),
        ("samples lost", f"{account.lost}", f"of {account.fed}; doubled {account.doubled}"),
    ):
        shown.add_row(*row)
    return shown


def _exact(values: list[float]) -> Latency:
    return Latency(*(_ms(exact_percentile(values, percent)) for percent in (50, 95, 99)))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds * MILLISECONDS, 2)

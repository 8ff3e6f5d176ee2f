"""Every series moves: in a healthy run, or in one where what it counts has happened, each named here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from types import SimpleNamespace

import pytest
import trio
from prometheus_client.metrics_core import Metric
from tests.member_metrics import member_metrics
from tests.worker_harness import AUDIO, EchoLink, EchoProvider, Producer, RoughBus, run_worker, settings
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.config import Config, DeepgramConfig, HttpConfig, RedisConfig
from trio_asr.core import reader_state
from trio_asr.core import waiting as waiting_module
from trio_asr.daemon import Daemon
from trio_asr.deepgram.provider import ConnectFailed, Link, LinkClosed
from trio_asr.interaction import interaction
from trio_asr.interaction.interaction import Interaction
from trio_asr.telemetry import logs
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier
from trio_asr.web.app import create_app
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.codes import CaughtAt
from trio_asr.wire.messages import Unknown
from trio_asr.wire.records import Stored
from trio_asr.worker import dispatcher as dispatcher_module

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(metrics: Metrics) -> Samples:
    """What a scrape gives, by family and labels; histograms by their counts."""
    return {
        (family.name, frozenset({"name": sample.name, **sample.labels}.items())): sample.value
        for family in metrics.registry.collect()
        if family.name.startswith(("asr_", "deepgram_"))
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_sum"))
    }


def moved(before: Samples, after: Samples) -> set[str]:
    """The families of which anything is another than before."""
    return {key[0] for key, value in after.items() if value != before.get(key)}


@dataclass
class Run:
    """What a scenario uses, and all that it has seen move."""

    clock: MockClock
    patch: pytest.MonkeyPatch
    moved: set[str] = field(default_factory=set)
    _began: Samples = field(default_factory=lambda: samples(Metrics()))

    def look(self, metrics: Metrics) -> None:
        self.moved |= moved(self._began, samples(metrics))


class RefusingProvider(EchoProvider):
    """Refuses with a status while there is one, after a while; takes `wait_s` for a handshake."""

    def __init__(self, status: int | None = None, wait_s: float = 0.0) -> None:
        super().__init__()
        self.status, self.wait_s = status, wait_s

    @asynccontextmanager
    async def connect(self, fmt: Format) -> AsyncIterator[Link]:
        await trio.sleep(self.wait_s)
        if self.status is not None:
            raise ConnectFailed("so the test says", status=self.status)
        async with super().connect(fmt) as link:
            yield link


@asynccontextmanager
async def daemon(
    run: Run, store: MemoryStore, provider: EchoProvider
) -> AsyncIterator[tuple[Daemon, RoughBus]]:
    """A whole worker; what its page says in the end is looked at."""
    metrics, bus = Metrics(), RoughBus(store)
    config = Config(http=HttpConfig(port=0))
    worker = Daemon(config, bus, provider, metrics, Notifier({}))
    client = create_app(worker, metrics, worker.internal, config).test_client()
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        yield worker, bus
        await client.get("/metrics")
        run.look(metrics)
        nursery.cancel_scope.cancel()


# -- the runs ------------------------------------------------------------------------------------------------


async def healthy(run: Run) -> None:
    store = MemoryStore()
    async with daemon(run, store, EchoProvider()) as (worker, _):
        call, ended = Producer(store, "call-1", 1), Producer(store, "call-2", 2)
        ended.speak(1.0)
        ended.end()
        await call.talk(3)
        call.speak(0.3)
        await trio.sleep(0.02)
        run.look(worker._metrics)
        run.clock.jump(2.0)  # somebody held up the loop
        await trio.sleep(0.01)


async def redis_away(run: Run) -> None:
    async with daemon(run, MemoryStore(), EchoProvider()) as (_, bus):
        await trio.sleep(5)
        bus.away = True
        await trio.sleep(120)


async def reloads(run: Run) -> None:
    async with daemon(run, MemoryStore(), EchoProvider()) as (worker, _):
        worker.reload(Config())
        worker.not_reloaded(["nothing fits"])
        await trio.sleep(1)


async def refused_key(run: Run) -> None:
    async with run_worker(provider=RefusingProvider(401)) as on:
        on.producer().speak(1.0)
        await trio.sleep(2)
        run.look(on.metrics)


async def few_connections(run: Run) -> None:
    limits = Config(deepgram=DeepgramConfig(max_connections=1))
    async with run_worker(limits) as on, trio.open_nursery() as nursery:
        for number in (1, 2):
            nursery.start_soon(on.producer(number).talk, 2)
        await trio.sleep(1.5)
        run.look(on.metrics)


async def slow_handshake(run: Run) -> None:
    async with run_worker(provider=RefusingProvider(wait_s=1.0)) as on:
        await on.producer().talk(2)
        run.look(on.metrics)


async def second_connection(run: Run) -> None:
    async with run_worker() as on:
        admission = on.calls._services.admission
        admission.opened(audio_format(8000), "call")
        admission.opened(audio_format(8000), "call")
        run.look(on.metrics)


async def odd_provider(run: Run) -> None:
    def inspect(link: EchoLink, pcm: bytes) -> None:
        link._send.send_nowait(Unknown("Results", "no range"))
        if link.audio_bytes > 16_000 and link.request_id == "echo-1":
            raise LinkClosed(1011, "NET-0001")

    provider = EchoProvider()
    provider.inspect = inspect
    async with run_worker(provider=provider) as on:
        await on.producer().talk(3)
        run.look(on.metrics)


async def nobody_answers(run: Run) -> None:
    async with run_worker(settings(max_unfinalized_s=5), provider=RefusingProvider(503)) as on:
        for _ in range(4):
            await on.producer().talk(10)
            run.look(on.metrics)


async def junk(run: Run) -> None:
    run.patch.setattr(reader_state, "MAX_JUNK_QUEUED", 1)
    async with run_worker() as on:
        for _ in range(3):
            on.store.add(AUDIO, b"{")
        await trio.sleep(1)
        run.look(on.metrics)


async def careless_producers(run: Run) -> None:
    async with run_worker() as on:
        call = on.producer()
        call.speak(0.1)
        frame = call.envelope(0.1)
        for _ in range(2):
            on.store.add(AUDIO, frame)
        call._seq += 1
        call.samples += 800
        call.speak(0.1)
        on.store.add(AUDIO, call.envelope(0.1).replace(b'"seq"', b'"position":-1,"seq"'))
        call.end()
        on.provider.mute = True  # CloseStream goes unanswered for a while
        await trio.sleep(5)
        call.speak(0.1)
        await trio.sleep(1)
        run.look(on.metrics)


async def old_entries(run: Run) -> None:
    store = MemoryStore()
    Producer(store, "call-1", 1).speak(0.5)
    await trio.sleep(100)
    async with run_worker(Config(redis=RedisConfig(max_backlog_s=25)), store=store) as on:
        await trio.sleep(1)
        run.look(on.metrics)


async def late_reader(run: Run) -> None:
    run.patch.setattr(
        dispatcher_module, "time", SimpleNamespace(time=lambda: 1e10, perf_counter=perf_counter)
    )
    async with run_worker() as on:
        on.producer().speak(0.1)
        await trio.sleep(0.02)
        run.look(on.metrics)


async def cut_and_begun_again(run: Run) -> None:
    async with run_worker() as on:
        batch = await on.bus.read("0-0", "0-0")
        on.dispatcher._at.audio = "9-9"
        await on.dispatcher._take(batch._replace(trimmed="9999999999999-0", last_audio="9-8"))
        run.look(on.metrics)


async def many_ends(run: Run) -> None:
    run.patch.setattr(dispatcher_module, "MAX_ENDS", 1)
    async with run_worker() as on:
        for number in range(3):
            on.producer(number).end()
        await trio.sleep(1)
        run.look(on.metrics)


async def too_many_calls(run: Run) -> None:
    run.patch.setattr(waiting_module, "MAX_WAITING", 1)
    async with run_worker(settings(max_calls=1)) as on:
        for number in range(4):
            on.producer(number).speak(0.5)
        await trio.sleep(0.5)
        run.look(on.metrics)


async def stuck_call(run: Run) -> None:
    async def read(self: Interaction) -> None:
        await trio.sleep_forever()

    run.patch.setattr(interaction, "BATCHES", 1)
    run.patch.setattr(Interaction, "_read", read)
    async with run_worker() as on:
        call = on.producer()
        for _ in range(200):
            call.speak(0.1)
            await trio.sleep(0.1)
            run.look(on.metrics)


async def frames_too_late(run: Run) -> None:
    """After their hole was filled: the call is that much longer than what was said."""
    async with run_worker() as on:
        call = on.producer()
        frames = [call.envelope(0.02) for _ in range(60)]
        late = frames.pop(10)
        for frame in frames:
            on.store.add(AUDIO, frame)
            await trio.sleep(0.02)
        on.store.add(AUDIO, late)
        await trio.sleep(1)
        run.look(on.metrics)


async def crowded_pages(run: Run) -> None:
    run.look(metrics := Metrics())
    await trio.sleep(1)
    metrics.http_turned_away.inc()  # as `tests/web/test_connection.py` shows
    run.look(metrics)


async def bugs(run: Run) -> None:
    store = MemoryStore()
    store.states["call-1"] = Stored(3, b"{")
    run.patch.setattr(logs, "dropped", lambda: 7)
    async with run_worker(store=store) as on:
        on.producer().speak(1.0)
        await trio.sleep(1)
        on.calls._services.internal.caught(CaughtAt.CALL, RuntimeError("so the test says"))
        run.look(on.metrics)


HEALTHY = {
    "asr_audio_chunks_processed", "asr_flush_interval_seconds", "asr_flush_age_seconds",
    "asr_flush_audio_seconds", "asr_reads", "asr_send_delay_seconds",
    "deepgram_audio_chunks_sent", "deepgram_audio_sent_seconds",
    "deepgram_connections_created", "deepgram_connections_reused", "deepgram_connection_wait_seconds",
    "deepgram_connections_closed", "deepgram_transcripts_received", "asr_transcripts_delivered",
    "asr_audio_chunks_covered", "asr_first_partial_latency_seconds", "asr_result_latency_seconds",
    "asr_commit_latency_seconds", "asr_calls", "deepgram_connections", "asr_unfinalized_seconds",
    "asr_unfinalized_bytes", "asr_loop_lag_seconds", "asr_loop_delay_seconds",
    "asr_redis_up", "asr_ready", "asr_role",
}  # fmt: skip
# What an unhealthy run is there to move.
UNHEALTHY: dict[Callable[[Run], Awaitable[None]], set[str]] = {
    redis_away: {"asr_health_status", "asr_problem_seconds"},
    reloads: {"asr_config_reloads", "asr_config_last_reload_success"},
    refused_key: {
        "deepgram_breaker_open", "asr_errors", "asr_last_error_info", "asr_last_error_timestamp_seconds",
    },
    few_connections: {"deepgram_calls_waiting"},
    slow_handshake: {"deepgram_duplicate_connection_attempts"},
    second_connection: {"deepgram_duplicate_connections"},
    odd_provider: {"deepgram_messages_unusable", "deepgram_connection_timeouts"},
    nobody_answers: {"asr_gaps", "asr_gap_samples", "asr_gap_seconds", "asr_calls_behind"},
    junk: {"asr_dead_letters", "asr_dead_letters_dropped"},
    careless_producers: {
        "asr_duplicates_dropped", "asr_holes_filled_seconds", "asr_late_frames", "asr_positions_ignored",
    },
    old_entries: {"asr_backlog_skipped"},
    late_reader: {"asr_reader_lag_seconds"},
    cut_and_begun_again: {"asr_input_trimmed", "asr_streams_begun_again"},
    many_ends: {"asr_ends_dropped"},
    too_many_calls: {"asr_calls_deferred", "asr_calls_refused", "asr_calls_waiting"},
    stuck_call: {"asr_overruns"},
    frames_too_late: {"asr_audio_late_seconds"},
    crowded_pages: {"asr_http_connections_turned_away"},
    bugs: {"asr_internal_errors", "asr_broken_states", "asr_log_lines_dropped"},
}  # fmt: skip
CONSTANT = {"asr_memory_limit_bytes"}


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [(healthy, HEALTHY), *UNHEALTHY.items()],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_what_a_run_is_to_move_moves(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    scenario: Callable[[Run], Awaitable[None]],
    expected: set[str],
) -> None:
    run = Run(autojump_clock, monkeypatch)
    await scenario(run)
    assert expected - run.moved == set()


def test_no_series_is_left_out() -> None:
    """What nothing moves is no series."""
    known = {name for name, _ in samples(Metrics())} | {family.name for family in plain()}
    assert known - HEALTHY - set().union(*UNHEALTHY.values()) == CONSTANT


def plain() -> Iterator[Metric]:
    """All families, also those without a sample yet."""
    return (f for f in Metrics().registry.collect() if f.name.startswith(("asr_", "deepgram_")))


def test_the_series_of_a_fleet_are_a_members_alone() -> None:
    """Each with what it is made of. The hand-overs are moved in `tests/worker/test_member.py`."""
    before, after = samples(Metrics()), samples(member_metrics())
    ours = {key: value for key, value in after.items() if key[0].startswith(("asr_fleet_", "asr_shard_"))}
    assert before.keys() == after.keys() - ours.keys()
    values = {name: value for (name, labels), value in ours.items() if name != "asr_shard_handovers"}
    assert values == {
        "asr_fleet_members": 0, "asr_fleet_shards": 8, "asr_fleet_shards_unowned": 1,
        "asr_fleet_shards_held": 4, "asr_fleet_share": 3, "asr_fleet_capacity": 40,
        "asr_fleet_load_ratio": 0.5, "asr_shard_held": 1, "asr_shard_calls": 20,
        "asr_shard_lag_seconds": 0.5, "asr_shard_entries": 900, "asr_shard_handover_seconds": 0,
    }  # fmt: skip

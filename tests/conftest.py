"""What every suite may use: a real Valkey server of this process' own, never one that happens to run.

And what holds for all tests: those that take long are asked for by name, a failure is told in a screenful,
and no verdict hangs on how fast an example was made.
"""

from __future__ import annotations

import gc
import itertools
import signal
from typing import TYPE_CHECKING

import hypothesis
import pytest
import redis
from _pytest._code.code import ExceptionRepr, ReprEntry, ReprEntryNative, ReprTraceback
from tests.examples import examples

from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.lab.rig.valkey import EmbeddedValkey
from trio_asr.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

LONGER = ("e2e", "hostile", "commands", "lab", "worker")  # folders
LOG_LINES = 40  # of what a failing test wrote: the last ones
MESSAGE_LINES = 40  # of what it raised: the first and the last ones

hypothesis.settings.register_profile(
    "any machine",
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any machine")

# A shell that starts the tests in the background has them, and all they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless it is spoken of (`-m soak`, `-m "soak or not soak"`).

    What takes some seconds begins first: at the end, all would wait for it.
    """
    items.sort(key=lambda item: item.path.parent.name not in LONGER)  # stable
    if "soak" in config.getoption("markexpr"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in set(soak)]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage: what is collected lives to the end, and to look takes half of a worker's start."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """See that no test sends the log of those after it elsewhere."""
    yield
    assert logs._sink.stream is None, "the log goes to a stream of this test's own, and it has ended"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of a failure what can be read: a daemon's log has thousands of lines."""
    report = yield
    if report.failed:
        report.sections = _last(report.sections)
        if isinstance(report.longrepr, ExceptionRepr):
            for part, *_ in getattr(report.longrepr, "chain", ()):
                _shorten(part)
    return report


def _last(sections: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The last lines of all that was captured, each under its heading."""
    kept, room = [], LOG_LINES
    for name, text in reversed(sections):
        lines = text.splitlines()
        if lines and room:
            shown = lines[-room:]
            room -= len(shown)
            left_out = f", the last {len(shown)} of {len(lines)} lines" if len(shown) < len(lines) else ""
            kept.append((name + left_out, "\n".join(shown) + "\n"))
    return kept[::-1]


def _shorten(traceback: ReprTraceback) -> None:
    for entry in traceback.reprentries:
        if isinstance(entry, ReprEntry):
            first = next((n for n, line in enumerate(entry.lines) if line.startswith("E")), None)
            if first is not None:  # before it, the test itself
                entry.lines = [*entry.lines[:first], *_ends(entry.lines[first:], "")]
        elif isinstance(entry, ReprEntryNative):
            entry.lines = _ends("".join(entry.lines).splitlines(keepends=True), "\n")


def _ends(lines: Sequence[str], newline: str) -> Sequence[str]:
    half, count = MESSAGE_LINES // 2, len(lines) - MESSAGE_LINES
    if count <= 0:
        return lines
    # pytest takes the colour of a line from its first letter.
    return [*lines[:half], f"E   ... {count} lines left out ...{newline}", *lines[-half:]]


DATABASES = 64
_numbers = itertools.cycle(range(DATABASES))


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """The session's server. Shared: a test that kills, pauses or fills one asks `new_valkey` for its own."""
    with EmbeddedValkey(options={"databases": str(DATABASES)}) as server:
        yield server


@pytest.fixture(scope="session")
def clusters(valkey: EmbeddedValkey) -> None:
    """Skip where the server is too old: its ports cannot be chosen, nor ranges of slots given."""
    with redis.Redis.from_url(valkey.url) as client:
        if int(client.info("server")["redis_version"].partition(".")[0]) < 7:
            pytest.skip("clusters of servers before 7.0 are not formed")


@pytest.fixture(scope="session")
def session_cluster(clusters: None) -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(node_timeout_ms=60_000) as cluster:
        yield cluster


@pytest.fixture
def cluster(session_cluster: EmbeddedCluster) -> EmbeddedCluster:
    """An empty cluster; its slots may have been moved."""
    for number in range(3):
        with session_cluster.client(number) as client:
            client.flushall()
    return session_cluster


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """An empty database of the session's server; each test gets the next number."""
    url = f"redis://127.0.0.1:{valkey.port}/{next(_numbers)}"
    client = redis.Redis.from_url(url)
    try:
        client.flushdb()
    finally:
        client.close()
    return url


@pytest.fixture
def new_valkey() -> Iterator[Callable[..., EmbeddedValkey]]:
    """Starts servers of the test's own; takes the arguments of `EmbeddedValkey`."""
    servers: list[EmbeddedValkey] = []

    def start(**settings: object) -> EmbeddedValkey:
        server = EmbeddedValkey(**settings)  # type: ignore[arg-type]
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()

"""What a process finds at its start, and its log's reader: real processes, since it is about those."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trio_asr.commands import early
from trio_asr.lab.rig.valkey import free_port

pytestmark = pytest.mark.integration

TOO_LONG_S = 120


class Serve:
    """`trio-asr serve` as the test wants it, and the service manager that it tells."""

    def __init__(self, folder: Path) -> None:
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.settimeout(TOO_LONG_S)
        self.port = free_port()
        self.file = folder / "config.toml"
        self.text = f'[bus]\nadapter = "memory"\n[asr]\nprovider = "mock"\n[http]\nport = {self.port}\n'
        self.file.write_text(self.text)
        self.env = os.environ | {"NOTIFY_SOCKET": str(folder / "notify")}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "trio_asr", "serve", "--config", str(self.file)]
        self.process = subprocess.Popen(command, env=self.env, **settings)
        watchdog = threading.Timer(2 * TOO_LONG_S, self.process.kill)
        watchdog.daemon = True
        watchdog.start()
        return self.process

    def told(self, words: str) -> str:
        """Wait for a message to the service manager."""
        while words not in (message := self.manager.recv(1000).decode()):
            pass
        return message

    def get(self, page: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{page}", timeout=TOO_LONG_S) as answer:
            return str(answer.read().decode())

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TOO_LONG_S)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    daemon = Serve(tmp_path)
    yield daemon
    daemon.manager.close()
    if daemon.process is not None:
        daemon.process.kill()
        daemon.process.wait()
        for stream in (daemon.process.stdout, daemon.process.stderr):
            if stream is not None:
                stream.close()


def close(*descriptors: int) -> Callable[[], None]:
    def close_all() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close_all


def close_all_standard_files() -> None:
    close(0, 1, 2)()


@pytest.mark.parametrize("descriptors", [(2,), (0,), (0, 2), (0, 1, 2)])
def test_what_is_closed_is_opened_on_nothing(serve: Serve, descriptors: tuple[int, ...]) -> None:
    process = serve.start(
        preexec_fn=close(*descriptors), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    serve.told("READY=1")
    for descriptor in (0, 1, 2):
        assert not str(Path(f"/proc/{process.pid}/fd/{descriptor}").readlink()).startswith(("socket", "anon"))
    for descriptor in descriptors:
        assert Path(f"/proc/{process.pid}/fd/{descriptor}").readlink() == Path(os.devnull)
    assert '"status"' in serve.get("/health")
    assert serve.stop() == 0


def test_a_refusal_without_standard_error_is_an_exit_code(serve: Serve) -> None:
    serve.file.write_text("x = 1")
    process = serve.start(preexec_fn=close_all_standard_files)
    assert process.wait(TOO_LONG_S) == 2


def test_a_sighup_of_the_first_moment_reloads(serve: Serve) -> None:
    process = serve.start(stderr=subprocess.PIPE)
    while not blocks_sighup(process.pid):  # it has begun, and is far from listening
        os.sched_yield()
        assert process.poll() is None
    for _ in range(5):
        process.send_signal(signal.SIGHUP)
    assert process.stderr is not None
    events = (json.loads(line)["event"] for line in process.stderr)
    assert "Configuration reloaded" in iter_until(events, "Configuration reloaded")
    assert not blocks_sighup(process.pid)
    assert serve.stop() == 0


def blocks_sighup(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk"))
    return bool(int(blocked.split()[1], 16) >> (signal.SIGHUP - 1) & 1)


def iter_until(events: Iterator[str], last: str) -> list[str]:
    found = []
    for event in events:
        found.append(event)
        if event == last:
            break
    return found


ODD = [
    "x = " + "[" * 100_000,
    "x = " + "9" * 5_000,
    '[http]\ntoken_file = "/x\\u0000y"\n',
    ".".join("a" * 50_000) + "=1",
]


def test_no_file_that_is_reloaded_ends_the_calls_or_holds_them_up(serve: Serve, tmp_path: Path) -> None:
    process = serve.start(stderr=subprocess.PIPE)
    assert process.stderr is not None
    log = (json.loads(line) for line in process.stderr)
    serve.told("READY=1")

    def reloaded() -> dict[str, Any]:
        process.send_signal(signal.SIGHUP)
        return next(line for line in log if line["event"].startswith("Configuration"))

    for text in ODD:
        serve.file.write_text(text)
        line = reloaded()
        assert line["event"] == "Configuration not reloaded; nothing changes"
        assert line["problems"][0].startswith(f"{serve.file}: ")
    for make in (
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
    ):
        serve.file.unlink()
        make(serve.file)
        assert "cannot be read" in reloaded()["problems"][0]
        if serve.file.is_dir():
            serve.file.rmdir()
            serve.file.touch()
    serve.file.unlink()
    serve.file.write_text(serve.text)
    assert reloaded()["event"] == "Configuration reloaded"
    assert 'asr_config_reloads_total{result="failure"} 8.0' in serve.get("/metrics")
    assert serve.stop() == 0


def test_sigterm_does_not_wait_for_a_reload(serve: Serve) -> None:
    process = serve.start(stderr=subprocess.DEVNULL)
    serve.told("READY=1")
    serve.file.unlink()
    os.mkfifo(serve.file)
    process.send_signal(signal.SIGHUP)
    assert serve.stop() == 0


@pytest.mark.parametrize(
    "env", [{"WATCHDOG_USEC": "9" * 5000}, {"NOTIFY_SOCKET": "/" + "x" * 300}], ids=lambda env: str(env)[:40]
)
def test_what_the_environment_says_of_a_service_manager_is_a_warning(
    serve: Serve, env: dict[str, str]
) -> None:
    serve.env |= env
    process = serve.start(stderr=subprocess.PIPE)
    assert process.stderr is not None
    lines = iter_lines_until(process.stderr, "Now active")
    warnings = [line for line in lines if line["level"] == "warning"]
    assert len(warnings) == 1
    assert next(name for name in env if name != "x").split("_")[0] in warnings[0]["event"]
    assert serve.stop() == 0


def iter_lines_until(stream: Any, last: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in stream:
        found.append(json.loads(line))
        if found[-1]["event"] == last:
            break
    return found


@contextlib.contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"." * 4096)
    yield reading, writing
    os.close(reading)


def test_a_log_that_nobody_reads_holds_up_nothing(serve: Serve) -> None:
    with full_pipe() as (reading, writing):
        process = serve.start(stderr=writing)
        os.close(writing)
        serve.told("READY=1")
        for _ in range(50):  # each is a line of the log
            process.send_signal(signal.SIGHUP)
            serve.told("RELOADING=1")
            serve.told("READY=1")
        assert '"status"' in serve.get("/health")
        assert "asr_log_lines_dropped_total 0.0" in serve.get("/metrics")
        # Who reads now finds everything, in its order.
        text = b""
        while text.count(b"Configuration reloaded") < 50:
            text += os.read(reading, 65536)
        events = [json.loads(line)["event"] for line in text.decode().lstrip(".").splitlines()]
        assert events[0] == "Serving"
        assert events.count("Configuration reloaded") == 50
        assert serve.stop() == 0


@pytest.mark.parametrize("signals", [1, 2])
def test_nor_the_end_of_the_process(serve: Serve, signals: int) -> None:
    with full_pipe() as (_, writing):
        process = serve.start(stderr=writing)
        os.close(writing)
        serve.told("READY=1")
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
        assert process.wait(TOO_LONG_S) == 0


def test_nor_a_refusal_or_a_crash(serve: Serve) -> None:
    with full_pipe() as (_, writing):
        serve.file.write_text("x = 1\n" * 2)
        assert serve.start(stderr=writing).wait(TOO_LONG_S) == 2
        crash = (
            "import sys; sys.argv = ['trio-asr', 'serve']; from trio_asr import cli, __main__\n"
            "def fail(): raise RuntimeError('x' * 100_000)\n"
            "cli.main = fail; __main__.main()\n"
        )
        process = subprocess.Popen([sys.executable, "-c", crash], stderr=writing)
        os.close(writing)
        assert process.wait(TOO_LONG_S) == 1


def test_a_crash_is_told_in_full() -> None:
    crash = (
        "import sys; sys.argv = ['trio-asr', 'serve']; from trio_asr import cli, __main__\n"
        "def fail(): raise RuntimeError('odd')\n"
        "cli.main = fail; __main__.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("RuntimeError: odd\n")


def test_a_reader_that_is_gone_ends_nothing(serve: Serve) -> None:
    reading, writing = os.pipe()
    serve.start(stderr=writing)
    os.close(writing)
    os.close(reading)
    serve.told("READY=1")
    assert '"status"' in serve.get("/health")
    assert serve.stop() == 0


def test_only_serve_is_prepared_beyond_its_files() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ()), sys.stderr
    for arguments in ([], ["--help"], ["check", "serve"], ["-h", "demo"]):
        early.prepare(arguments)
    assert (signal.pthread_sigmask(signal.SIG_BLOCK, ()), sys.stderr) == before

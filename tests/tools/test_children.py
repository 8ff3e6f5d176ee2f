from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from trio_asr.tools.children import Child, ChildError, clean_environment, get
from trio_asr.tools.embedded import free_port

if TYPE_CHECKING:
    from pathlib import Path

OBEYS = "import signal, sys; print('up', flush=True); signal.sigwait([signal.SIGTERM]); sys.exit(0)"
SERVES = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
        self.wfile.write(b"body")
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("listening", flush=True)
server.serve_forever()
"""


def child(tmp_path: Path, program: str, *arguments: str) -> Child:
    # SIGTERM is blocked before anything is said, so that it cannot come too early.
    head = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    prefix = head if program is OBEYS else ""
    command = [sys.executable, "-c", prefix + program, *arguments]
    return Child("helper", command, dict(os.environ), tmp_path / "log")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_is_waited_for_and_stopped(tmp_path: Path) -> None:
    one = child(tmp_path, OBEYS)
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        assert await one.said("u", within=5) == "up"
        await one.stop()
    assert one.process.returncode == 0


async def test_an_end_that_nobody_asked_for_tells_the_last_words(tmp_path: Path) -> None:
    one = child(tmp_path, "print('no such host'); raise SystemExit(3)")
    with pytest.RaisesGroup(
        pytest.RaisesExc(ChildError, match=r"helper ended with exit code 3.*\n.*no such host")
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            await one.said("ready", within=5)


async def test_a_bad_exit_after_stop_is_an_error_too(tmp_path: Path) -> None:
    one = child(tmp_path, "import time; print('up', flush=True); time.sleep(60)")  # dies of SIGTERM
    with pytest.RaisesGroup(pytest.RaisesExc(ChildError, match="exit code -15")):
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            await one.said("up", within=5)
            await one.stop()


async def test_one_that_says_nothing_in_time(tmp_path: Path) -> None:
    one = child(tmp_path, OBEYS)
    with pytest.RaisesGroup(pytest.RaisesExc(ChildError, match=r"not up within 0 s\. Last it said:")):
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            await one.said("never", within=0.2)
    assert not alive(one.process.pid)


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    one = child(tmp_path, OBEYS)
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        nursery.cancel_scope.cancel()
    assert not alive(one.process.pid)


async def test_get(tmp_path: Path) -> None:
    port = free_port()
    assert await get(port, "/ready") == (0, "")
    one = child(tmp_path, SERVES, str(port))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        await one.said("listening", within=5)
        assert await get(port, "/ready") == (200, "body")
        assert (await get(port, "/else"))[0] == 404
        nursery.cancel_scope.cancel()


def test_what_would_configure_a_child_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("KEPT", "1")
    environment = clean_environment({"REDIS_URL"})
    assert "REDIS_URL" not in environment
    assert environment["KEPT"] == "1"

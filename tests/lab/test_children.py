from __future__ import annotations

import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from trio_asr.client.http import get
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.valkey import free_port

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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


async def test_get(tmp_path: Path) -> None:
    port = free_port()
    assert await get(port, "/ready") == (0, "")
    command = [sys.executable, "-c", SERVES, str(port)]
    async with aclosing(Program("server", command, dict(os.environ), tmp_path / "log")) as one:
        await one.start()
        await one.said("listening", within=60)
        assert await get(port, "/ready") == (200, "body")
        assert (await get(port, "/else"))[0] == 404


def test_what_would_configure_a_child_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("KEPT", "1")
    environment = clean_environment({"REDIS_URL"})
    assert "REDIS_URL" not in environment
    assert environment["KEPT"] == "1"

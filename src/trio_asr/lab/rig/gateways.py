"""Gateways: processes of `trio-asr ingest`, and the balancer in front of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import trio
from websockets.uri import WebSocketURI

from trio_asr.client.http import get
from trio_asr.lab.dial.line import Reach
from trio_asr.lab.rig.programs import POLL_S, Program

START_S = 120.0  # a guard against waiting for ever: on a busy machine an interpreter takes its time


class Gateway(Program):
    """A process of `trio-asr ingest` with its own configuration, whose ports these are."""

    def __init__(
        self, name: str, config: Path, environment: Mapping[str, str], *, port: int, pages_port: int
    ) -> None:
        command = [sys.executable, "-m", "trio_asr", "ingest", "--config", str(config)]
        super().__init__(name, command, environment, config.with_suffix(".log"))
        self.config, self.port, self.pages_port = config, port, pages_port

    async def start_and_wait(self, within: float = START_S) -> None:
        """Start it and wait until it is ready for calls.

        Raises:
            RigError: It ends first, or is not ready within `within` seconds.
        """
        await self.start()
        with trio.move_on_after(within):
            while self.running:
                if (await get(self.pages_port, "/ready"))[0] == HTTPStatus.OK:
                    return
                await trio.sleep(POLL_S)
        raise self.failure(f"was not ready within {within:.0f} s")

    async def health(self) -> dict[str, Any]:
        """Return the document of `/health`; empty if nobody answers."""
        status, body = await get(self.pages_port, "/health")
        return json.loads(body) if status else {}


def balanced(gateways: Sequence[Gateway]) -> Reach:
    """Return what opens a stream to the first of the gateways that takes connections.

    It stands for a balancer that speaks TLS: the scheme and the host of a URL do not matter.
    """

    async def reach(url: WebSocketURI) -> trio.abc.Stream:
        del url
        for gateway in gateways:
            try:
                return await trio.open_tcp_stream("127.0.0.1", gateway.port)
            except OSError:
                continue
        raise OSError("no gateway takes connections")

    return reach

"""The live page's stream: server-sent events, one picture a second for all watchers, none without any.

There is no task and no queue. All streams wake on the same whole second; the first to run makes the picture,
and the others send the same bytes. A watcher that cannot keep up misses pictures. One that stops reading is
dropped by the kernel (see `server`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec
import trio

from trio_asr.config import Config
from trio_asr.interaction.interaction import Interaction
from trio_asr.interaction.portrait import portray, portray_closely, state
from trio_asr.telemetry.metrics import Metrics
from trio_asr.web.view import View

PERIOD_S = 1.0
MAX_WATCHERS = 16
MAX_GUESTS = 8  # watchers without a token; they never keep out those with one
MAX_SHOWN = 200  # calls in one picture; calls in trouble come first
CALM = ("streaming", "quiet", "closing")


class Live:
    """The pictures of one daemon, and its watchers."""

    def __init__(self, view: View, metrics: Metrics, config: Config) -> None:
        self._view, self._metrics = view, metrics
        self._has_token = config.http.token is not None
        self._guests: dict[int, bool] = {}
        self._tick = -1
        self._parts: dict[str, bytes] = {}
        self.built = 0  # parts made so far; without watchers it must not grow

    # -- watchers --------------------------------------------------------------------------------------

    def enter(self, key: int, *, trusted: bool) -> bool:
        """Add a watcher, until `leave`; return False if there are too many."""
        guests = sum(self._guests.values())
        if len(self._guests) >= MAX_WATCHERS or (not trusted and guests >= MAX_GUESTS):
            return False
        self._guests[key] = not trusted
        return True

    def leave(self, key: int) -> None:
        """Remove a watcher, if it is there."""
        self._guests.pop(key, None)

    # -- pictures --------------------------------------------------------------------------------------

    async def stream(self, *, trusted: bool, call: str | None) -> AsyncIterator[bytes]:
        """Yield a picture a second, for ever, as server-sent events.

        Everybody sees the daemon's state and history. The trusted also see all calls, and the one with the id
        `call` closely.
        """
        seen = -1
        while True:
            tick = math.floor(trio.current_time() / PERIOD_S)
            if tick != self._tick:
                self._tick, self._parts = tick, {}
            picture = self._part("state:trusted" if trusted else "state", lambda: self._state(trusted))
            if seen != (seen := self._view.history.number):
                picture += self._part("history", lambda: list(self._view.history.samples))
            if trusted:
                picture += self._part("calls", self._calls)
                if call is not None:
                    picture += self._part(f"call:{call}", lambda: self._call(call))
            yield picture
            await trio.sleep_until((tick + 1) * PERIOD_S)

    def _part(self, key: str, make: Callable[[], Any]) -> bytes:
        part = self._parts.get(key)
        if part is None:
            self.built += 1
            event = key.partition(":")[0].encode()
            part = b"event: %b\ndata: %b\n\n" % (event, msgspec.json.encode(make()))
            self._parts[key] = part
        return part

    def _state(self, trusted: bool) -> dict[str, Any]:
        view, now = self._view, trio.current_time()
        interactions = view.interactions.values()
        error = self._metrics.last_error
        return {
            "at": round(time.time() * 1000),
            "role": view.role,
            "provider": view.provider,
            "problems": {name: round(seconds) for name, seconds in view.problems(now).items()},
            "refused": view.refused,
            "calls": len(interactions),
            "states": Counter(map(state, interactions)),
            "connections": view.active_connections,
            "lag_s": round(
                max((interaction.call.timeline.unfinalized_s for interaction in interactions), default=0.0), 1
            ),
            "held_bytes": sum(interaction.call.timeline.held_bytes for interaction in interactions),
            "frames": int(self._metrics.frames_accepted.value),
            "chunks": int(self._metrics.chunks_sent.value),
            "error": None if error is None else {"kind": error[0], "at": round(error[1] * 1000)},
            "fleet": view.fleet,
            "token": "given" if trusted else "needed" if self._has_token else "none",
        }

    def _calls(self) -> dict[str, Any]:
        interactions = self._view.interactions.values()
        shown: Iterable[Interaction] = interactions
        if len(interactions) > MAX_SHOWN:
            shown = sorted(
                interactions,
                key=lambda interaction: (
                    state(interaction) in CALM,
                    -interaction.call.timeline.unfinalized_s,
                ),
            )
            shown = shown[:MAX_SHOWN]
        return {
            "calls": [portray(interaction) for interaction in shown],
            "more": max(0, len(interactions) - MAX_SHOWN),
        }

    def _call(self, interaction_id: str) -> Any:
        interaction = self._view.interactions.get(interaction_id)
        return None if interaction is None else portray_closely(interaction)

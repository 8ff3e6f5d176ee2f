"""A whole daemon as a task, and what tests ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
from tests.call_harness import whole
from tests.worker_harness import EchoProvider, Producer

from trio_asr.daemon import Daemon
from trio_asr.web.app import not_ready


@dataclass(kw_only=True)
class DaemonHarness:
    """A daemon, and its provider. `done` is set once it has ended."""

    daemon: Daemon
    provider: EchoProvider
    done: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def run(self) -> None:
        with self.scope:
            await self.daemon.run()
        self.done.set()

    def kill(self) -> None:
        self.scope.cancel()

    def value(self, name: str, **labels: str) -> float:
        """Return what a scrape would give."""
        found = self.sample(name, **labels)
        assert found is not None
        return found

    def sample(self, name: str, **labels: str) -> float | None:
        """Return what a scrape would give, which may be nothing."""
        return self.daemon._metrics.registry.get_sample_value(name, labels)

    def reasons(self) -> list[str]:
        return not_ready(self.daemon, trio.current_time())


def complete(transcripts: Sequence[dict[str, Any]], producer: Producer) -> bool:
    """Say whether every sample of a call is in exactly one final, and each `seq` was used once."""
    finals = [transcript for transcript in transcripts if transcript["type"] == "final"]
    seqs = [transcript["seq"] for transcript in transcripts]
    return whole(finals, producer.samples, producer.number) and seqs == list(range(1, len(seqs) + 1))

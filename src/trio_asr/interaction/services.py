"""The services that all calls of a tenure share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from trio_asr.bus.committer import Committer
from trio_asr.bus.lease import Lease
from trio_asr.config import Config
from trio_asr.deepgram.admission import Admission
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.codes import ErrorKind, StoredKind


class Totals(Protocol):
    """What all calls of the process hold together."""

    taken: int  # bytes

    @property
    def calls(self) -> int:
        """The number of calls in progress."""
        ...


@dataclass
class Services:
    """The parts of the daemon that a call's tasks use. A reload replaces `config` and nothing else.

    `config`, `committer`, `lease` and `problems` are the tenure's own, the rest is the process's.
    """

    config: Config
    admission: Admission
    committer: Committer
    lease: Lease
    metrics: Metrics
    problems: Problems
    internal: InternalErrors
    totals: Totals

    def broken_state(self, kind: StoredKind, why: str, kept_as: str, **names: str) -> None:
        """Count and log something stored that is no state of ours, and where it was kept."""
        self.metrics.broken_states(kind).inc()
        self.metrics.failed(ErrorKind.STATE, time.time())
        self.problems.logger("state").error(
            "Stored state cannot be read; it was set aside", kind=kind, reason=why, kept_as=kept_as, **names
        )

"""What every call shares."""

from __future__ import annotations

from dataclasses import dataclass

from trio_asr.bus.lease import Lease
from trio_asr.committer import Committer
from trio_asr.config import Config
from trio_asr.connections import Connections
from trio_asr.metrics import Metrics


@dataclass
class Services:
    """The parts of the daemon that a call's tasks use. A reload replaces the config, nothing else changes."""

    config: Config
    connections: Connections
    committer: Committer
    lease: Lease
    metrics: Metrics

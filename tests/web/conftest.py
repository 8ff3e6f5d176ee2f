"""A daemon that is whatever a test says."""

from dataclasses import dataclass, field

import pytest

from trio_asr.interaction.interaction import Interaction
from trio_asr.telemetry.fleet import FleetPicture
from trio_asr.telemetry.labels import Role
from trio_asr.telemetry.metrics import Metrics
from trio_asr.web.history import History
from trio_asr.web.view import View


@dataclass
class FakeView:
    role: Role = "active"
    provider: str = "deepgram"
    active_buffers: int = 0
    lag_s: float = 0.0
    active_connections: int | None = 0
    refused: bool = False
    interactions: dict[str, Interaction] = field(default_factory=dict)
    history: History = field(default_factory=lambda: History(Metrics()))
    since: dict[str, float] = field(default_factory=dict)  # what is wrong, and since when on trio's clock

    fleet: FleetPicture | None = None

    def elsewhere(self, interaction_id: str) -> dict[str, object]:
        return {}

    def takes_part(self, now: float) -> bool:
        return self.role == "active"

    def problems(self, now: float) -> dict[str, float]:
        return {name: now - began for name, began in self.since.items()}


@pytest.fixture
def view() -> FakeView:
    fake = FakeView()
    _conforms: View = fake
    return fake

"""The interface of the daemon to the web pages."""

from collections.abc import Mapping
from typing import Protocol

from trio_asr.interaction.interaction import Interaction
from trio_asr.telemetry.fleet import FleetPicture
from trio_asr.telemetry.labels import Role
from trio_asr.web.history import History


class View(Protocol):
    """The daemon as the pages see it. Everything here is cheap and never waits."""

    @property
    def role(self) -> Role:
        """The role of this worker."""
        ...

    def takes_part(self, now: float) -> bool:
        """Return whether calls are this worker's: all as the active one, or a part as a member of a fleet.

        A member without a shard takes part: it has its share as soon as there is one.
        """
        ...

    @property
    def provider(self) -> str:
        """The name of the provider."""
        ...

    @property
    def active_buffers(self) -> int:
        """The number of calls in progress."""
        ...

    @property
    def active_connections(self) -> int | None:
        """The number of connections to the provider; None for a provider without sockets."""
        ...

    @property
    def refused(self) -> bool:
        """Whether the provider refuses the key or the account."""
        ...

    @property
    def interactions(self) -> Mapping[str, Interaction]:
        """The calls in progress."""
        ...

    @property
    def lag_s(self) -> float:
        """The lag of the call that is furthest behind: how late its audio is read, in seconds."""
        ...

    @property
    def fleet(self) -> FleetPicture | None:
        """The fleet as this member sees it; None for a worker that is in no fleet, or has seen none yet."""
        ...

    def elsewhere(self, interaction_id: str) -> Mapping[str, object]:
        """Return the shard of a call that is not here by the formula, and the member that has it.

        Empty for a worker that is in no fleet. Producers may have chosen the shard by another rule.
        """
        ...

    @property
    def history(self) -> History:
        """The samples of the last minutes."""
        ...

    def problems(self, now: float) -> Mapping[str, float]:
        """Return what keeps the daemon from its job: names such as `redis`, with their ages in seconds.

        `now` is on trio's clock. A standby that waits for the lease has no problem.
        """
        ...

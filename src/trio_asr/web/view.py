"""What the web pages may ask of the daemon."""

from collections.abc import Mapping
from typing import Literal, Protocol

from trio_asr.interaction.interaction import Interaction
from trio_asr.web.history import History

Role = Literal["starting", "standby", "active", "stopping"]


class View(Protocol):
    """The daemon as its health is told; everything here is cheap and never waits."""

    @property
    def role(self) -> Role: ...

    @property
    def provider(self) -> str: ...

    @property
    def active_buffers(self) -> int:
        """Calls in progress."""
        ...

    @property
    def active_connections(self) -> int | None:
        """Connections to the provider; None for a provider that has none."""
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
        """How late audio is read, for the call that is furthest behind, in seconds."""
        ...

    @property
    def history(self) -> History:
        """The last minutes."""
        ...

    def problems(self, now: float) -> Mapping[str, float]:
        """What keeps the daemon from its job: a name such as ``redis`` and for how many seconds already.

        ``now`` is trio's clock. A standby that waits for its turn has no problem.
        """
        ...

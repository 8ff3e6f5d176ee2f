"""The interface of the daemon to the web pages."""

from collections.abc import Mapping
from typing import Literal, Protocol

from trio_asr.interaction.interaction import Interaction
from trio_asr.web.history import History

Role = Literal["starting", "standby", "active", "stopping"]


class View(Protocol):
    """The daemon as the pages see it. Everything here is cheap and never waits."""

    @property
    def role(self) -> Role:
        """The role of this worker."""
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
    def history(self) -> History:
        """The samples of the last minutes."""
        ...

    def problems(self, now: float) -> Mapping[str, float]:
        """Return what keeps the daemon from its job: names such as `redis`, with their ages in seconds.

        `now` is on trio's clock. A standby that waits for the lease has no problem.
        """
        ...

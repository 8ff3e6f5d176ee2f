"""The meaning of a refused handshake, and when to try again after one that a retry cannot mend.

Statuses as in Deepgram's guide "Errors". A bad key or account concerns all calls. A bad query concerns only
the calls with the same query. Anything else is worth another attempt soon.
"""

from __future__ import annotations

import enum
import math

PROBE_BASE_S, PROBE_CAP_S = 1.0, 10.0
PAYMENT_REFUSALS = 3  # single requests of a healthy account were seen to get 402


class Concerns(enum.Enum):
    """The extent of a refusal."""

    ACCOUNT = "account"
    QUERY = "query"
    ATTEMPT = "attempt"


def concerns(status: int | None) -> Concerns:
    """Return the extent of a refusal with this HTTP status (None: no answer at all)."""
    if status in (401, 402, 403):
        return Concerns.ACCOUNT
    if status is not None and 400 <= status < 500 and status not in (408, 429):
        return Concerns.QUERY
    return Concerns.ATTEMPT


class Breaker:
    """A circuit breaker. While open, it lets one probe through at a time, at growing intervals (seconds)."""

    def __init__(self) -> None:
        self.open = False
        self._payment_refusals = 0
        self._probing = False
        self._delay = PROBE_BASE_S
        self._next_probe = -math.inf

    def refused(self, status: int | None, now: float) -> bool:
        """Record a refusal that concerns this breaker. Return whether the breaker opened just now."""
        if status == 402:
            self._payment_refusals += 1
            if self._payment_refusals < PAYMENT_REFUSALS and not self.open:
                return False
        opened, self.open = not self.open, True
        if opened:
            self._delay = PROBE_BASE_S
        elif self._probing:
            self._delay = min(PROBE_CAP_S, 2 * self._delay)
        else:
            return False  # that attempt was under way when the breaker opened
        self._probing = False
        self._next_probe = now + self._delay
        return opened

    def succeeded(self) -> bool:
        """Close the breaker after a connection. Return whether it closed just now."""
        closed, self.open = self.open, False
        self._payment_refusals = 0
        return closed

    def next_probe(self) -> float:
        """Return when the next attempt may be made (in the past: now)."""
        return self._next_probe if self.open else -math.inf

    def probing(self, now: float, patience_s: float) -> None:
        """Record that an attempt is made. Others wait for its outcome, or for `patience_s` seconds."""
        if self.open:
            self._probing = True
            self._next_probe = now + patience_s

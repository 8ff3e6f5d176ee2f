"""What a refused handshake means, and when to try again after one that a retry cannot mend.

Statuses per Deepgram's guide "Errors". A bad key or account concerns all calls, a bad query only the calls
that have the same; anything else is worth trying again soon.
"""

from __future__ import annotations

import enum
import math

PROBE_BASE_S, PROBE_CAP_S = 1.0, 10.0
PAYMENT_REFUSALS = 3  # 402 was seen for single requests of a healthy account


class Concerns(enum.Enum):
    """Whom a refusal concerns."""

    ACCOUNT = "account"
    QUERY = "query"
    ATTEMPT = "attempt"


def concerns(status: int | None) -> Concerns:
    """Return whom a refusal with this HTTP status (None: no answer at all) concerns."""
    if status in (401, 402, 403):
        return Concerns.ACCOUNT
    if status is not None and 400 <= status < 500 and status not in (408, 429):
        return Concerns.QUERY
    return Concerns.ATTEMPT


class Breaker:
    """Open, it lets one probe through at a time, at growing intervals. Times in seconds."""

    def __init__(self) -> None:
        self.open = False
        self._payment_refusals = 0
        self._probing = False
        self._delay = PROBE_BASE_S
        self._next_probe = -math.inf

    def refused(self, status: int | None, now: float) -> bool:
        """Note a refusal that concerns this breaker; return whether it opened just now."""
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
            return False  # it was on its way when the breaker opened
        self._probing = False
        self._next_probe = now + self._delay
        return opened

    def succeeded(self) -> bool:
        """Note a connection; return whether the breaker closed just now."""
        closed, self.open = self.open, False
        self._payment_refusals = 0
        return closed

    def next_probe(self) -> float:
        """Return when the next attempt may be made (in the past: now)."""
        return self._next_probe if self.open else -math.inf

    def probing(self, now: float, patience_s: float) -> None:
        """Note that an attempt is made; others wait for its outcome, or for `patience_s`."""
        if self.open:
            self._probing = True
            self._next_probe = now + patience_s

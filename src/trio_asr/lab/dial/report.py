"""What became of a call, socket by socket. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from trio_asr.lab.rig.spans import Span, size, union


class Outcome(StrEnum):
    """How a socket ended."""

    FINISHED = "finished"  # all was said, and the server closed in turn
    CUT = "cut"  # by us, without a word
    CLOSED = "closed"  # by the server, before all was said or with a code of failure
    LOST = "lost"  # the connection broke
    REFUSED = "refused"  # there was no WebSocket
    UNREACHABLE = "unreachable"  # there was no connection


@dataclass
class SocketReport:
    """One socket. `sent` has the stretches of samples sent, by leg; `behind_s` is the most that a frame was
    late. `age_s` is how long before it was sent the first sample was spoken.
    """

    number: int
    outcome: Outcome = Outcome.LOST
    status: int = 0  # of HTTP; 0 is no answer
    code: int = 0
    reason: str = ""
    sent: dict[int, list[Span]] = field(default_factory=dict)
    messages: int = 0
    heard: int = 0
    acked: int = 0
    behind_s: float = 0.0
    age_s: float = 0.0

    @property
    def samples(self) -> Counter[int]:
        """The number of samples sent, by leg."""
        return Counter({leg: size(spans) for leg, spans in self.sent.items()})

    def send(self, leg: int, first: int, last: int) -> None:
        """Note that samples of a leg were sent; `last` is exclusive."""
        spans = self.sent.setdefault(leg, [])
        if spans and spans[-1][1] == first:
            first = spans.pop()[0]
        spans.append((first, last))

    def fail(self, outcome: Outcome, reason: str, status: int = 0) -> None:
        """Note that there was no socket."""
        self.outcome, self.reason, self.status = outcome, reason, status


@dataclass
class Report:
    """One call: its sockets in the order of their opening, and whether the last one ended as wished."""

    call: str
    expect: int | None
    sockets: list[SocketReport] = field(default_factory=list)

    @property
    def as_wished(self) -> bool:
        """Whether the call's last socket finished, or was cut by us; or ended with what was expected."""
        last = self.sockets[-1]
        if self.expect is not None:
            return self.expect in (last.status, last.code)
        return last.outcome in (Outcome.FINISHED, Outcome.CUT)

    @property
    def samples(self) -> Counter[int]:
        """The samples sent, by leg, over all sockets."""
        return sum((one.samples for one in self.sockets), Counter())

    def sent(self, leg: int) -> list[Span]:
        """Return the samples of a leg that any of the sockets sent."""
        return union(span for one in self.sockets for span in one.sent.get(leg, ()))

    def lines(self) -> list[str]:
        """Return what to print: a line for each socket."""
        return [f"{self.call} #{one.number}: {_told(one)}" for one in self.sockets]


def _told(one: SocketReport) -> str:
    samples = "+".join(str(one.samples[leg]) for leg in sorted(one.samples)) or "0"
    number = one.code or (one.status if one.outcome is Outcome.REFUSED else 0)
    code = f" {number}" if number else ""
    printable = "".join(sign if sign.isprintable() else "?" for sign in one.reason)
    reason = f" ({printable})" if printable else ""
    acked = f", {one.acked} acked" if one.acked else ""
    behind = f", up to {one.behind_s * 1000:.0f} ms late" if one.behind_s >= 0.02 else ""
    return f"{one.outcome}{code}{reason}: {samples} samples in {one.messages} messages{acked}{behind}"

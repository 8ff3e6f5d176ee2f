"""What was lost, and how late things came: from what lies on the transcript streams. Pure.

The audio is stamped and the simulator's words name the samples that they cover, as they were decoded from the
audio that reached it: so what is missing is missing, whatever the daemon says. What was fed is known from the
plan.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from trio_asr.lab.load.plan import Plan
from trio_asr.lab.rig.spans import Span, minus, repeated, size

_WORD = re.compile(r"c(\d+):(\d+)-(\d+)")
_LIFE = ("started", "resumed", "ended")


class Published(NamedTuple):
    """A transcript and when it was readable, in epoch ms."""

    at_ms: int
    message: dict[str, Any]


class Account(msgspec.Struct):
    """Samples, over all calls."""

    fed: int = 0
    covered: int = 0
    gaps: int = 0  # given up, and said so
    lost: int = 0  # neither in a final nor in a gap
    doubled: int = 0
    strangers: int = 0  # in a call that they do not belong to
    connections: int = 0
    unended: int = 0  # calls without an end

    @property
    def perfect(self) -> bool:
        """Whether every sample is in exactly one final of its call, and all calls ended."""
        return self.covered == self.fed and not (self.doubled or self.strangers or self.unended)


def account(
    plan: Plan,
    transcripts: Mapping[int, Sequence[Published]],
    events: Iterable[Mapping[str, Any]],
) -> Account:
    """Account for all calls of a plan, transcripts by the number of the call."""
    out = Account()
    gaps: dict[str, int] = {}
    life: dict[str, str] = {}
    for event in events:
        name = str(event.get("interaction_id"))
        kind = event["event"]
        if kind == "gap":
            gaps[name] = gaps.get(name, 0) + event.get("samples", 0)
        elif kind == "connection_opened":
            out.connections += 1
        elif kind in _LIFE:
            life[name] = kind
    for number in range(1, plan.calls + 1):
        name, everything = plan.name(number), [(0, plan.samples(number))]
        said = list(_said(number, transcripts.get(number, ())))
        covered = size(everything) - size(minus(everything, said))
        given_up = gaps.get(name, 0)
        out.fed += size(everything)
        out.covered += covered
        out.gaps += given_up
        out.lost += max(0, size(everything) - covered - given_up)
        out.doubled += repeated(said)
        out.strangers += _strangers(number, transcripts.get(number, ())) + size(minus(said, everything))
        out.unended += life.get(name) != "ended"
    return out


def delays_s(
    plan: Plan, epoch_ms: int, transcripts: Mapping[int, Sequence[Published]], kind: str
) -> list[float]:
    """From the adding of the last sample of a transcript to the transcript's own adding, within the window.

    All of it is in there: the flush interval, the simulator, both ways through the daemon.
    """
    begin, end = plan.window
    out = []
    for number, published in transcripts.items():
        for at_ms, message in published:
            words = _words(message) if message["type"] == kind else []
            if words:
                spoken = plan.spoken_s(number, words[-1][2])
                if begin <= spoken <= end:
                    out.append((at_ms - epoch_ms) / 1000 - spoken)
    return out


def _said(number: int, published: Sequence[Published]) -> Iterable[Span]:
    for _, message in published:
        if message["type"] == "final":
            yield from ((first, last) for call, first, last in _words(message) if call == number)


def _strangers(number: int, published: Sequence[Published]) -> int:
    return sum(last - first for _, one in published for call, first, last in _words(one) if call != number)


def _words(message: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    return [(int(a), int(b), int(c)) for a, b, c in _WORD.findall(message["text"])]

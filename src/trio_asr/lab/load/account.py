"""What was lost, and how late results came, from what is on the transcript streams. Pure.

The audio is stamped, and the simulator's words name the samples that they cover, as decoded from the audio
that reached it. So what is missing shows, whatever the daemon says. The plan says what was fed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from trio_asr.lab.load.plan import Plan
from trio_asr.lab.rig.count import Word, counted, words_of
from trio_asr.lab.rig.legs import number_of
from trio_asr.lab.rig.present import fed


class Published(NamedTuple):
    """A transcript, and when it became readable, in epoch ms."""

    at_ms: int
    message: dict[str, Any]


class Account(msgspec.Struct):
    """Counts of samples over all channels of all calls."""

    fed: int = 0
    covered: int = 0
    gaps: int = 0  # given up, and announced as such
    lost: int = 0  # neither in a final nor in a gap
    doubled: int = 0
    strangers: int = 0  # in a call, or on a channel, that they do not belong to
    connections: int = 0
    unended: int = 0  # calls without an end


def account(
    plan: Plan,
    transcripts: Mapping[int, Sequence[Published]],
    events: Iterable[dict[str, Any]],
) -> Account:
    """Account for all calls of a plan; the key of `transcripts` is the call number."""
    by_call: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        by_call[str(event.get("interaction_id"))].append(event)
    calls, strangers = [], 0
    for number in range(1, plan.calls + 1):
        name, published = plan.name(number), transcripts.get(number, ())
        inside = fed(number, plan.samples(number), plan.format).channels
        calls.append(counted(name, inside, _words(published, "final"), by_call.get(name, ())))
        strangers += sum(_misplaced(plan, number, one.message) for one in published)
    return Account(
        fed=sum(call.total("samples") for call in calls),
        covered=sum(call.total("covered") for call in calls),
        gaps=sum(sum(call.gaps.values()) for call in calls),
        lost=sum(call.total("lost") for call in calls),
        doubled=sum(call.total("doubled") for call in calls),
        strangers=strangers,
        connections=sum(call.connections for call in calls),
        unended=sum(not call.ended for call in calls),
    )


def delays_s(
    plan: Plan, epoch_ms: int, transcripts: Mapping[int, Sequence[Published]], kind: str
) -> list[float]:
    """Return the seconds from the XADD of a transcript's last sample to the XADD of the transcript.

    Only samples within the window count. The delay includes the flush interval, the simulator, and both ways
    through the daemon.
    """
    begin, end = plan.window
    out = []
    for number, published in transcripts.items():
        for at_ms, message in published:
            words = words_of(message["text"]) if message["type"] == kind else []
            if words:
                spoken = plan.spoken_s(number, words[-1][2])
                if begin <= spoken <= end:
                    out.append((at_ms - epoch_ms) / 1000 - spoken)
    return out


def _misplaced(plan: Plan, number: int, message: Mapping[str, Any]) -> int:
    """Return the samples in a transcript that the channel it names never had."""
    mine, end = number_of(number, message.get("channel", 0)), plan.samples(number)
    words = words_of(message["text"])
    return sum(last - first for call, first, last in words if call != mine or last > end)


def _words(published: Iterable[Published], kind: str) -> list[Word]:
    return [word for _, one in published if one["type"] == kind for word in words_of(one["text"])]

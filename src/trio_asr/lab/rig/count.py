"""Counting a call: the samples that were there, against the words that cover them and the gaps. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trio_asr.lab.rig.evidence import Document
from trio_asr.lab.rig.present import Series
from trio_asr.lab.rig.spans import Span, minus, repeated, size
from trio_asr.wire.codes import GapReason

_WORD = re.compile(r"c(\d+):(\d+)-(\d+)")

Word = tuple[int, int, int]  # number of the series, first sample, last sample (exclusive)


@dataclass
class ChannelAccount:
    """The account of one channel of a call. Samples are counted over all its series of stamps."""

    samples: int = 0  # in Redis
    covered: int = 0  # of these, in at least one committed final
    doubled: int = 0  # in more than one final, counted once per repetition
    lost: int = 0  # neither in a final nor in a gap
    gaps: dict[str, int] = field(default_factory=dict[str, int])  # samples given up, by reason
    missing: list[Span] = field(default_factory=list[Span])  # the stretches that no final covers


@dataclass
class CallAccount:
    """The account of one call: of its channels, and of what they share. Times are in ms."""

    id: str
    channels: list[ChannelAccount] = field(default_factory=list[ChannelAccount])
    strangers: int = 0  # samples in words that this call never had
    shift_ms: float = 0.0  # largest distance of a word from the position of its samples
    finals: int = 0
    connections: int = 0
    ended: bool = False
    faults: list[str] = field(default_factory=list[str])  # in the published sequence

    def total(self, name: str) -> int:
        """Return a count summed over the channels."""
        return sum(getattr(channel, name) for channel in self.channels)

    @property
    def gaps(self) -> dict[str, int]:
        """Samples given up, by reason."""
        return summed(channel.gaps for channel in self.channels)

    @property
    def complete(self) -> bool:
        """Whether every sample is accounted for and the call has ended."""
        return self.ended and not self.total("lost")


def counted(
    name: str, inside: Sequence[Series], words: Iterable[Word], events: Sequence[Document]
) -> CallAccount:
    """Count a call from the samples present on each channel, the words of its finals, and its events."""
    said: dict[int, list[Span]] = defaultdict(list)
    for number, first, last in words:
        said[number].append((first, last))
    out = CallAccount(name, [_channel(series, said) for series in inside])
    there = {number: spans for series in inside for number, spans in series.items()}
    out.strangers = sum(size(minus(spans, there.get(number, ()))) for number, spans in said.items())
    for event in events:
        if event["event"] == "gap":
            _give_up(out, event)
    for channel in out.channels:
        # What the source left out was never in Redis, and cannot make up for what was.
        given_up = sum(samples for reason, samples in channel.gaps.items() if reason != GapReason.SOURCE)
        channel.lost = max(0, channel.samples - channel.covered - given_up)
    out.connections = sum(event["event"] == "connection_opened" for event in events)
    life = [event["event"] for event in events if event["event"] in ("started", "resumed", "ended")]
    out.ended = life[-1:] == ["ended"]
    return out


def _channel(series: Series, said: Mapping[int, Sequence[Span]]) -> ChannelAccount:
    """Count the samples of one channel, and those of them that were said."""
    out = ChannelAccount()
    for number, spans in series.items():
        mine = said.get(number, ())
        missing = minus(spans, mine)
        out.samples += size(spans)
        out.covered += size(spans) - size(missing)
        out.missing += missing
        out.doubled += repeated(mine)
    return out


def _give_up(out: CallAccount, gap: Document) -> None:
    """Count a gap for its channel; the audio of one channel needs no name for it."""
    count = len(out.channels)
    channel = gap.get("channel", 0 if count == 1 else None)
    if channel is None or channel not in range(count):
        out.faults.append(f"a gap on channel {channel} of {count}")
        return
    gaps = out.channels[channel].gaps
    gaps[gap["reason"]] = gaps.get(gap["reason"], 0) + gap["samples"]


def summed(many: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return counts added up by name."""
    out: dict[str, int] = defaultdict(int)
    for counts in many:
        for name, count in counts.items():
            out[name] += count
    return dict(out)


def words_of(text: str) -> list[Word]:
    """Return the words of a text; see `word_of`."""
    return [word_of(word) for word in text.split()]


def word_of(text: str) -> Word:
    """Return a word; one that is not the simulator's belongs to call -1."""
    found = _WORD.fullmatch(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (-1, 0, 0)

"""What became of every sample: exact figures from `Evidence`. Pure.

Each sample of the audio carries its own position (`simulator.stamps`). The echo engine's words name the
samples that they cover, decoded from the audio that reached it. So samples that are lost, doubled or shifted
show, whatever the daemon says about times, cursors and connections.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trio_asr.lab.rig.evidence import Document, Evidence
from trio_asr.lab.rig.spans import Span, minus, repeated, size, union
from trio_asr.simulator.stamps import Reader

_WORD = re.compile(r"c(\d+):(\d+)-(\d+)")

Word = tuple[int, int, int]  # call number, first sample, last sample (exclusive)
Series = dict[int, list[Span]]  # the samples present, by the number in their stamps
Places = dict[int, list[tuple[int, int, float]]]  # and where each stretch of them belongs, in ms


@dataclass
class CallAccount:
    """The account of one call. Samples are counted over all its series of stamps; times are in ms."""

    id: str
    samples: int = 0  # in Redis
    covered: int = 0  # of these, in at least one committed final
    doubled: int = 0  # in more than one final, counted once per repetition
    lost: int = 0  # neither in a final nor in a gap
    gaps: dict[str, int] = field(default_factory=dict[str, int])  # samples given up, by reason
    strangers: int = 0  # samples in words that this call never had
    shift_ms: float = 0.0  # largest distance of a word from the position of its samples
    finals: int = 0
    connections: int = 0
    ended: bool = False
    missing: list[Span] = field(default_factory=list[Span])  # the stretches that no final covers
    faults: list[str] = field(default_factory=list[str])  # in the published sequence

    @property
    def complete(self) -> bool:
        """Whether every sample is accounted for and the call has ended."""
        return self.ended and not self.lost


@dataclass
class Account:
    """The account of all calls of a run, and what the simulator saw."""

    calls: dict[str, CallAccount]
    silence_s: float = 0.0  # longest time that an open connection received nothing from the daemon
    speed: float = 0.0  # highest speed at which any connection was fed, over 5 s; 1.0 is real time
    dialled: int = 0  # connections that were accepted
    refused: int = 0
    unannounced: int = 0  # accepted, but without an event: the worker had no time, or no right, to write one
    overlaps: int = 0  # connections opened while an earlier one of the same call was open

    def total(self, name: str) -> int:
        """Return a count summed over the calls."""
        return sum(getattr(call, name) for call in self.calls.values())

    @property
    def shift_ms(self) -> float:
        return max((call.shift_ms for call in self.calls.values()), default=0.0)

    @property
    def gaps(self) -> dict[str, int]:
        """Samples given up, by reason."""
        out: dict[str, int] = defaultdict(int)
        for call in self.calls.values():
            for reason, samples in call.gaps.items():
                out[reason] += samples
        return dict(out)

    @property
    def complete(self) -> bool:
        return all(call.complete for call in self.calls.values())

    @property
    def most_connections(self) -> int:
        """The largest number of connections of any call."""
        return max((call.connections for call in self.calls.values()), default=0)

    @property
    def faults(self) -> list[str]:
        return [f"{call.id}: {fault}" for call in self.calls.values() for fault in call.faults]


def account(
    evidence: Evidence,
    rates: Mapping[str, int],
    *,
    by_order: bool = False,
    fed: Mapping[str, tuple[int, int]] | None = None,
) -> Account:
    """Account for the calls in `rates`, a map of call ids to sample rates in Hz.

    A sample's true time is its number within its call. `by_order` uses its place in the order of entries
    instead, the only order that two series under one id have. Where producers trim the stream, Redis no
    longer holds what was in it; `fed` then gives the stamp number and the sample count of each call.
    """
    calls = {}
    for name, rate in rates.items():
        stamped = (
            _stamped(evidence.audio.get(name, b""), rate, by_order=by_order)
            if fed is None
            else ({fed[name][0]: [(0, fed[name][1])]}, {fed[name][0]: [(0, fed[name][1], 0.0)]})
        )
        calls[name] = _call(evidence, name, rate, *stamped)
    accepted = [one for one in evidence.connections if one["accepted_at"] is not None]
    return Account(
        calls=calls,
        silence_s=max((one["silence_s"] for one in accepted), default=0.0),
        speed=max((one["speed"] for one in accepted), default=0.0),
        dialled=len(accepted),
        refused=sum(one["status"] not in (0, 101) for one in evidence.connections),
        unannounced=len(accepted) - sum(one["request_id"] in _owners(evidence) for one in accepted),
        overlaps=_overlaps(evidence),
    )


def counted(
    name: str, inside: Mapping[int, Sequence[Span]], words: Iterable[Word], events: Sequence[Document]
) -> CallAccount:
    """Count a call from the samples present, the words of its finals, and its events."""
    out = CallAccount(name)
    said: dict[int, list[Span]] = defaultdict(list)
    for number, first, last in words:
        said[number].append((first, last))
    for number, spans in inside.items():
        out.samples += size(spans)
        missing = minus(spans, said[number])
        out.covered += size(spans) - size(missing)
        out.missing += missing
    out.doubled = sum(repeated(spans) for spans in said.values())
    out.strangers = sum(size(minus(spans, inside.get(number, ()))) for number, spans in said.items())
    for event in events:
        if event["event"] == "gap":
            out.gaps[event["reason"]] = out.gaps.get(event["reason"], 0) + event["samples"]
    out.lost = max(0, out.samples - out.covered - sum(out.gaps.values()))
    out.connections = sum(event["event"] == "connection_opened" for event in events)
    life = [event["event"] for event in events if event["event"] in ("started", "resumed", "ended")]
    out.ended = life[-1:] == ["ended"]
    return out


def words_of(text: str) -> list[Word]:
    """Return the words of a text; a word that is not the simulator's belongs to call -1."""
    return [_word(word) for word in text.split()]


def _word(text: str) -> Word:
    found = _WORD.fullmatch(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (-1, 0, 0)


def _call(evidence: Evidence, name: str, rate: int, inside: Series, places: Places) -> CallAccount:
    events = evidence.events.get(name, [])
    finals = [one for one in evidence.transcripts.get(name, []) if one["type"] == "final"]
    timed = [[(_word(one["word"]), one["start_ms"]) for one in final.get("words", ())] for final in finals]
    out = counted(name, inside, [word for words in timed for word, _ in words], events)
    for final, words in zip(finals, timed, strict=True):
        for (number, first, _), start_ms in words:
            true_ms = _true_ms(places, number, first, rate)
            if true_ms is not None:
                out.shift_ms = max(out.shift_ms, abs(start_ms - true_ms))
        if [word for word, _ in words] != words_of(final["text"]):
            out.faults.append(f"seq {final['seq']}: the words are not those of the text")
    out.finals = len(finals)
    out.faults += _sequence_faults(evidence.transcripts.get(name, []), events)
    return out


def _stamped(pcm: bytes, rate: int, *, by_order: bool) -> tuple[Series, Places]:
    """Return the samples present, by series, and the position of each stretch in ms."""
    reader = Reader()
    reader.feed(pcm)
    inside: dict[int, list[Span]] = defaultdict(list)
    places: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for run in reader.runs:
        inside[run.call].append((run.first, run.last))
        at = run.at if by_order else run.first
        places[run.call].append((run.first, run.last, at * 1000 / rate))
    return {number: union(spans) for number, spans in inside.items()}, places


def _true_ms(places: Places, number: int, sample: int, rate: int) -> float | None:
    for first, last, at_ms in places.get(number, ()):
        if first <= sample < last:
            return at_ms + (sample - first) * 1000 / rate
    return None


def _sequence_faults(transcripts: list[Document], events: list[Document]) -> list[str]:
    """Return what is wrong with the order and numbering of what was published."""
    out = []
    numbers = [one["seq"] for one in transcripts]
    if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
        out.append(f"seq does not strictly increase: {_around(numbers)}")
    if numbers and not 1 <= numbers[0] <= numbers[-1] < 2**31:
        out.append(f"seq is out of range: {numbers[0]}..{numbers[-1]}")
    if any(not one["text"].strip() for one in transcripts):
        out.append("an empty text was published")
    finals = [one for one in transcripts if one["type"] == "final"]
    for earlier, later in itertools.pairwise(finals):
        if later["start_ms"] < earlier["end_ms"] - 1:
            out.append(f"seq {later['seq']} begins at {later['start_ms']}, before {earlier['end_ms']}")
    opened = [event["connection"] for event in events if event["event"] == "connection_opened"]
    if opened != sorted(set(opened)):
        out.append(f"connection numbers are reused: {opened}")
    return out


def _around(numbers: list[int]) -> list[int]:
    at = next(i for i, (a, b) in enumerate(itertools.pairwise(numbers)) if b <= a)
    return numbers[max(0, at - 2) : at + 4]


def _owners(evidence: Evidence) -> dict[str, str]:
    """Return the call of each connection that an event announced, by request id."""
    return {
        event["request_id"]: name
        for name, events in evidence.events.items()
        for event in events
        if event["event"] == "connection_opened"
    }


def _overlaps(evidence: Evidence) -> int:
    """Count the connections accepted while an earlier one of their call was still open."""
    call_of = _owners(evidence)
    by_call: dict[str, list[Document]] = defaultdict(list)
    for one in evidence.connections:
        if one["accepted_at"] is not None and one["request_id"] in call_of:
            by_call[call_of[one["request_id"]]].append(one)
    count = 0
    for ones in by_call.values():
        ones.sort(key=lambda one: one["accepted_at"])
        for earlier, later in itertools.pairwise(ones):
            closed = earlier["closed_at"]
            count += closed is None or closed > later["accepted_at"]
    return count


def recovery_s(evidence: Evidence, since_ms: float) -> float:
    """Return the seconds from a moment (epoch ms) until the slowest call published a final again.

    Calls that had already ended, or had nothing more to say, do not count.
    """
    longest = 0.0
    for transcripts in evidence.transcripts.values():
        after = [
            one["timestamp_ms"]
            for one in transcripts
            if one["type"] == "final" and one["timestamp_ms"] >= since_ms
        ]
        if after:
            longest = max(longest, (after[0] - since_ms) / 1000)
    return longest

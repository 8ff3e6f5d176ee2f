"""What became of every sample: exact figures from `Evidence`. Pure.

Each sample of each channel carries its own position (`simulator.stamps`). The echo engine's words name the
samples that they cover, decoded from the audio that reached it. So samples that are lost, doubled, shifted or
on the wrong channel show, whatever the daemon says about times, cursors and connections.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trio_asr.lab.rig.count import CallAccount, ChannelAccount, counted, summed, word_of, words_of
from trio_asr.lab.rig.evidence import Document, Evidence
from trio_asr.lab.rig.present import Present, Said, present


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
    fed_overlaps: int = 0  # connections that got audio while another of the same call did
    pauses_s: Sequence[float] = ()  # from the last audio of a connection to the first of the call's next

    @property
    def unfed_s(self) -> float:
        """The longest of these pauses."""
        return max(self.pauses_s, default=0.0)

    @property
    def fed_together_s(self) -> float:
        """The longest time for which two connections of a call got audio at once."""
        return max(0.0, -min(self.pauses_s, default=0.0))

    @property
    def channels(self) -> list[tuple[str, ChannelAccount]]:
        """The channels of all calls, each with the call's id."""
        return [(call.id, channel) for call in self.calls.values() for channel in call.channels]

    def total(self, name: str) -> int:
        """Return a count summed over the channels of all calls."""
        return sum(call.total(name) for call in self.calls.values())

    @property
    def strangers(self) -> int:
        """Samples in words of calls that never had them."""
        return sum(call.strangers for call in self.calls.values())

    @property
    def shift_ms(self) -> float:
        return max((call.shift_ms for call in self.calls.values()), default=0.0)

    @property
    def gaps(self) -> dict[str, int]:
        """Samples given up, by reason."""
        return summed(call.gaps for call in self.calls.values())

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
    fed: Mapping[str, Present] | None = None,
) -> Account:
    """Account for the calls in `rates`, a map of call ids to sample rates in Hz.

    A sample's true time is its number within its call. `by_order` uses its place in the order of entries
    instead, the only order that two series under one id have. Where producers trim the stream, Redis no
    longer holds what was in it; `fed` then says what each call had.
    """
    calls = {
        name: _call(
            evidence,
            name,
            present(evidence.audio.get(name, ()), rate, by_order=by_order) if fed is None else fed[name],
        )
        for name, rate in rates.items()
    }
    accepted = [one for one in evidence.connections if one["accepted_at"] is not None]
    pauses = _pauses(evidence)
    return Account(
        calls=calls,
        silence_s=max((one["silence_s"] for one in accepted), default=0.0),
        speed=max((one["speed"] for one in accepted), default=0.0),
        dialled=len(accepted),
        refused=sum(one["status"] not in (0, 101) for one in evidence.connections),
        unannounced=len(accepted) - sum(one["request_id"] in _owners(evidence) for one in accepted),
        overlaps=_overlaps(evidence),
        fed_overlaps=sum(pause < 0 for pause in pauses),
        pauses_s=pauses,
    )


def _call(evidence: Evidence, name: str, there: Present) -> CallAccount:
    events, transcripts = evidence.events.get(name, []), evidence.transcripts.get(name, [])
    finals = [one for one in transcripts if one["type"] == "final"]
    timed = [[(word_of(one["word"]), one["start_ms"]) for one in final.get("words", ())] for final in finals]
    out = counted(name, there.channels, [word for words in timed for word, _ in words], events)
    for final, words in zip(finals, timed, strict=True):
        for (number, first, _), start_ms in words:
            if (found := there.where(number, first)) is not None:
                out.shift_ms = max(out.shift_ms, abs(start_ms - found[0]))
        if [word for word, _ in words] != words_of(final["text"]):
            out.faults.append(f"seq {final['seq']}: the words are not those of the text")
    out.finals = len(finals)
    out.faults += _sequence_faults(transcripts, events) + _channel_faults(transcripts, there)
    return out


def _channel_faults(transcripts: Sequence[Document], there: Present) -> list[str]:
    """Return the transcripts whose words are not of the channel, or the role, that they name."""
    out = []
    for one in transcripts:
        named = Said(one.get("channel"), one.get("role"))
        found = (there.where(number, first) for number, first, _ in words_of(one["text"]))
        true = {place[1] for place in found if place is not None}
        if true - {named}:
            out.append(f"seq {one['seq']} is of {named}, with words of {sorted(map(str, true))}")
    return out


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
    ends: dict[int, int] = {}  # of the last final of each channel
    for one in transcripts:
        if one["type"] == "final":
            end = ends.get(one.get("channel", 0), 0)
            if one["start_ms"] < end - 1:
                out.append(f"seq {one['seq']} begins at {one['start_ms']}, before {end}")
            ends[one.get("channel", 0)] = one["end_ms"]
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


def connections_of(evidence: Evidence) -> dict[str, list[Document]]:
    """Return the accepted connections of each call, by id, in the order in which they began."""
    call_of = _owners(evidence)
    by_call: dict[str, list[Document]] = defaultdict(list)
    for one in evidence.connections:
        if one["accepted_at"] is not None and one["request_id"] in call_of:
            by_call[call_of[one["request_id"]]].append(one)
    for ones in by_call.values():
        ones.sort(key=lambda one: one["accepted_at"])
    return by_call


def _overlaps(evidence: Evidence) -> int:
    """Count the connections accepted while an earlier one of their call was still open."""
    count = 0
    for ones in connections_of(evidence).values():
        for earlier, later in itertools.pairwise(ones):
            closed = earlier["closed_at"]
            count += closed is None or closed > later["accepted_at"]
    return count


def most_at_once(evidence: Evidence) -> int:
    """Return the largest number of connections, of whatever calls, that were open at one moment."""
    steps: list[tuple[float, int]] = []
    for one in evidence.connections:
        if one["accepted_at"] is not None:
            steps.append((one["accepted_at"], 1))
            if one["closed_at"] is not None:
                steps.append((one["closed_at"], -1))
    return max(itertools.accumulate(change for _, change in sorted(steps)), default=0)


def _pauses(evidence: Evidence) -> list[float]:
    """Return the seconds from the audio of a connection to that of the call's next; below 0: both at once."""
    out: list[float] = []
    for ones in connections_of(evidence).values():
        fed = [one for one in ones if one["first_audio_at"] is not None]
        spans = sorted((one["first_audio_at"], one["last_audio_at"]) for one in fed)
        until = itertools.accumulate((last for _, last in spans), max)
        out += [first - last for last, (first, _) in zip(until, spans[1:], strict=False)]
    return out


def recovery_s(evidence: Evidence, names: Iterable[str], since_ms: float) -> float:
    """Return the seconds from a moment (epoch ms) until the slowest of these calls published a final again.

    Those that had already ended, or had nothing more to say, do not count.
    """
    longest = 0.0
    for name in names:
        after = [
            one["timestamp_ms"]
            for one in evidence.transcripts.get(name, ())
            if one["type"] == "final" and one["timestamp_ms"] >= since_ms
        ]
        if after:
            longest = max(longest, (after[0] - since_ms) / 1000)
    return longest


def longest_quiet_s(evidence: Evidence, names: Iterable[str]) -> float:
    """Return the longest time in seconds from a final of any of these calls to its next one."""
    longest = 0
    for name in names:
        finals = [one for one in evidence.transcripts.get(name, ()) if one["type"] == "final"]
        for earlier, later in itertools.pairwise(finals):
            longest = max(longest, later["timestamp_ms"] - earlier["timestamp_ms"])
    return longest / 1000

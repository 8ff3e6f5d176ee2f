"""The samples of a call that are on Redis, as its stamps tell: which, on which channel, and when. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from trio_asr.lab.rig.evidence import Piece
from trio_asr.lab.rig.legs import ROLES, number_of, sample_width, separated
from trio_asr.lab.rig.spans import Span, union
from trio_asr.simulator.stamps import Reader
from trio_asr.wire.audio_format import Format

Series = Mapping[int, Sequence[Span]]  # the samples present, by the number in their stamps


class Said(NamedTuple):
    """What a transcript says of the channel; both None for the audio of one channel."""

    channel: int | None = None
    role: str | None = None

    def __str__(self) -> str:
        """Name them as a broken promise is told."""
        return f"channel {self.channel} ({self.role})"


class Place(NamedTuple):
    """Where a stretch of samples belongs. `at_ms` is the time of sample `first` in its call."""

    first: int
    last: int
    at_ms: float
    said: Said = Said()


class Present:
    """The samples of one call. `channels` holds them by channel and series."""

    def __init__(self, found: Iterable[tuple[int, int, Place]], rate: int, channels: int = 1) -> None:
        """Take stretches of samples as `(channel, number, place)`."""
        self._rate = rate
        self._places: dict[int, list[Place]] = defaultdict(list)
        spans: list[dict[int, list[Span]]] = [defaultdict(list) for _ in range(channels)]
        for channel, number, place in found:
            self._places[number].append(place)
            spans[channel][number].append((place.first, place.last))
        self.channels: list[Series] = [
            {number: union(stretches) for number, stretches in series.items()} for series in spans
        ]

    def where(self, number: int, sample: int) -> tuple[float, Said] | None:
        """Return a sample's time in ms and its channel, or None if the call has no such sample."""
        for place in self._places.get(number, ()):
            if place.first <= sample < place.last:
                return place.at_ms + (sample - place.first) * 1000 / self._rate, place.said
        return None


def present(pieces: Sequence[Piece], rate: int, *, by_order: bool = False) -> Present:
    """Return the samples in the pieces of a call's audio, which has one rate throughout.

    For `by_order` see `account`.
    """
    found: list[tuple[int, int, Place]] = []
    before = 0
    for piece in pieces:
        for channel, leg in enumerate(separated(piece.format, piece.audio)):
            said = said_of(piece.format, piece.roles, channel)
            reader = Reader(sample_width(piece.format))
            reader.feed(leg)
            for run in reader.runs:
                at = before + run.at if by_order else run.first
                found.append((channel, run.call, Place(run.first, run.last, at * 1000 / rate, said)))
        before += len(piece.audio) // piece.format.width
    return Present(found, rate, max((piece.format.channels for piece in pieces), default=1))


def fed(number: int, samples: int, form: Format, roles: Sequence[str] = ROLES) -> Present:
    """Return all samples of a call with one series, number `number`, and these roles."""
    found = (
        (channel, number_of(number, channel), Place(0, samples, 0.0, said_of(form, roles, channel)))
        for channel in range(form.channels)
    )
    return Present(found, form.rate, form.channels)


def said_of(form: Format, roles: Sequence[str], channel: int) -> Said:
    """Return what transcripts of a channel have to say of it."""
    if form.channels == 1:
        return Said()
    return Said(channel, roles[channel] if roles else None)

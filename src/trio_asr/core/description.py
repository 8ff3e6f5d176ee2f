"""The description of a result: text, words, entities and search hits, with times on the call's timeline.

Of a result that straddles what was published already, only the rest is described.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from trio_asr.core.clock import ClockMap
from trio_asr.core.cut import cut_text
from trio_asr.core.timeline import Timeline
from trio_asr.wire.messages import Alternative, Entity, Results, Search, Word, middle

Described = dict[str, Any]
_UNKNOWN = frozenset({None})


class Said(NamedTuple):
    """The part of a result that counts."""

    text: str
    confidence: float | None
    words: list[Word]
    mixed: bool  # its words have several speakers, or several languages
    more: Described  # speaker, languages, entities, search: those that are present


class Describer:
    """The describer of one connection's results."""

    def __init__(self, timeline: Timeline, clock: ClockMap) -> None:
        self._timeline, self._clock = timeline, clock

    def said(self, message: Results, cut: int | None) -> Said:
        """Return what was said from timeline sample `cut` on (None: everything).

        Text without words cannot be cut. Then publishing it twice is better than not at all.
        """
        best, words = message.best, message.best.words
        text = best.transcript.strip()
        if cut is not None and words:
            kept = self._kept(words, cut)
            text = cut_text(text, words, kept)
            words = [word for word, keep in zip(words, kept, strict=True) if keep]
        more: Described = {}
        speakers = {word.speaker for word in words} - _UNKNOWN
        languages = {word.language for word in words} - _UNKNOWN
        if len(speakers) == 1:
            more["speaker"] = speakers.pop()
        if best.languages:
            more["languages"] = best.languages
        if found := best.entities or message.entities:
            more |= _some(entities=self._entities(found, best, cut))
        if message.channel.search:
            more |= _some(search=self._search(message.channel.search, cut))
        mixed = len(speakers) > 1 or len(languages) > 1
        return Said(text, best.confidence, words, mixed, more)

    def words(self, words: list[Word]) -> list[Described]:
        """Describe the words. An empty one only keeps the place of one that could not be read."""
        return [self._word(word) for word in words if word.text]

    def _word(self, word: Word) -> Described:
        described: Described = {"word": word.text}
        ms, sample = self._timeline.ms, self._clock.sample
        if word.start is not None:
            described["start_ms"] = ms(sample(word.start))
        if word.end is not None:
            described["end_ms"] = ms(sample(word.end))
        if word.confidence is not None:
            described["confidence"] = word.confidence
        if word.speaker is not None:
            described["speaker"] = word.speaker
        if word.language is not None:
            described["language"] = word.language
        return described

    def _kept(self, words: list[Word], cut: int) -> list[bool]:
        """Return of each word whether it was said from `cut` on.

        One without a time counts as the one before it; where there is none, as the first that has a time.
        """
        middles = [middle(word.start, word.end) for word in words]
        before = next((at for at in middles if at is not None), None)
        kept = []
        for at in middles:
            before = before if at is None else at
            kept.append(self._since(before, cut))
        return kept

    def _since(self, middle: float | None, cut: int | None) -> bool:
        """Return whether something was said from `cut` on. What has no time counts."""
        return cut is None or middle is None or self._clock.sample(middle) >= cut

    def _entities(self, entities: list[Entity], best: Alternative, cut: int | None) -> list[Described]:
        described = []
        for entity in entities:
            first, after = entity.start_word, entity.end_word
            start = end = None
            if first is not None and after is not None and first < after <= len(best.words):
                start, end = best.words[first].start, best.words[after - 1].end
            if self._since(middle(start, end), cut):
                one = _there(
                    label=entity.label,
                    value=entity.value,
                    raw_value=entity.raw_value,
                    confidence=entity.confidence,
                )
                described.append(one | self._times(start, end))
        return described

    def _search(self, search: list[Search], cut: int | None) -> list[Described]:
        described = []
        for term in search:
            hits = [
                _there(confidence=hit.confidence, snippet=hit.snippet) | self._times(hit.start, hit.end)
                for hit in term.hits
                if self._since(middle(hit.start, hit.end), cut)
            ]
            if hits:
                described.append({"query": term.query, "hits": hits})
        return described

    def _times(self, start: float | None, end: float | None) -> Described:
        timeline, clock = self._timeline, self._clock
        times = {}
        if start is not None:
            times["start_ms"] = timeline.ms(clock.sample(start))
        if end is not None:
            times["end_ms"] = timeline.ms(clock.sample(end))
        return times


def _some(**lists: list[Described]) -> Described:
    return {name: found for name, found in lists.items() if found}


def _there(**fields: Any) -> Described:
    return {name: value for name, value in fields.items() if value is not None}

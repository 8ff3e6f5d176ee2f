"""Where in its call a series begins: behind what is stored, by the time that has passed since."""

from __future__ import annotations

import msgspec

from trio_asr.wire.audio_format import Format
from trio_asr.wire.call_entries import Past

# A worker takes a position that is more than an hour ahead for a mistake.
MOST_GAP_S = 3500.0


def origin(position: int, past: Past | None, first_ms: float, fmt: Format) -> tuple[int, Past]:
    """Return the position of a series' first sample in its call, and what the store is to know from then on.

    `position` is where the call is, `past` what the store knew, `first_ms` when the series' first audio came
    (ms since 1970 by the store's clock). The time between is a hole, counted in samples of `fmt`. Nothing
    begins before what is stored: a platform that brought audio faster than real time is ahead.
    """
    if past is None:
        return position, Past(fmt.encoding, fmt.rate, fmt.channels, first_ms, position, 0)
    gap_ms = min(MOST_GAP_S * 1000, first_ms - past.at_ms(position))
    start = position + max(0, round(gap_ms * fmt.rate / 1000))
    if past.format == fmt and gap_ms < MOST_GAP_S * 1000:
        return start, past
    return start, msgspec.structs.replace(
        past, encoding=fmt.encoding, rate=fmt.rate, channels=fmt.channels, anchor_ms=first_ms, anchor=start
    )

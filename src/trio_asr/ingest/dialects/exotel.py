"""Exotel's AgentStream: the applets Stream (one way) and Voicebot (both), and the newer Legs API and ExoML.

Pages: "WebSocket protocol", "Stream applet", "Voicebot applet", "<Stream> / StartStream / StopStream"
(ExoML), and support article 3000108630. Audio is linear16, but mu-law by default at the newer APIs, so what
the start declares counts. Seen besides, and taken: keys in other cases, `leg_sid` alone, events and audio in
binary messages, `closed` for an end.
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_asr.ingest.dialect import Audio, Begin, Effect, Odd, Request
from trio_asr.ingest.dialects.media_events import QUIET, MediaEvents, Platform
from trio_asr.ingest.dialects.reading import folded
from trio_asr.wire.audio_format import Format, audio_format

SUBPROTOCOLS: tuple[str, ...] = ()
# What `sample-rate` may be in the query of the address (page "Stream applet").
_RATES = {"8000": 8000, "16000": 16_000, "24000": 24_000}
# The pace is judged over a second of the platform's clock without a jump. Audio of another encoding or rate
# has half the bytes or twice as many; what is nearer to that than to the right number is not right.
_JUDGED_MS, _JUMP_MS = 1000, 500
_FACTOR = 2**0.5


def open_dialect(request: Request) -> Exotel:
    """Return the reader of one socket. No subprotocol is accepted.

    Of the request the query is read: `sample-rate` (Hz: 8000, 16000 or 24000) applies where a start names
    none. Without either it is 8000.
    """
    query = folded(dict(request.query), frozenset({"samplerate"}))
    return Exotel(_RATES.get(query.get("samplerate", ""), 8000))


class Exotel(MediaEvents):
    """The reading of one socket. Whether the bytes fit the declared format is checked once a call."""

    def __init__(self, rate: int) -> None:
        super().__init__(
            Platform(
                call=("callsid", "callid", "legsid", "streamsid"),
                account=("accountsid",),
                default=audio_format(rate),
                binary_audio=True,
                quiet=QUIET | {"silence"},
                ends=frozenset({"stop", "closed"}),
            )
        )
        self._pace: _Pace | None = None

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:
        """Return what a message means, in order. A text is in UTF-8, not yet checked.

        Raises:
            Refusal: It cannot be used.
        """
        effects = super().hear(message, text=text)
        for effect in effects:
            if isinstance(effect, Begin):
                self._pace = _Pace(effect.format)
            elif isinstance(effect, Audio) and self._pace and (fits := self._pace.fits(effect)) is not None:
                self._pace = None
                if not fits:
                    return [*effects, Odd("pace")]
        return effects


class _Pace:
    """Compares the bytes of audio with the platform's own clock."""

    def __init__(self, fmt: Format) -> None:
        self._format = fmt
        self._since: float | None = None
        self._last = 0.0
        self._size = 0

    def fits(self, audio: Audio) -> bool | None:
        """Return whether the audio before this has as many bytes as it should; None: not yet known."""
        at = audio.at_ms
        if at is None:
            self._since = None
            return None
        if self._since is None or not 0 <= at - self._last <= _JUMP_MS:
            self._since, self._size = at, 0
        self._last = at
        if at - self._since >= _JUDGED_MS:
            ratio = self._format.ms(self._size) / (at - self._since)
            return 1 / _FACTOR <= ratio <= _FACTOR
        self._size += len(audio.audio)
        return None

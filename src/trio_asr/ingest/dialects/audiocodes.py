"""AudioCodes' Bot API by WebSocket: transactions in JSON, audio in base64, each participant in a stream.

Pages: AudioCodes, "Streaming mode" (Bot API) and "Agent assist". The platform offers formats and the answer
chooses one, for all participants. What asks for an answer gets it at once.

Audio has no clock but its samples. While a participant's stream is stopped, nothing comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trio_asr.ingest.dialect import UNSUPPORTED, Audio, Begin, Effect, Finish, Odd, Refusal, Say
from trio_asr.ingest.dialects import reading
from trio_asr.ingest.dialects.reading import Whole
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.payload import from_base64

# Best first; no phone line has 24 kHz. The others that are offered have a header of WAV ("wav/...").
FORMATS = {
    "raw/lpcm16": audio_format(16_000),
    "raw/lpcm16_8": audio_format(8000),
    "raw/mulaw": audio_format(8000, "mulaw"),
    "raw/lpcm16_24": audio_format(24_000),
}
_FIRST = FORMATS["raw/lpcm16"]
_NOT_META = frozenset({"type", "conversationId", "supportedMediaFormats", "participant"})


class AudioCodes:
    """The reading of one socket. `tracks` are the participants that are the call's legs, one or two.

    With none, the call has one leg: the participant that is heard of first, or nobody in particular.
    """

    def __init__(self, tracks: tuple[str, ...] = ()) -> None:
        self._tracks = tracks
        self._legs: dict[str | None, int] = {}
        self._begun: Begin | None = None
        self._wholes: list[Whole] = []
        self._streams: set[int] = set()  # legs whose stream is started
        self._error: str | None = None
        self._over = False

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:  # noqa: ARG002 - JSON in either kind
        """Return what a message means, in order. A text is in UTF-8, not yet checked.

        Raises:
            Refusal: It cannot be used.
        """
        if self._over:
            return (Odd("late"),)
        document = reading.read_object(message)
        return (Odd("json"),) if document is None else self._transact(document)

    def stored(self, number: int) -> str | None:  # noqa: ARG002
        """Return None: nobody waits for it."""
        return None

    def leave(self, reason: str) -> str | None:  # noqa: ARG002
        """Return the answer to a session that was refused; else None: the platform takes a close as it is."""
        return self._error

    def _transact(self, document: dict[str, Any]) -> Sequence[Effect]:
        match document.get("type"):
            case "connection.validate":
                return _validated(document)
            case "session.initiate":
                return self._initiate(document)
            case "session.resume":
                return self._resume(document)
        return (Odd("early"),) if self._begun is None else self._take(document)

    def _take(self, document: dict[str, Any]) -> Sequence[Effect]:
        match document.get("type"):
            case "userStream.chunk":
                return self._chunk(document)
            case "userStream.start":
                return self._stream(document, "userStream.started")
            case "userStream.stop":
                return self._stream(document, "userStream.stopped")
            case "session.end":
                self._over = True
                reason = reading.word_of(document.get("reason"), "end")
                return (Finish(reading.word_of(document.get("reasonCode"), reason)),)
        return () if document.get("type") == "activities" else (Odd("event"),)

    def _initiate(self, document: dict[str, Any]) -> Sequence[Effect]:
        try:
            begin, media_format = self._begin(document)
            again = reading.is_again(self._begun, begin)
        except Refusal as refusal:
            self._error = _message("session.error", reason=str(refusal))
            raise
        accepted = Say(_message("session.accepted", mediaFormat=media_format))
        if again:
            return (accepted, Odd("start_again"))
        self._begun, self._streams = begin, set()
        self._legs = {track: leg for leg, track in enumerate(self._tracks)}
        self._wholes = [Whole(begin.format.width) for _ in range(len(begin.legs) or 1)]
        effects: list[Effect] = [accepted]
        meta = reading.meta_of({key: value for key, value in document.items() if key not in _NOT_META})
        effects.append(begin._replace(meta=meta or {}))
        if meta is None:
            effects.append(Odd("meta"))
        if not isinstance(document.get("supportedMediaFormats"), list):
            effects.append(Odd("format"))
        return effects

    def _begin(self, document: dict[str, Any]) -> tuple[Begin, str]:
        offered = document.get("supportedMediaFormats")
        if isinstance(offered, list):
            media_format = next((one for one in FORMATS if one in offered), None)
        else:
            media_format = next(iter(FORMATS))
        if media_format is None:
            raise Refusal("media", f"none of {', '.join(FORMATS)} is offered", UNSUPPORTED)
        call = reading.call_id((document.get("conversationId"),))
        return Begin(call, FORMATS[media_format], self._tracks), media_format

    def _resume(self, document: dict[str, Any]) -> Sequence[Effect]:
        """Answer a socket that takes another one's place. It offers no formats: none can be agreed on."""
        if self._begun is not None and document.get("conversationId") == self._begun.call:
            return (Say(_message("session.accepted")),)
        return (Say(_message("session.error", reason="the conversation is not known here")), Odd("early"))

    def _leg(self, document: dict[str, Any]) -> int | None:
        participant = document.get("participant")
        participant = participant if isinstance(participant, str) else None
        if participant is None and len(self._wholes) == 1:
            return 0
        if not self._legs and participant is not None:
            self._legs[participant] = 0
        return self._legs.get(participant)

    def _stream(self, document: dict[str, Any], answer: str) -> Sequence[Effect]:
        participant = reading.word_of(document.get("participant"), "")
        said = Say(_message(answer, participant=participant) if participant else _message(answer))
        leg = self._leg(document)
        if leg is None:
            return (said, Odd("track"))
        self._wholes[leg].drop()
        if answer == "userStream.started":
            self._streams.add(leg)
        else:
            self._streams.discard(leg)
        return (said,)

    def _chunk(self, document: dict[str, Any]) -> Sequence[Effect]:
        leg = self._leg(document)
        if leg is None:
            return (Odd("track"),)
        payload = document.get("audioChunk")
        try:
            chunk = from_base64(payload) if isinstance(payload, str) else None
        except ValueError:
            chunk = None
        if not chunk:
            return (Odd("payload" if chunk is None else "empty"),)
        effects: list[Effect] = [] if leg in self._streams else [Odd("unbidden")]
        whole = self._wholes[leg]
        if len(chunk) % whole.width:
            effects.append(Odd("incomplete"))
        if audio := whole.take(chunk):
            effects.append(Audio(audio, leg))
        return effects


def _validated(document: dict[str, Any]) -> Sequence[Effect]:
    call = reading.word_of(document.get("conversationId"), "validate")
    return (Say(_message("connection.validated", success=True)), Begin(call, _FIRST, probe=True))


def _message(kind: str, **fields: Any) -> str:
    return msgspec.json.encode({"type": kind} | fields).decode()

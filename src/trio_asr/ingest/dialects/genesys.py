"""Genesys Cloud's AudioHook: transactions in text messages, and both people's samples in binary ones.

Pages: Genesys, "AudioHook Protocol Reference" and "Session Walkthrough". Each side numbers its messages from
1 without a hole, and says the last number that it saw. What asks for an answer gets it at once, before
anything else is done about it: a late `opened` or `pong` (5 s) makes the platform give up.

Audio has no clock but its samples, and what is missing of it is told. No subprotocol is offered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from trio_asr.ingest.dialect import (
    TOO_BIG,
    UNSUPPORTED,
    Audio,
    Begin,
    Effect,
    Finish,
    Lost,
    Odd,
    Refusal,
    Request,
    Say,
)
from trio_asr.ingest.dialects import reading
from trio_asr.ingest.dialects.reading import Whole
from trio_asr.wire import numbers
from trio_asr.wire.audio_format import MOST_CHANNELS, Format, audio_format

SUBPROTOCOLS: tuple[str, ...] = ()
MOST_TEXT_BYTES = 65_535
NULL_ID = "00000000-0000-0000-0000-000000000000"
MULAW = "PCMU"  # of L16, the other format, no page says which byte comes first
# A position that is further from ours is told. Audio comes in pieces of 20 to 200 ms.
_TOLERANCE_MS = 1000.0
_LONGEST_MS = 24 * 3600 * 1000.0
# The number is written as JavaScript does it: a tiny one has an exponent.
_DURATION = re.compile(r"PT(\d{1,12}(?:\.\d{0,30})?(?:e-\d{1,2})?)S", re.ASCII | re.IGNORECASE)
# These ends are none: the platform lost its way, or says that it comes back.
_NO_ENDS = frozenset({"error", "reconnect"})
_DISCONNECTS = frozenset({"completed", "unauthorized", "error"})
_ANSWERS = {"ping": "pong", "update": "updated"}
# Of messages that change nothing; the last three are of the bots' side of the protocol ("Audio Connector").
_TOLD: dict[str, tuple[Odd, ...]] = {
    "error": (Odd("told"),),
    "paused": (),
    "dtmf": (),
    "playback_started": (),
    "playback_completed": (),
}


def open_dialect(request: Request) -> AudioHook:
    """Return the reader of one socket.

    Of the request the headers `audiohook-session-id` and `audiohook-organization-id` are read, and count
    until a message says otherwise. What authenticates it (`x-api-key`, `signature`) is not looked at here.
    """
    return AudioHook(request)


class AudioHook:
    """The reading of one session."""

    def __init__(self, request: Request) -> None:
        self._id = reading.word_of(request.headers.get("audiohook-session-id"), NULL_ID)
        self._organization = request.headers.get("audiohook-organization-id", "")
        self._said = self._seen = 0  # the last numbers, ours and theirs
        self._begun: Begin | None = None
        self._whole = Whole(1)
        self._position_ms = 0.0
        self._paused = self._over = self._left = False

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:
        """Return what a message means, in order. A text is in UTF-8, not yet checked.

        Raises:
            Refusal: It cannot be used.
        """
        if self._over:
            return (Odd("late"),)
        document = self._read(message, text)
        return self._hear_object(document) if document is not None or text else self._hear_audio(message)

    def stored(self, number: int) -> str | None:  # noqa: ARG002
        """Return None: nobody waits for it."""
        return None

    def leave(self, reason: str) -> str | None:
        """Return what asks the platform to close the session, once; it does so by the transaction "close".

        A `reason` of "completed", "unauthorized" or "error" is the platform's word. Any other goes with
        "completed".
        """
        if self._left or self._over:
            return None
        self._left = True
        if reason in _DISCONNECTS:
            return self._message("disconnect", {"reason": reason})
        return self._message("disconnect", {"reason": "completed", "info": reason})

    def _message(self, kind: str, parameters: dict[str, Any]) -> str:
        self._said += 1
        message = {"version": "2", "id": self._id, "type": kind, "seq": self._said, "clientseq": self._seen}
        return msgspec.json.encode(message | {"parameters": parameters}).decode()

    def _read(self, message: bytes, text: bool) -> dict[str, Any] | None:
        """Return the object that a message is, if any. One may come in a binary message, too."""
        if len(message) > MOST_TEXT_BYTES:
            if text:
                raise Refusal("too_big", f"a text of more than {MOST_TEXT_BYTES} bytes", TOO_BIG)
            return None
        document = reading.read_object(message) if text or message.startswith(b"{") else None
        return document if text or (document and document.keys() >= {"version", "type"}) else None

    def _hear_audio(self, message: bytes) -> Sequence[Effect]:
        if self._begun is None:
            raise Refusal("early", "audio before the transaction that opens the session")
        if not message:
            return (Odd("empty"),)
        effects: list[Effect] = [Odd("unbidden")] if self._paused else []
        if len(message) % self._whole.width:
            effects.append(Odd("incomplete"))
        audio = self._whole.take(message)
        if audio:
            effects.append(Audio(audio))
            self._position_ms += self._begun.format.ms(len(audio))
        return effects

    def _hear_object(self, document: dict[str, Any] | None) -> Sequence[Effect]:
        if document is None:
            return (Odd("json"),)
        effects: list[Effect] = []
        number = numbers.whole(document.get("seq"))
        if number != self._seen + 1:
            effects.append(Odd("sequence"))
        self._seen = self._seen + 1 if number is None else number
        self._id = reading.word_of(document.get("id"), self._id)
        parameters = document.get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        kind = reading.word_of(document.get("type"), "")
        if kind not in ("open", "close", "ping") and self._begun is None:
            return [*effects, Odd("early")]
        effects += self._transact(kind, parameters)
        if kind not in ("discarded", "resumed") and not self._paused:
            effects += self._compare(document.get("position"))
        return effects

    def _transact(self, kind: str, parameters: dict[str, Any]) -> Sequence[Effect]:
        if (answer := _ANSWERS.get(kind)) is not None:
            return (Say(self._message(answer, {})),)
        match kind:
            case "open":
                return self._open(parameters)
            case "close":
                return self._close(parameters)
            case "paused" | "resumed":
                self._paused = kind == "paused"
        if kind in ("resumed", "discarded"):
            return self._lose(parameters)
        return _TOLD.get(kind, (Odd("event"),))

    def _open(self, parameters: dict[str, Any]) -> Sequence[Effect]:
        if self._begun is not None:
            return (Odd("start_again"),)
        conversation = parameters.get("conversationId")
        probe = conversation == NULL_ID
        offer = _choice(parameters.get("media"))
        if offer is None and not probe:
            raise Refusal("media", f"no {MULAW} of one or two channels is offered", UNSUPPORTED)
        fmt, legs = (offer.format, offer.legs) if offer else (audio_format(8000, "mulaw"), ())
        call = reading.call_id((conversation, self._id if self._id != NULL_ID else None))
        account = reading.account_of((parameters.get("organizationId"), self._organization))
        meta = reading.meta_of(_meta(parameters))
        self._begun = Begin(call, fmt, legs, len(legs) == 2, account, meta=meta or {}, probe=probe)
        self._whole = Whole(fmt.width)
        media = [offer.said] if offer else []
        opened = Say(self._message("opened", {"startPaused": False, "media": media}))
        return (opened, self._begun) if meta is not None else (opened, self._begun, Odd("meta"))

    def _close(self, parameters: dict[str, Any]) -> Sequence[Effect]:
        self._over = True
        reason = reading.word_of(parameters.get("reason"), "end")
        closed = Say(self._message("closed", {}))
        return (closed,) if self._begun is None or reason in _NO_ENDS else (closed, Finish(reason))

    def _lose(self, parameters: dict[str, Any]) -> Sequence[Effect]:
        lost_ms = _duration_ms(parameters.get("discarded"))
        if lost_ms is None:
            return (Odd("position"),)
        effects = [*self._compare(parameters.get("start"))]
        self._whole.drop()
        self._position_ms += lost_ms
        return [*effects, Lost(lost_ms)] if lost_ms else effects

    def _compare(self, position: object) -> Sequence[Effect]:
        """Take the platform's position for ours, and tell if they are far from each other."""
        there_ms = _duration_ms(position)
        if there_ms is None or abs(there_ms - self._position_ms) <= _TOLERANCE_MS:
            return ()
        self._position_ms = there_ms
        return (Odd("position"),)


class _Offer(NamedTuple):
    """Media as offered (`said`), and what it is."""

    said: dict[str, Any]
    format: Format
    legs: tuple[str, ...]


def _choice(media: object) -> _Offer | None:
    """Return the first offer of mu-law with two channels, else the first with one."""
    offers = [found for offer in (media if isinstance(media, list) else []) if (found := _offer(offer))]
    return max(offers, key=lambda offer: len(offer.legs), default=None)


def _offer(said: object) -> _Offer | None:
    if not isinstance(said, dict) or said.get("format") != MULAW or (said := reading.meta_of(said)) is None:
        return None
    legs, rate = said.get("channels"), said.get("rate")
    if (
        not isinstance(legs, list)
        or not 1 <= len(legs) <= MOST_CHANNELS
        or len(set(map(str, legs))) < len(legs)
    ):
        return None
    if not all(leg in ("external", "internal") for leg in legs):
        return None
    try:
        return _Offer(
            said, reading.format_of(MULAW, rate, len(legs), audio_format(8000, "mulaw")), tuple(legs)
        )
    except Refusal:
        return None


def _meta(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what an "open" says of the call: the customer's variables, and above them the platform's."""
    variables, participant = parameters.get("inputVariables"), parameters.get("participant")
    said = dict(variables) if isinstance(variables, dict) else {}
    if isinstance(participant, dict):
        said |= {key: participant[key] for key in ("ani", "aniName", "dnis") if key in participant}
    return said | {key: parameters[key] for key in ("language", "customConfig") if key in parameters}


def _duration_ms(value: object) -> float | None:
    """Return a duration such as "PT1.5S" in milliseconds; None if it is none, or more than a day."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    ms = float(found[1]) * 1000 if found else _LONGEST_MS + 1
    return ms if ms <= _LONGEST_MS else None

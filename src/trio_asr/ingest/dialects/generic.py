"""The generic protocol, `/v1/ingest`, of the ingest that this one replaces (docs/telephony/generic.md).

The client says `start`, and is answered `started`. Then it sends audio in binary messages of any size, and is
told by `ack` what is on the stream. Beyond the original it may say `stop`, and `resume_from` in its start:
the number of the last message that it knows to be stored. The answer then says from where it should go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trio_asr.ingest.dialect import INTERNAL, UNSUPPORTED, Audio, Begin, Effect, Finish, Odd, Refusal, Say
from trio_asr.ingest.dialects import reading
from trio_asr.wire import encodings
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.frames import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Junk, check_roles
from trio_asr.wire.ids import show
from trio_asr.wire.lenient import UNREADABLE
from trio_asr.wire.numbers import whole


class _Event(msgspec.Struct):
    event: Any = None
    interaction_id: Any = None
    tenant_id: Any = None
    sample_rate: Any = None
    encoding: Any = None
    channels: Any = None
    roles: Any = None
    meta: Any = None
    resume_from: Any = None
    reason: Any = None


_event = msgspec.json.Decoder(_Event)


class Generic:
    """One socket of the generic protocol. Every `ack_interval`th message of audio is acknowledged."""

    def __init__(self, ack_interval: int) -> None:
        self._interval = ack_interval
        self._call = ""  # once it has started
        self._resuming = False  # the start is to be answered when it is known what is stored
        self._acked = 0

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:
        """Return what a message means.

        Raises:
            Refusal: It is not what the protocol allows. The code is 1011, as it was in the original.
        """
        if not text:
            if not self._call:
                raise Refusal("audio_before_start", "audio before start", INTERNAL)
            return (Audio(message),)
        try:
            event = _event.decode(message)
        except UNREADABLE as error:
            raise Refusal("json", "a text that is no JSON object", INTERNAL) from error
        if event.event == "start":
            return self._start(event)
        if event.event == "stop":
            self._interval = 1  # nothing comes after it: all that is stored is acknowledged
            return (Finish(reading.word_of(event.reason, "stop")),)
        return (Odd("unknown_event"),)

    def stored(self, number: int) -> str | None:
        """Acknowledge a multiple of the interval; or say where a client that resumes goes on."""
        if self._resuming:
            self._resuming, self._acked = False, number
            return _text({"event": "started", "interaction_id": self._call, "resume_from": number})
        multiple = number - number % self._interval
        if multiple <= self._acked:
            return None
        self._acked = multiple
        return _text({"event": "ack", "seq": multiple})

    def leave(self, reason: str) -> str | None:  # noqa: ARG002
        """Return None: the close says it."""
        return None

    def _start(self, event: _Event) -> Sequence[Effect]:
        if self._call:
            raise Refusal("start_again", "a second start", INTERNAL)
        call, tenant = (
            _required("interaction_id", event.interaction_id),
            _required("tenant_id", event.tenant_id),
        )
        fmt = _format(event)
        resume_from = None if event.resume_from is None else whole(event.resume_from)
        if event.resume_from is not None and (resume_from is None or resume_from < 0):
            raise Refusal("resume_from", f"resume_from {show(event.resume_from)} is no number", INTERNAL)
        self._call, self._resuming = call, resume_from is not None
        meta = reading.meta_of(event.meta) if isinstance(event.meta, dict) else {}
        begin = Begin(
            call,
            fmt,
            legs=_legs(event.roles, fmt),
            interleaved=True,
            tenant=tenant,
            meta=meta or {},
            counts=True,
            resume_from=resume_from,
        )
        odd = (Odd("meta"),) if meta is None else ()
        if self._resuming:
            return (begin, *odd)
        return (begin, *odd, Say(_text({"event": "started", "interaction_id": call})))


def _required(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Refusal("start", f"start has {name} {show(value)}, not a text", INTERNAL)
    return value


def _format(event: _Event) -> Format:
    said = encodings.read(event.encoding) if isinstance(event.encoding, str) else None
    if said is None:
        raise Refusal(
            "encoding", f"encoding {show(event.encoding)} is not linear16, mulaw or alaw", UNSUPPORTED
        )
    rate = whole(said.rate if event.sample_rate is None else event.sample_rate)
    if rate is None or not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise Refusal(
            "sample_rate",
            f"sample_rate {show(event.sample_rate)} is not within {MIN_SAMPLE_RATE}..{MAX_SAMPLE_RATE}",
            INTERNAL,
        )
    channels = whole(said.channels or 1 if event.channels is None else event.channels)
    if channels not in (1, 2):
        raise Refusal("channels", f"channels {show(event.channels)} is not 1 or 2", UNSUPPORTED)
    return audio_format(rate, said.encoding, channels)


def _legs(roles: Any, fmt: Format) -> tuple[str, ...]:
    if roles is None:
        return ()
    try:
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise Refusal("roles", f"roles {show(roles)} is not a list of texts", INTERNAL)
        check_roles(tuple(roles), fmt.channels)
    except Junk as junk:
        raise Refusal("roles", str(junk), INTERNAL) from junk
    return tuple(roles)


def _text(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode()

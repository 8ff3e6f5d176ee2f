"""The family of platforms that say one hello, and send raw audio in binary messages.

Jambonz, FreeSWITCH's modules, Vonage, Knowlarity and Asterisk's chan_websocket are of it. Audio has no
header, no number and no clock, and nothing but the close of the socket says the end.

The hello is mostly the customer's own: it may overwrite what the platform says, come after the first audio,
be no JSON, or not come at all. So what stands in the query of the address goes before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from trio_asr.ingest.dialect import UNSUPPORTED, Audio, Begin, Effect, Odd, Refusal
from trio_asr.ingest.dialects import reading
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES, Whole, folded
from trio_asr.wire import ids
from trio_asr.wire.audio_format import audio_format

_NO_MIX: Mapping[str, tuple[str, ...]] = {"": ()}


class Platform(NamedTuple):
    """What tells one platform from the others. Names of fields are folded: "callsid" is "call_sid", too.

    `call`, `account` and `tenant` are where these are found, best first, as `rate` (Hz), `encoding` and `mix`
    are; "" if the platform has none. What is under `custom` is said by the customer. `mixes` are the legs by
    the word found for `mix`, in lower case; "" stands for none. Where no encoding or rate is found, the audio
    is linear16 of `rate_hz`. `read` makes an object of a text. Events of `quiet` change nothing.
    """

    call: tuple[str, ...]
    rate_hz: int
    account: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    rate: str = ""
    encoding: str = ""
    mix: str = ""
    mixes: Mapping[str, tuple[str, ...]] = _NO_MIX
    custom: str = ""
    read: Callable[[bytes], dict[str, Any] | None] = reading.read_object
    quiet: frozenset[str] = frozenset()


class HelloFirst:
    """The reading of one socket of the family. `query` is that of the address."""

    def __init__(self, platform: Platform, query: Mapping[str, str]) -> None:
        self.platform = platform
        self._of_format = frozenset({platform.rate, platform.encoding, platform.mix}) - {""}
        self._names = frozenset({*platform.call, *platform.account, *platform.tenant}) | self._of_format
        self._query = folded(dict(query), self._names)
        self._begun: Begin | None = None
        self._whole = Whole(1)
        self._early: list[bytes] = []
        self._early_bytes = 0

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:
        """Return what a message means, in order. A text is in UTF-8, not yet checked.

        Raises:
            Refusal: It cannot be used.
        """
        if text:
            document = self.platform.read(message)
            return (Odd("json"),) if document is None else self._hear_object(document)
        if self._begun is not None:
            return self._hear_audio(message)
        document = self.platform.read(message)  # a hello in a binary message
        if document is not None:
            return self._hear_object(document)
        if self._names_call(self._query):
            return [*self._begin({}), *self._hear_audio(message)]
        self._early_bytes += len(message)
        if self._early_bytes > MOST_EARLY_BYTES:
            raise Refusal("early", f"more than {MOST_EARLY_BYTES} bytes of audio before the hello")
        self._early.append(message)
        return (Odd("early"),)

    def stored(self, number: int) -> str | None:  # noqa: ARG002
        """Return None: nobody waits for it."""
        return None

    def leave(self, reason: str) -> str | None:  # noqa: ARG002
        """Return None: the platforms take a close as it is."""
        return None

    def _names_call(self, fields: Mapping[str, Any]) -> bool:
        return any(name in fields for name in self.platform.call)

    def _hear_object(self, document: dict[str, Any]) -> Sequence[Effect]:
        fields = folded(document, self._names)
        named = self._names_call(fields)
        # Once there is a call, a text that names one is a hello only if it says of what format, too.
        if named and (self._begun is None or self._of_format & fields.keys()):
            return self._begin(document)
        event = document.get("event", document.get("type"))
        if isinstance(event, str) and event.lower() in self.platform.quiet:
            return ()
        return (Odd("event"),) if self._begun is not None else self._begin(document)

    def _begin(self, hello: dict[str, Any]) -> Sequence[Effect]:
        fields, platform = folded(hello, self._names) | self._query, self.platform
        legs = self._legs(fields.get(platform.mix, ""))
        encoding = fields.get(platform.encoding, "linear16")
        default = audio_format(platform.rate_hz)
        fmt = reading.format_of(encoding, fields.get(platform.rate), max(1, len(legs)), default)
        begin = Begin(
            reading.call_id(fields.get(name) for name in platform.call),
            fmt,
            legs,
            len(legs) == 2,
            reading.account_of(fields.get(name) for name in platform.account),
            reading.account_of(fields.get(name) for name in platform.tenant),
        )
        if reading.is_again(self._begun, begin):
            return (Odd("start_again"),)
        meta = reading.meta_of(self._said(hello))
        self._begun = begin._replace(meta=meta or {})
        self._whole = Whole(fmt.width)
        effects: list[Effect] = [self._begun] if meta is not None else [self._begun, Odd("meta")]
        early, self._early = self._early, []
        for held in early:
            effects += self._hear_audio(held)
        return effects

    def _said(self, hello: dict[str, Any]) -> dict[str, Any]:
        """Return what a hello says of the call: the customer's own parameters, above them the platform's."""
        custom: dict[str, Any] = {}
        said: dict[str, Any] = {}
        for key, value in hello.items():
            if (name := reading.fold(key)) == self.platform.custom:
                custom = reading.parameters_of(value)
            elif name not in self._names:
                said[key] = value
        return custom | said

    def _legs(self, mix: object) -> tuple[str, ...]:
        legs = self.platform.mixes.get(mix.lower()) if isinstance(mix, str) else None
        if legs is None:
            raise Refusal("channels", f"{self.platform.mix} {ids.show(mix)} is not known", UNSUPPORTED)
        return legs

    def _hear_audio(self, message: bytes) -> Sequence[Effect]:
        if not message:
            return (Odd("empty"),)
        if not self._whole and len(message) % self._whole.width == 0:
            return (Audio(message),)
        audio = self._whole.take(message)
        return (Odd("incomplete"), Audio(audio)) if audio else (Odd("incomplete"),)

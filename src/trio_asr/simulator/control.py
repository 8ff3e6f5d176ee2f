"""The control messages of a client. Pure.

Deepgram's pages "Audio Keep Alive", "Finalize", "Close Stream", "Configure".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from trio_asr.simulator.query import ListenQuery
from trio_asr.simulator.wire import ConfigureSuccess, Error

_CUT: Final = 200  # characters of an offending text quoted in the answer
_FEATURES: Final = {"type", "keyterms", "features", "processors", "language_hints"}


class Request(enum.Enum):
    KEEP_ALIVE = "KeepAlive"
    CLOSE_STREAM = "CloseStream"


@dataclass(frozen=True)
class Finalize:
    """A Finalize message, for one channel or for all of them."""

    channel: int | None = None


@dataclass(frozen=True)
class Configure:
    """A Configure message: `keyterms` replaces the whole list, None keeps it; no engine here uses it."""

    keyterms: list[str] | None

    def answer(self, query: ListenQuery, request_id: str) -> ConfigureSuccess | Error:
        """Return the one answer that each message gets; keyterms exist for nova-3 only."""
        if self.keyterms is not None and not query.model.startswith("nova-3"):
            return Error(
                variant="InvalidConfigureMessage",
                description="Keyterms can only be configured on a nova-3 stream.",
                code="KeytermsNotSupported",
            )
        return ConfigureSuccess(request_id=request_id, keyterms=self.keyterms)


_Asked = Request | Finalize | Configure | Error
_NAMES: Final = ("KeepAlive", "Finalize", "CloseStream", "Configure")
#: The usual texts need no decoding.
_VERBATIM: Final[dict[str, _Asked]] = {
    '{"type":"KeepAlive"}': Request.KEEP_ALIVE,
    '{"type": "KeepAlive"}': Request.KEEP_ALIVE,
    '{"type":"Finalize"}': Finalize(),
    '{"type": "Finalize"}': Finalize(),
}


def parse(text: str, channels: int) -> _Asked:
    """Return what a text message asks for, or the answer to one that is not understood."""
    return _VERBATIM.get(text) or _decoded(text, channels)


def _decoded(text: str, channels: int) -> _Asked:
    try:
        body: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        return _schema_error(str(error), text)
    if not isinstance(body, dict) or not isinstance(kind := body.get("type"), str):
        return _schema_error("missing field `type`", text)
    match kind:
        case "KeepAlive" | "CloseStream":
            return Request(kind)
        case "Finalize":
            return _finalize(body, text, channels)
        case "Configure":
            return _configure(body, text)
        case _:
            names = ", ".join(f"`{name}`" for name in _NAMES)
            return _schema_error(f"unknown variant `{kind[:_CUT]}`, expected one of {names}", text)


def _finalize(body: dict[str, Any], text: str, channels: int) -> Finalize | Error:
    channel = body.get("channel")
    if channel is None or (type(channel) is int and 0 <= channel < channels):
        return Finalize(channel)
    return _schema_error(f"`channel` is not in 0..{channels - 1}", text)


def _configure(body: dict[str, Any], text: str) -> Configure | Error:
    if unknown := sorted(set(body) - _FEATURES):
        return _schema_error(f"unknown field `{unknown[0][:_CUT]}`", text)
    keyterms = body.get("keyterms")
    if keyterms is not None and not (
        isinstance(keyterms, list) and all(isinstance(k, str) for k in keyterms)
    ):
        return _schema_error("`keyterms` is not a list of strings", text)
    return Configure(keyterms)


def _schema_error(what: str, text: str) -> Error:
    return Error(
        variant="SchemaError",
        description=f"Could not deserialize last text message: {what}",
        message=text[:_CUT],
    )

"""Whether a connection is accepted, and the HTTP response if it is not. Pure.

Deepgram's pages "Authentication", "Using the Sec-WebSocket-Protocol" and "Errors": a refusal carries
`dg-error` and `dg-request-id` headers and a JSON body with `err_code`, `err_msg` and `request_id`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from trio_asr.simulator.query import ListenQuery, Pairs, Refused, check, parse

PATH: Final = "/v1/listen"
Headers = Iterable[tuple[bytes, bytes]]

_SCHEMES: Final = ("token", "bearer")
_EXPOSED: Final = b"dg-model-name,dg-model-uuid,dg-char-count,dg-request-id,dg-error"


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted request.

    `subprotocol` is the 101's answer to a browser that sent its key as a subprotocol.
    """

    query: ListenQuery
    subprotocol: str | None


def query_of(target: str) -> Pairs:
    """Return the query of a request target `/path?query`.

    Raises:
        Refused: The target is not a valid URL.
    """
    return parse(_split(target).query)


def _split(target: str) -> SplitResult:
    try:
        return urlsplit(target)
    except ValueError:
        raise Refused(400, "Bad request.") from None


def decide(target: str, headers: Headers, subprotocols: Sequence[str], *, api_key: str | None) -> Accepted:
    """Accept a request.

    Raises:
        Refused: With 404 for another path, 401 for a missing or wrong key, 400 for the query.
    """
    if _split(target).path != PATH:
        raise Refused(404, "Not found.", "NOT_FOUND")
    key, subprotocol = _credentials(headers, subprotocols)
    if not key or (api_key is not None and key != api_key):
        raise Refused(401, "Invalid credentials.", "INVALID_AUTH")
    return Accepted(check(query_of(target)), subprotocol)


def accept_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of a 101 in addition to the WebSocket's own."""
    return [(b"dg-request-id", request_id.encode()), (b"access-control-expose-headers", _EXPOSED)]


def refusal(refused: Refused, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and body of the HTTP response that refuses the handshake."""
    headers = [
        (b"content-type", b"application/json"),
        (b"dg-error", refused.message.encode("ascii")),
        (b"dg-request-id", request_id.encode()),
    ]
    body = {"err_code": refused.code, "err_msg": refused.message, "request_id": request_id}
    return headers, msgspec.json.encode(body)


def _credentials(headers: Headers, subprotocols: Sequence[str]) -> tuple[str, str | None]:
    """Return the key, empty if there is none, and the subprotocol to answer with if it came that way."""
    for name, value in headers:
        if name.lower() == b"authorization":
            scheme, _, key = value.decode("latin-1").strip().partition(" ")
            return (key.strip(), None) if scheme.lower() in _SCHEMES else ("", None)
    if len(subprotocols) >= 2 and subprotocols[0].lower() in _SCHEMES:
        return subprotocols[1], subprotocols[0]
    return "", None

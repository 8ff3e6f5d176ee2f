"""What peers show before a socket opens: a JWT, a user and password, a token. Pure: `now` is given.

Each function here and in `signatures` returns the check of one route. Texts of secrets are compared in a time
that does not depend on where they differ. No reason has anything in it that a peer sent as a secret.
"""

from __future__ import annotations

import base64
import hmac
import math
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, TypeVar

import jwt
import msgspec

from trio_asr.config.ingest import TOKEN
from trio_asr.ingest.dialect import Request


class Claims(NamedTuple):
    """What a credential says of the call, where it says anything: its tenant, its id, and the account."""

    tenant: str = ""
    call: str = ""
    account: str = ""


class Denied(Exception):
    """A request is turned away with an HTTP `status`. `kind` is for the metrics, `reason` for the log."""

    def __init__(self, kind: str, reason: str, status: int = 401) -> None:
        super().__init__(reason)
        self.kind, self.reason, self.status = kind, reason, status


# Vonage makes a JWT for each socket that it opens. Nobody documents how long it is valid.
MAX_AGE_S, MAX_AHEAD_S = 300, 60

# From a request and the wall clock, in epoch seconds, to what is claimed. It raises nothing but `Denied`.
Check = Callable[[Request, float], Claims]


_Time = Annotated[float, msgspec.Meta(ge=0, le=1e15)]  # epoch seconds


class _Payload(msgspec.Struct):
    """The claims of a JWT that count here (RFC 7519, 4.1, and the original ingest's own two)."""

    exp: _Time
    nbf: _Time = 0.0
    tenant_id: str | None = None
    interaction_id: str | None = None


class _Vonage(msgspec.Struct):
    """The claims of a JWT of Vonage's that count here (page "Signed webhooks", whose form it has)."""

    iss: str
    iat: _Time
    exp: _Time | None = None
    application_id: str | None = None
    api_key: str | None = None


def octets(text: str) -> bytes:
    """Return the bytes of any text, even of one that is not Unicode."""
    return text.encode("utf-8", "surrogatepass")


def same(one: str, other: str) -> bool:
    """Return whether two texts are the same, in a time that depends on their lengths alone."""
    return hmac.compare_digest(octets(one), octets(other))


def anyone(request: Request, now: float) -> Claims:  # noqa: ARG001 - a `Check`
    """Let everybody in."""
    return Claims()


def json_web_token(algorithm: Literal["RS256", "HS256"], key: str) -> Check:
    """Check a JWT in `Authorization: Bearer`. `key` is a public key in PEM for RS256, a secret for HS256.

    The configuration decides the algorithm, never the token. `exp` is required, as by the original.
    """
    read = _reader(algorithm, key, _Payload)

    def check(request: Request, now: float) -> Claims:
        claims = read(request)
        if now >= claims.exp:
            raise Denied("expired", f"the JWT expired {now - claims.exp:.0f} s ago")
        if now < claims.nbf:
            raise Denied("expired", f"the JWT is not valid for another {claims.nbf - now:.0f} s")
        return Claims(claims.tenant_id or "", claims.interaction_id or "")

    return check


def vonage(secret: str) -> Check:
    """Check the JWT of Vonage's in `Authorization: Bearer`: HS256 with the account's signature secret.

    It says when it was made, and seldom until when it is valid. The account is its application, or its key.
    """
    read = _reader("HS256", secret, _Vonage)

    def check(request: Request, now: float) -> Claims:
        claims = read(request)
        if claims.iss != "Vonage":
            raise Denied("credentials", "the JWT is not Vonage's")
        if claims.iat > now + MAX_AHEAD_S:
            raise Denied("expired", f"the JWT is from {claims.iat - now:.0f} s ahead: is the clock right?")
        if now >= min(claims.iat + MAX_AGE_S, math.inf if claims.exp is None else claims.exp):
            raise Denied("expired", f"the JWT is {now - claims.iat:.0f} s old")
        return Claims(account=claims.application_id or claims.api_key or "")

    return check


_Read = TypeVar("_Read", bound=msgspec.Struct)


def _reader(algorithm: str, key: str, claims: type[_Read]) -> Callable[[Request], _Read]:
    """Return what reads the claims of a request's JWT, once its signature is verified."""
    verify, decode = jwt.PyJWS(algorithms=[algorithm]).decode, msgspec.json.Decoder(claims).decode

    def read(request: Request) -> _Read:
        token = _authorization(request, "bearer")
        try:
            return decode(verify(token, key, algorithms=[algorithm]))
        # The token is the peer's: whatever it brings about is a refusal.
        except Exception as exc:
            raise Denied("credentials", f"the JWT cannot be used: {type(exc).__name__}") from exc

    return read


def basic(user: str, password: str) -> Check:
    """Check user and password in `Authorization: Basic` (RFC 7617)."""

    def check(request: Request, now: float) -> Claims:  # noqa: ARG001
        try:
            given = base64.b64decode(_authorization(request, "basic"), validate=True)
        except ValueError:
            raise Denied("credentials", "user and password are not in base64") from None
        given_user, _, given_password = given.decode("utf-8", "surrogateescape").partition(":")
        # Both are compared always: the time does not say which of them is wrong.
        if not (same(given_user, user) & same(given_password, password)):
            raise Denied("credentials", "wrong user or password")
        return Claims()

    return check


def bearer(token: str) -> Check:
    """Check the one token in `Authorization: Bearer` (RFC 6750)."""

    def check(request: Request, now: float) -> Claims:  # noqa: ARG001
        if not same(_authorization(request, "bearer"), token):
            raise Denied("credentials", "wrong token")
        return Claims()

    return check


def in_path(path: str, token: str) -> Check:
    """Check the token that stands in the place of `{token}` in a route's path."""
    expected = path.replace(TOKEN, token)

    def check(request: Request, now: float) -> Claims:  # noqa: ARG001
        if not same(raw_path(request), expected):
            raise Denied("credentials", "wrong token in the path")
        return Claims()

    return check


def raw_path(request: Request) -> str:
    """Return the path as it was sent, percent-encoded."""
    return request.target.partition("?")[0]


def scheme_of(request: Request) -> str:
    """Return the scheme of the Authorization header in lower case, or ""."""
    return request.headers.get("authorization", "").strip().partition(" ")[0].lower()


def _authorization(request: Request, scheme: str) -> str:
    """Return what follows the scheme in the Authorization header."""
    if scheme_of(request) != scheme:
        raise Denied("no_credentials", f"Authorization: {scheme.capitalize()} is needed")
    return request.headers["authorization"].strip().partition(" ")[2].strip()

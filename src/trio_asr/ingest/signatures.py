"""Requests that platforms sign: Twilio's and Genesys'. Pure: `now` is given.

Both sign the URL that they were configured with. Behind a proxy that is not the URL that arrives, so it is
built from the configured origin and the request's target, never from the Host header. If a signature does not
fit, the reason shows both URLs, without queries.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import NamedTuple

from trio_asr.ingest.credentials import Check, Claims, Denied, octets, raw_path, same
from trio_asr.ingest.dialect import Request

_SECURE = ("wss", "https")
MAX_HOST = 100  # characters of a Host header that are shown

# Genesys (developer.genesys.cloud/devapps/audiohook, Security, and the authenticator of its reference
# implementation, purecloudlabs/audiohook-reference-implementation app/src/authenticator.ts).
COMPONENTS = (
    "@request-target", "@authority", "audiohook-organization-id", "audiohook-session-id",
    "audiohook-correlation-id", "x-api-key",
)  # fmt: skip
MAX_AGE_S = 10
MAX_SKEW_S = 3  # by which a platform's clock may be ahead
MIN_NONCE = 22  # characters: 128 bits in base64

# One signature in the form that its parts have when serialized (RFC 9421, 2.3; RFC 8941, 4.1): what was
# signed is the text itself. Its strings have no escapes.
_TEXT = r'"[ !#-\[\]-~]*"'
_INPUT = re.compile(
    rf"(?P<label>[a-z*][a-z0-9_.*-]*)="
    rf"(?P<text>\((?P<names>{_TEXT}(?: {_TEXT})*)\)(?P<parameters>(?:;[a-z]+=(?:{_TEXT}|\d{{1,15}}))*))"
)
_PARAMETER = re.compile(rf";([a-z]+)=(?:({_TEXT})|(\d+))")
_PARAMETERS = {"alg", "created", "expires", "keyid", "nonce"}


class _Signed(NamedTuple):
    """The header Signature-Input of one signature: its label, the text after it, and what that says."""

    label: str
    text: str
    components: list[str]
    parameters: dict[str, str]


def twilio(public_url: str, auth_token: str) -> Check:
    """Check `X-Twilio-Signature` (twilio.com/docs/usage/security, Validating Signatures).

    It is over the URL as it was configured, for a WebSocket without parameters of a POST. Signatures are made
    with and without the port, and the scheme may be written as that of HTTP.
    """
    scheme, host, port = _parts(public_url)
    schemes = _SECURE if scheme in _SECURE else ("ws", "http")
    shown_port = port or _default_port(scheme)
    origins = [f"{one}://{host}{suffix}" for one in schemes for suffix in ("", f":{shown_port}")]
    key = auth_token.encode()

    def check(request: Request, now: float) -> Claims:  # noqa: ARG001
        if (given := request.headers.get("x-twilio-signature")) is None:
            raise Denied("no_credentials", "there is no X-Twilio-Signature")
        made = [
            base64.b64encode(hmac.digest(key, octets(origin + request.target), hashlib.sha1))
            for origin in origins
        ]
        fits = [hmac.compare_digest(octets(given.strip()), one) for one in made]
        if not any(fits):
            raise Denied("signature", _disagreement(public_url, request))
        return Claims()

    return check


def genesys(public_url: str, api_key: str, client_secret: str) -> Check:
    """Check `X-API-KEY` and the signature of AudioHook: HMAC-SHA256 by RFC 9421 over `COMPONENTS`.

    `client_secret` is in base64. A signature is valid for `MAX_AGE_S` seconds.
    """
    scheme, host, port = _parts(public_url)
    # RFC 9421, 2.2.3: in lower case, and without the scheme's own port.
    authority = host.lower() + (f":{port}" if port not in ("", _default_port(scheme)) else "")
    key = base64.b64decode(client_secret)

    def check(request: Request, now: float) -> Claims:
        signed = _signature_input(request.headers.get("signature-input"))
        parameters = signed.parameters
        if not same(request.headers.get("x-api-key", ""), api_key):
            raise Denied("credentials", "wrong X-API-KEY")
        if not same(parameters.get("keyid", ""), api_key):
            raise Denied("credentials", "the signature's keyid is not the X-API-KEY")
        if len(parameters.get("nonce", "")) < MIN_NONCE:
            raise Denied("signature", f"the signature's nonce has less than {MIN_NONCE} characters")
        if parameters.get("alg", "hmac-sha256") != "hmac-sha256":
            raise Denied("signature", "the signature's algorithm is not hmac-sha256")
        _check_age(parameters, now)
        values = {"@request-target": request.target, "@authority": authority, **_headers(request)}
        lines = [f'"{name}": {values[name]}' for name in signed.components]
        base = "\n".join([*lines, f'"@signature-params": {signed.text}'])
        made = base64.b64encode(hmac.digest(key, octets(base), hashlib.sha256)).decode()
        if not same(request.headers.get("signature", "").strip(), f"{signed.label}=:{made}:"):
            raise Denied("signature", _disagreement(public_url, request))
        return Claims()

    return check


def _signature_input(given: str | None) -> _Signed:
    if given is None:
        raise Denied("no_credentials", "there is no Signature-Input")
    if (found := _INPUT.fullmatch(given.strip())) is None:
        raise Denied("signature", "Signature-Input is not that of one signature")
    components = [name[1:-1] for name in re.findall(_TEXT, found["names"])]
    if sorted(components) != sorted(COMPONENTS):
        raise Denied("signature", "the signature does not cover what it has to")
    pairs = _PARAMETER.findall(found["parameters"])
    parameters = {name: text[1:-1] if text else number for name, text, number in pairs}
    if len(parameters) < len(pairs) or not parameters.keys() <= _PARAMETERS:
        raise Denied("signature", "the signature has parameters twice, or unknown ones")
    return _Signed(found["label"], found["text"], components, parameters)


def _check_age(parameters: dict[str, str], now: float) -> None:
    created, expires = parameters.get("created", ""), parameters.get("expires", "")
    if not created.isdigit() or (expires and not expires.isdigit()):
        raise Denied("signature", "the signature's times are not numbers, or missing")
    if int(created) > now + MAX_SKEW_S:
        raise Denied(
            "expired", f"the signature is from {int(created) - now:.0f} s ahead: is the clock right?"
        )
    if now > int(created) + MAX_AGE_S:
        raise Denied("expired", f"the signature is {now - int(created):.0f} s old")
    if expires and now >= int(expires):
        raise Denied("expired", "the signature has expired")


def _headers(request: Request) -> dict[str, str]:
    """Return the values of the headers among `COMPONENTS`."""
    names = [name for name in COMPONENTS if not name.startswith("@")]
    if missing := [name for name in names if name not in request.headers]:
        raise Denied("signature", f"the signature covers {missing[0]}, which is not there")
    return {name: request.headers[name].strip() for name in names}


def _parts(url: str) -> tuple[str, str, str]:
    """Return scheme, host (with the brackets of IPv6) and port of an origin; without a port it is ""."""
    scheme, _, authority = url.partition("://")
    host, colon, port = authority.rpartition(":")
    return (scheme, host, port) if colon and not port.endswith("]") else (scheme, authority, "")


def _default_port(scheme: str) -> str:
    return "443" if scheme in _SECURE else "80"


def _disagreement(public_url: str, request: Request) -> str:
    path = raw_path(request)
    host = "".join(char for char in request.headers.get("host", "")[:MAX_HOST] if char.isprintable())
    return (
        f"the signature is not that of {public_url}{path} with this secret; it came for {host}{path}: "
        "is ingest.public_url what the platform has?"
    )

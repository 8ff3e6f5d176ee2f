"""How platforms prove who they are in a request for a WebSocket. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from trio_asr.config import Secret


def twilio_signature(token: Secret, signed: str) -> str:
    """Return `X-Twilio-Signature` of a text, by an account's auth token (Twilio's page "Security").

    The text is the URL as it is configured, with its scheme, followed by the sorted fields of a form. A
    request for a WebSocket has no form.
    """
    digest = hmac.new(token.reveal().encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def genesys_signature(
    secret: Secret, components: Mapping[str, str], created: int, expires: int, nonce: str
) -> dict[str, str]:
    """Return the headers that sign a request of AudioHook's (its page "Security"; RFC 9421).

    `secret` is in base64. `components` are what is signed, in order, by their names in lower case; times are
    Unix times in seconds. The key's id is the API key, which is one of the components.
    """
    names = " ".join(f'"{name}"' for name in components)
    signed = (
        f'({names});keyid="{components["x-api-key"]}";nonce="{nonce}";alg="hmac-sha256"'
        f";created={created};expires={expires}"
    )
    lines = [f'"{name}": {value}' for name, value in components.items()]
    text = "\n".join([*lines, f'"@signature-params": {signed}'])
    digest = hmac.new(base64.b64decode(secret.reveal()), text.encode(), hashlib.sha256).digest()
    return {
        "Signature-Input": f"sig1={signed}",
        "Signature": f"sig1=:{base64.b64encode(digest).decode()}:",
    }


def json_web_token(secret: Secret, claims: Mapping[str, object]) -> str:
    """Return claims as a JWT, signed with HS256 (RFC 7515, 3.3; RFC 7519)."""
    parts = [_base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = ".".join(parts)
    return f"{signed}.{_base64url(hmac.digest(secret.reveal().encode(), signed.encode(), hashlib.sha256))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""How platforms prove who they are in a request for a WebSocket. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac

from trio_asr.config import Secret


def twilio_signature(token: Secret, signed: str) -> str:
    """Return `X-Twilio-Signature` of a text, by an account's auth token (Twilio's page "Security").

    The text is the URL as it is configured, with its scheme, followed by the sorted fields of a form. A
    request for a WebSocket has no form.
    """
    digest = hmac.new(token.reveal().encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()

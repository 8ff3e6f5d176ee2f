"""Signatures, by the examples that the platforms publish."""

from __future__ import annotations

import pytest

from trio_asr.config import Secret
from trio_asr.lab.dial.signing import genesys_signature, twilio_signature


def test_twilios_published_example() -> None:
    # Twilio's page "Security"; also in tests/unit/test_request_validator.py of twilio/twilio-python.
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    signed = "https://mycompany.com/myapp.php?foo=1&bar=2" + "".join(k + form[k] for k in sorted(form))
    assert twilio_signature(Secret("12345"), signed) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize(
    ("authority", "signature"),
    [
        ("host", "zupMJUMfd/kMuvKc5zhRyfJPE3jTROuz1S1hn8SCTpE="),
        ("@authority", "NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4="),
    ],
)
def test_genesys_published_examples(authority: str, signature: str) -> None:
    # purecloudlabs/audiohook-reference-implementation, app/audiohook/test/httpsignature: the example of
    # Genesys' documentation, in the builder's test with the component "host", in the verifier's with
    # "@authority".
    headers = genesys_signature(
        Secret("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="),
        {
            "@request-target": "/api/v1/voicebiometrics/ws",
            authority: "audiohook.example.com",
            "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
            "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
            "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
            "x-api-key": "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh",
        },
        created=1641013200,
        expires=3282026430,
        nonce="VGhpc0lzQVVuaXF1ZU5vbmNl",
    )
    assert headers == {
        "Signature-Input": f'sig1=("@request-target" "{authority}" "audiohook-organization-id" '
        '"audiohook-session-id" "audiohook-correlation-id" "x-api-key")'
        ';keyid="SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";alg="hmac-sha256"'
        ";created=1641013200;expires=3282026430",
        "Signature": f"sig1=:{signature}:",
    }

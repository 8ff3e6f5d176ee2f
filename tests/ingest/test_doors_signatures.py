"""Signed requests: Twilio's against its own library, Genesys' against the published example."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from tests.ingest.doors_harness import PUBLIC_URL, TOKEN, judge, request, route, turned

from trio_asr.ingest.doors import Admitted, Turned
from trio_asr.ingest.signatures import COMPONENTS

TWILIO = route("/v1/twilio", platform="twilio", tenant="t", secrets={"auth_token": TOKEN})


def sign(url: str) -> str:
    return base64.b64encode(hmac.digest(TOKEN.encode(), url.encode(), hashlib.sha1)).decode()


def from_twilio(url: str, target: str = "/v1/twilio", **headers: str) -> Any:
    return request(target, x_twilio_signature=sign(url), **{"host": "asr.example.com", **headers})


@pytest.mark.parametrize(
    "public_url", ["wss://asr.example.com", "https://asr.example.com", "wss://asr.example.com:443"]
)
@pytest.mark.parametrize(
    "url",
    [
        "wss://asr.example.com/v1/twilio",
        "wss://asr.example.com:443/v1/twilio",
        "https://asr.example.com/v1/twilio",
        "https://asr.example.com:443/v1/twilio",
    ],
)
def test_twilio_signs_the_url_with_or_without_its_port(public_url: str, url: str) -> None:
    verdict = judge(from_twilio(url), TWILIO, public_url=public_url)
    assert verdict == Admitted(TWILIO, "192.0.2.7", "t")


@pytest.mark.parametrize(
    ("public_url", "origin", "fits"),
    [
        ("wss://asr.example.com:8443", "wss://asr.example.com:8443", True),
        ("wss://asr.example.com:8443", "wss://asr.example.com", True),
        ("wss://asr.example.com:8443", "wss://asr.example.com:443", False),
        ("wss://[2001:db8::1]", "wss://[2001:db8::1]:443", True),
        ("wss://[2001:db8::1]:8443", "https://[2001:db8::1]:8443", True),
        ("ws://asr.example.com", "http://asr.example.com:80", True),
        ("wss://asr.example.com", "ws://asr.example.com", False),
        ("wss://asr.example.com", "wss://asr.example.com:8443", False),
        ("wss://asr.example.com", "wss://other.example.com", False),
    ],
)
def test_no_other_origin_fits(public_url: str, origin: str, fits: bool) -> None:
    verdict = judge(from_twilio(f"{origin}/v1/twilio"), TWILIO, public_url=public_url)
    assert isinstance(verdict, Admitted) == fits


def test_a_signature_that_twilios_library_made() -> None:
    assert sign(f"{PUBLIC_URL}/v1/twilio") == "BEN/hDIMhfB5KrXYM5aIc/EfOxg="


def test_the_query_is_signed_as_it_was_sent() -> None:
    one = from_twilio(f"{PUBLIC_URL}/v1/twilio?b=%20&a=1", "/v1/twilio?b=%20&a=1")
    assert isinstance(judge(one, TWILIO), Admitted)
    other = from_twilio(f"{PUBLIC_URL}/v1/twilio?b=%20&a=1", "/v1/twilio?b=%20&a=2")
    assert turned(judge(other, TWILIO)) == (401, "signature")


def test_a_signature_that_does_not_fit_is_told_with_both_urls() -> None:
    """What goes wrong behind a proxy: the URL that the platform asked for is not the configured one."""
    one = from_twilio("wss://edge.example.com/v1/twilio?s=1", "/v1/twilio?s=1", host="10.1.2.3:5000\x85")
    assert judge(one, TWILIO) == Turned(
        401,
        "signature",
        "/v1/twilio from 192.0.2.7: the signature is not that of wss://asr.example.com/v1/twilio with this "
        "secret; it came for 10.1.2.3:5000/v1/twilio: is ingest.public_url what the platform has?",
        "twilio",
    )


def test_without_a_signature_or_with_nonsense() -> None:
    assert turned(judge(request("/v1/twilio"), TWILIO)) == (401, "no_credentials")
    for text in ("", "x", "\xff", "=" * 5000):
        assert turned(judge(request("/v1/twilio", x_twilio_signature=text), TWILIO)) == (401, "signature")


@pytest.mark.parametrize(
    "url", ["https://asr.example.com/v1/twilio", "https://asr.example.com:8443/v1/twilio?x=%2f"]
)
def test_twilios_own_library_agrees(url: str) -> None:
    validator = pytest.importorskip("twilio.request_validator").RequestValidator(TOKEN)
    assert validator.compute_signature(url, {}) == sign(url)
    origin, _, rest = url.removeprefix("https://").partition("/")
    for given in (url, url.replace(":8443", "")):
        one = request(f"/{rest}", x_twilio_signature=validator.compute_signature(given, {}))
        ours = isinstance(judge(one, TWILIO, public_url=f"https://{origin}"), Admitted)
        assert ours == validator.validate(url, {}, validator.compute_signature(given, {})) is True


# The example of the page developer.genesys.cloud/devapps/audiohook/session-walkthrough. It stands in the
# tests of their reference implementation, too (purecloudlabs/audiohook-reference-implementation@2871b01
# app/audiohook/test/httpsignature/signature-verifier.test.ts).
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
PATH = "/api/v1/voicebiometrics/ws"
CREATED = 1641013200
COVERED = " ".join(f'"{name}"' for name in COMPONENTS)
TIMES = f";created={CREATED};expires=3282026430"
PARAMETERS = f';keyid="{API_KEY}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";alg="hmac-sha256"{TIMES}'
EXAMPLE = {
    "host": "audiohook.example.com",
    "audiohook_organization_id": "d7934305-0972-4844-938e-9060eef73d05",
    "audiohook_session_id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "audiohook_correlation_id": "e160e428-53e2-487c-977d-96989bf5c99d",
    "x_api_key": API_KEY,
    "signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
    "signature_input": f"sig1=({COVERED}){PARAMETERS}",
}
GENESYS = route(PATH, platform="genesys", tenant="t", secrets={"api_key": API_KEY, "client_secret": SECRET})
ORIGIN = "wss://audiohook.example.com"


def from_genesys(now: float = CREATED + 1, public_url: str = ORIGIN, **changed: Any) -> Admitted | Turned:
    headers = {name: value for name, value in (EXAMPLE | changed).items() if value}
    return judge(request(PATH, **headers), GENESYS, now=now, public_url=public_url)


def resigned(covered: str, parameters: str, authority: str = "audiohook.example.com") -> dict[str, Any]:
    """The headers of a signature over what they say, by the rules of RFC 9421, 2.5."""
    values = {"@request-target": PATH, "@authority": authority}
    names = [name.strip('"') for name in covered.split(" ")]
    lines = [f'"{name}": {values.get(name) or EXAMPLE.get(name.replace("-", "_"), "")}' for name in names]
    base = "\n".join([*lines, f'"@signature-params": ({covered}){parameters}'])
    made = base64.b64encode(hmac.digest(base64.b64decode(SECRET), base.encode(), hashlib.sha256)).decode()
    return {"signature_input": f"sig1=({covered}){parameters}", "signature": f"sig1=:{made}:"}


def test_the_published_example() -> None:
    assert from_genesys() == Admitted(GENESYS, "192.0.2.7", "t")
    assert resigned(COVERED, PARAMETERS) == {name: EXAMPLE[name] for name in ("signature_input", "signature")}


@pytest.mark.parametrize("public_url", ["wss://AudioHook.example.com:443", "https://audiohook.example.com"])
def test_the_authority_is_the_configured_origins(public_url: str) -> None:
    assert isinstance(from_genesys(public_url=public_url, host="10.0.0.1:5000"), Admitted)
    other = resigned(COVERED, PARAMETERS, "audiohook.example.com:8443")
    assert isinstance(from_genesys(public_url="wss://audiohook.example.com:8443", **other), Admitted)


@pytest.mark.parametrize(
    ("now", "kind", "reason"),
    [
        (CREATED - 3, None, ""),
        (CREATED - 3.5, "expired", "the signature is from 4 s ahead: is the clock right?"),
        (CREATED + 10, None, ""),
        (CREATED + 10.5, "expired", "the signature is 10 s old"),
        (3282026430, "expired", "the signature is 1641013230 s old"),
    ],
)
def test_a_signature_is_valid_for_ten_seconds(now: float, kind: str | None, reason: str) -> None:
    verdict = from_genesys(now)
    if kind is None:
        assert isinstance(verdict, Admitted)
    else:
        assert verdict == Turned(401, kind, f"{PATH} from 192.0.2.7: {reason}", "genesys")


@pytest.mark.parametrize(
    "name",
    [
        "audiohook_organization_id",
        "audiohook_session_id",
        "audiohook_correlation_id",
        "signature",
        "signature_input",
    ],
)
@pytest.mark.parametrize("value", ["", "x", "\xff"])
def test_whatever_is_missing_or_changed_is_noticed(name: str, value: str) -> None:
    kind = "no_credentials" if name == "signature_input" and not value else "signature"
    changed: dict[str, Any] = {name: value}
    assert turned(from_genesys(**changed)) == (401, kind)


@pytest.mark.parametrize(
    ("covered", "parameters", "kind"),
    [
        (COVERED, PARAMETERS, None),
        (" ".join(reversed(COVERED.split(" "))), PARAMETERS, None),
        (COVERED, PARAMETERS.partition(";expires")[0], None),
        (COVERED.partition(" ")[2], PARAMETERS, "signature"),  # no @request-target
        (COVERED + ' "x-api-key"', PARAMETERS, "signature"),
        (COVERED + ' "host"', PARAMETERS, "signature"),
        (COVERED, PARAMETERS.replace("hmac-sha256", "hmac-sha512"), "signature"),
        (COVERED, PARAMETERS.replace("VGhpc0lzQVVuaXF1ZU5vbmNl", "x" * 21), "signature"),
        (COVERED, PARAMETERS.replace("nonce", "nonse"), "signature"),
        (COVERED, PARAMETERS + f";created={CREATED}", "signature"),
        (COVERED, PARAMETERS.replace(f";created={CREATED}", ""), "signature"),
        (COVERED, PARAMETERS.replace(f"created={CREATED}", 'created="now"'), "signature"),
        (COVERED, PARAMETERS.replace("expires=3282026430", f"expires={CREATED}"), "expired"),
        (COVERED, PARAMETERS.replace(API_KEY, "other"), "credentials"),
        (COVERED, PARAMETERS.replace(";", "; "), "signature"),
        (COVERED, "", "credentials"),
    ],
)
def test_what_a_signature_has_to_be(covered: str, parameters: str, kind: str | None) -> None:
    verdict = from_genesys(**resigned(covered, parameters))
    if kind is None:
        assert isinstance(verdict, Admitted)
    else:
        assert turned(verdict) == (401, kind)


def test_another_api_key_or_secret() -> None:
    assert turned(from_genesys(x_api_key="other")) == (401, "credentials")
    assert turned(from_genesys(x_api_key="")) == (401, "credentials")
    other = base64.b64encode(b"another-client-secret").decode()
    ours = route(PATH, platform="genesys", tenant="t", secrets={"api_key": API_KEY, "client_secret": other})
    verdict = judge(request(PATH, **EXAMPLE), ours, now=CREATED, public_url=ORIGIN)
    assert turned(verdict) == (401, "signature")
    assert API_KEY not in str(verdict)


def test_a_signature_of_another_label_or_two_of_them() -> None:
    renamed: dict[str, Any] = {
        name: EXAMPLE[name].replace("sig1=", "a.b=") for name in ("signature", "signature_input")
    }
    assert isinstance(from_genesys(**renamed), Admitted)
    assert turned(from_genesys(signature=renamed["signature"])) == (401, "signature")
    twice = f"{EXAMPLE['signature_input']}, {EXAMPLE['signature_input']}"
    assert turned(from_genesys(signature_input=twice)) == (401, "signature")

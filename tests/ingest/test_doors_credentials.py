"""Credentials of peers: JWTs, Basic, Bearer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from tests.ingest.doors_harness import KEY, NOW, PEM, TOKEN, judge, request, route, turned

from trio_asr.ingest.doors import Admitted, Turned

SHARED = "0123456789abcdef0123456789abcdef"
RS256 = route(secrets={"public_key": PEM})
HS256 = route(secrets={"shared_secret": SHARED})
CLAIMS = {"exp": NOW + 60, "tenant_id": "t1", "interaction_id": "c-9"}


def bearer(token: str) -> Any:
    return request(authorization=f"Bearer {token}")


def signed(claims: Any, key: Any = KEY, algorithm: str = "RS256", **headers: Any) -> Any:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return bearer(jwt.PyJWS().encode(payload, key, algorithm, headers=headers))


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_the_claims_of_a_jwt_bind_the_call() -> None:
    assert judge(signed(CLAIMS), RS256) == Admitted(RS256, "192.0.2.7", "t1", "c-9")
    assert judge(signed(CLAIMS, SHARED, "HS256"), HS256) == Admitted(HS256, "192.0.2.7", "t1", "c-9")
    assert judge(signed({"exp": NOW + 1}), RS256) == Admitted(RS256, "192.0.2.7", "", "")
    other = {"exp": int(NOW) + 1, "aud": "x", "iat": NOW + 5, "sub": 7, "iss": None, "jti": []}
    assert isinstance(judge(signed(other), RS256), Admitted)


def test_a_routes_tenant_is_compared_with_that_of_the_claim() -> None:
    ours = route(tenant="t1", secrets={"public_key": PEM})
    assert judge(signed(CLAIMS), ours) == Admitted(ours, "192.0.2.7", "t1", "c-9")
    assert judge(signed({"exp": NOW + 1}), ours) == Admitted(ours, "192.0.2.7", "t1", "")
    assert judge(signed({**CLAIMS, "tenant_id": "t2"}), ours) == Turned(
        403, "tenant", "/v1/ingest from 192.0.2.7: the JWT is for another tenant", "generic", "bearer"
    )


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW}, "the JWT expired 0 s ago"),
        ({"exp": NOW - 90.4}, "the JWT expired 90 s ago"),
        ({"exp": NOW + 90, "nbf": NOW + 30}, "the JWT is not valid for another 30 s"),
    ],
)
def test_a_jwt_of_another_time(claims: dict[str, float], reason: str) -> None:
    verdict = judge(signed(claims), RS256)
    assert verdict == Turned(401, "expired", f"/v1/ingest from 192.0.2.7: {reason}", "generic", "bearer")
    assert isinstance(judge(signed(claims), RS256, now=max(claims.values()) - 0.5), Admitted)


@pytest.mark.parametrize(
    "claims",
    [
        {}, {"exp": "1790000060"}, {"exp": None}, {"exp": True}, {"exp": -1}, {"exp": 1e300}, [], 7, b"",
        b"{", b'{"exp": NaN}', b'{"exp": 1e999}', b"\xff", b"[" * 5000, {**CLAIMS, "tenant_id": 5},
        {**CLAIMS, "interaction_id": ["c"]},
    ],
)  # fmt: skip
def test_claims_that_cannot_be_used(claims: Any) -> None:
    assert turned(judge(signed(claims), RS256)) == (401, "credentials")


def test_the_algorithm_is_the_configurations_never_the_tokens() -> None:
    message = f"{part({'alg': 'HS256'})}.{part(CLAIMS)}"
    # The public key, which is public, as the secret of an HMAC: a library would not sign so, a thief would.
    mac = hmac.digest(PEM.encode(), message.encode(), hashlib.sha256)
    confused = f"{message}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    unsigned = f"{part({'alg': 'none'})}.{part(CLAIMS)}."
    for token in (confused, unsigned, unsigned.replace("none", "None")):
        assert turned(judge(bearer(token), RS256)) == (401, "credentials")
        assert turned(judge(bearer(token), HS256)) == (401, "credentials")
    for algorithm in ("RS384", "RS512", "PS256"):
        assert turned(judge(signed(CLAIMS, algorithm=algorithm), RS256)) == (401, "credentials")
    assert turned(judge(signed(CLAIMS, SHARED * 2, "HS512"), HS256)) == (401, "credentials")


def test_a_jwt_of_another_key() -> None:
    other = generate_private_key(65537, 2048)
    verdict = judge(signed(CLAIMS, other), RS256)
    assert isinstance(verdict, Turned)
    assert verdict.reason == "/v1/ingest from 192.0.2.7: the JWT cannot be used: InvalidSignatureError"
    embedded: dict[str, Any] = {
        "jwk": {"kty": "oct", "k": "AAAA"},
        "kid": "../../dev/null",
        "jku": "https://evil.example",
    }
    assert turned(judge(signed(CLAIMS, other, **embedded), RS256)) == (401, "credentials")
    assert turned(judge(signed(CLAIMS, SHARED[::-1], "HS256"), HS256)) == (401, "credentials")


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c", "a.b.c.d", "....", "\xff.\xff.\xff", "e30.e30.e30"]
)
def test_what_is_no_jwt(token: str) -> None:
    assert turned(judge(bearer(token), RS256)) == (401, "credentials")


def basic(text: bytes) -> Any:
    return request(authorization="Basic " + base64.b64encode(text).decode())


EXOTEL = route(platform="exotel", tenant="t", user="exo", secrets={"password": "sesame:sesame:ü"})


def test_basic() -> None:
    assert judge(basic("exo:sesame:sesame:ü".encode()), EXOTEL) == Admitted(EXOTEL, "192.0.2.7", "t")
    same = request(authorization="  basic   " + base64.b64encode("exo:sesame:sesame:ü".encode()).decode())
    assert isinstance(judge(same, EXOTEL), Admitted)
    for text in (
        b"exo:",
        b"exo",
        b":sesame:sesame:",
        b"",
        b"ex:sesame",
        b"\xff:\xff",
        b"exo:sesame:sesame:u",
    ):
        assert judge(basic(text), EXOTEL) == Turned(
            401, "credentials", "/v1/ingest from 192.0.2.7: wrong user or password", "exotel", "basic"
        )
    for header in ("Basic", "Basic !", "Basic Zm9", "Basic \xff"):
        assert turned(judge(request(authorization=header), EXOTEL)) == (401, "credentials")
    assert turned(judge(request(authorization="Digest x"), EXOTEL)) == (401, "no_credentials")


def test_user_and_password_are_both_compared_always(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", spy)
    judge(basic(b"x:y"), EXOTEL)
    assert compared == [b"exo", "sesame:sesame:ü".encode()]


def test_a_fixed_bearer_token() -> None:
    ours = route(auth="bearer", tenant="t", secrets={"token": TOKEN})
    assert judge(bearer(TOKEN), ours) == Admitted(ours, "192.0.2.7", "t")
    for token in ("", TOKEN[:-1], TOKEN + "0", "\xff"):
        assert turned(judge(bearer(token), ours)) == (401, "credentials")
    assert turned(judge(request(), ours)) == (401, "no_credentials")


VONAGE = route(platform="vonage", tenant="t", secrets={"shared_secret": SHARED})
MADE = {"iss": "Vonage", "iat": NOW, "jti": "j", "application_id": "app-1", "api_key": "k-1"}


def test_vonages_jwt_names_the_account_and_no_call() -> None:
    assert judge(signed(MADE, SHARED, "HS256"), VONAGE) == Admitted(VONAGE, "192.0.2.7", "t", account="app-1")
    without = {name: value for name, value in MADE.items() if name != "application_id"}
    assert judge(signed(without, SHARED, "HS256"), VONAGE) == Admitted(
        VONAGE, "192.0.2.7", "t", account="k-1"
    )
    assert turned(judge(request(), VONAGE)) == (401, "no_credentials")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"iat": NOW - 299}, ""),
        ({"iat": NOW - 300}, "expired"),
        ({"iat": NOW + 60}, ""),
        ({"iat": NOW + 61}, "expired"),
        ({"exp": NOW + 1}, ""),
        ({"exp": NOW}, "expired"),
        ({"exp": 0}, "expired"),
        ({"iat": NOW - 600, "exp": NOW + 600}, "expired"),
        ({"iss": "vonage"}, "credentials"),
        ({"iss": None}, "credentials"),
        ({"iat": None}, "credentials"),
        ({"iat": "yesterday"}, "credentials"),
        ({"exp": 1e300}, "credentials"),
        ({"application_id": 7}, "credentials"),
    ],
)
def test_times_and_claims_of_vonages_jwt(changes: dict[str, Any], kind: str) -> None:
    verdict = judge(signed(MADE | changes, SHARED, "HS256"), VONAGE)
    assert (verdict.kind if isinstance(verdict, Turned) else "") == kind


def test_vonages_jwt_of_another_secret_or_algorithm() -> None:
    assert turned(judge(signed(MADE, SHARED[::-1], "HS256"), VONAGE)) == (401, "credentials")
    assert turned(judge(signed(MADE, SHARED * 2, "HS512"), VONAGE)) == (401, "credentials")

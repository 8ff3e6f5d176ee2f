"""Doors: which route a request is for, from where, and what is said of those that are turned away."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ingest.doors_harness import NOW, PEM, PUBLIC_URL, TOKEN, judge, request, route, turned

from trio_asr.config import IngestConfig
from trio_asr.ingest.addresses import Networks, address_of, peer_of
from trio_asr.ingest.dialect import Request
from trio_asr.ingest.doors import KINDS, Admitted, Doors, Turned
from trio_asr.ingest.request import request_of
from trio_asr.ingest.signatures import COMPONENTS

BASIC = "Basic " + b64encode(b"exo:sesame-sesame-sesame").decode()
JWT = route(secrets={"public_key": PEM})
EXOTEL = route(platform="exotel", tenant="t", user="exo", secrets={"password": "sesame-sesame-sesame"})
OPEN = route(platform="exotel", tenant="t", auth="none")


def test_a_path_that_no_route_has() -> None:
    verdict = judge(request("/v1/ingest/"), JWT)
    assert verdict == Turned(404, "no_route", "no route has the path /v1/ingest/, from 192.0.2.7", "")


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (f"/v1/{TOKEN}?token={TOKEN}", "/v1/***"),
        ("/v1/twillio/a", "/v1/twillio/a"),
        ("/\x1b[31m", "/?[31m"),
        ("/" + "a/" * 400, "/" + "a/" * 49 + "a"),
        ("/" + "a/" * 47 + TOKEN, "/" + "a/" * 47 + "***"),
        (f"ws://asr.example.com/v1/{TOKEN}", "/v1/***"),
    ],
)
def test_what_may_be_a_token_in_a_path_is_not_shown(target: str, shown: str) -> None:
    verdict = judge(request(target), JWT)
    assert isinstance(verdict, Turned)
    assert verdict.reason == f"no route has the path {shown}, from 192.0.2.7"


def test_two_routes_of_one_path_are_told_apart_by_the_scheme() -> None:
    """As in the original, `/v1/ingest` is the generic protocol's with Bearer, else Exotel's."""
    for routes in ((JWT, EXOTEL), (EXOTEL, JWT)):
        assert judge(request(authorization=BASIC), *routes) == Admitted(EXOTEL, "192.0.2.7", "t", "")
        verdict = judge(request(authorization="bearer x"), *routes)
        assert isinstance(verdict, Turned)
        assert (verdict.kind, verdict.platform) == ("credentials", "generic")


def test_what_no_scheme_fits_is_for_the_route_that_reads_none() -> None:
    for authorization in ({}, {"authorization": "Digest x"}, {"authorization": BASIC}):
        assert judge(request(**authorization), JWT, OPEN) == Admitted(OPEN, "192.0.2.7", "t", "")
    verdict = judge(request(), JWT, EXOTEL)
    assert verdict == Turned(
        401,
        "no_credentials",
        "/v1/ingest from 192.0.2.7: Authorization: Bearer is needed",
        "generic",
        "bearer",
    )
    assert isinstance(verdict, Turned)
    assert verdict.headers == [(b"WWW-Authenticate", b'Bearer realm="ingest"')]


def test_a_path_without_token_goes_before_one_with_it() -> None:
    token = route("/v1/{token}/media", auth="path", tenant="t", secrets={"token": TOKEN})
    plain = route("/v1/plain/media", auth="none")
    assert judge(request("/v1/plain/media"), token, plain) == Admitted(plain, "192.0.2.7")
    assert judge(request(f"/v1/{TOKEN}/media?x=1"), token, plain) == Admitted(token, "192.0.2.7", "t")
    assert judge(request("/v1/0123456789abcdeg/media"), token) == Turned(
        401, "credentials", "/v1/{token}/media from 192.0.2.7: wrong token in the path", "generic"
    )
    for path in ("/v1//media", "/v1/media", f"/v1/{TOKEN}/{TOKEN}/media", f"/v1/{TOKEN}", "/v1/"):
        assert turned(judge(request(path), token)) == (404, "no_route")


@pytest.mark.parametrize(
    ("address", "forwarded", "expected"),
    [
        ("198.51.100.5", "", True),
        ("198.51.101.5", "", False),
        ("198.51.101.5", "198.51.100.5", False),  # anybody can write that
        ("10.0.0.1", "198.51.100.5", True),
        ("10.0.0.1", "198.51.100.5, 203.0.113.9", False),
        ("10.0.0.1", "203.0.113.9, 198.51.100.5, 10.0.0.2", True),
        ("10.0.0.1", "", False),
        ("", "198.51.100.5", False),
    ],
)
def test_sources_are_looked_at_behind_our_proxies(address: str, forwarded: str, expected: bool) -> None:
    one = route(auth="none", sources=("198.51.100.0/24", "2001:db8::/32"))
    headers = {"x_forwarded_for": forwarded} if forwarded else {}
    verdict = judge(request(address=address, **headers), one, trusted_proxies=("10.0.0.0/8",))
    assert isinstance(verdict, Admitted) == expected
    if not expected:
        assert turned(verdict) == (403, "source")


@pytest.mark.parametrize(
    ("address", "forwarded", "peer"),
    [
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("::ffff:192.0.2.1", "", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", '"[2001:db8::1]"', "2001:db8::1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.3, fd00::7", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.4,10.0.0.3", "10.0.0.4"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", ",", "10.0.0.1"),
        ("10.0.0.1", "x, 203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_peer_is_the_last_that_is_no_proxy_of_ours(address: str, forwarded: str, peer: str) -> None:
    assert str(peer_of(address, forwarded, Networks(("10.0.0.0/8", "fd00::/8")))) == peer


def test_a_proxy_may_add_a_line_of_its_own() -> None:
    raw = [(b"X-Forwarded-For", b"198.51.100.1, 203.0.113.9"), (b"x-forwarded-for", b"10.0.0.3")]
    verdict = judge(request_of("/v1/ingest", raw, (), "10.0.0.1"), OPEN, trusted_proxies=("10.0.0.0/8",))
    assert verdict == Admitted(OPEN, "203.0.113.9", "t")


@pytest.mark.parametrize("target", ["ws://asr.example.com/v1/ingest", "HTTP://[::1]:80/v1/ingest?a=//b"])
def test_a_target_may_be_a_whole_url(target: str) -> None:
    assert judge(request(target), OPEN) == Admitted(OPEN, "192.0.2.7", "t")


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.5", "[", "[]:1", ":", "٣.1.1.1", "1.2.3.4/8"])
def test_what_is_no_address(text: str) -> None:
    assert address_of(text) is None


def test_a_configuration_without_its_secrets_opens_no_door() -> None:
    """Loaded as for the worker, routes have none."""
    for method in ("jwt", "basic", "bearer", "path", "twilio", "genesys"):
        with pytest.raises(KeyError):
            Doors(IngestConfig(route=(route("/{token}", auth=method),)))


ROUTES = (
    JWT,
    EXOTEL,
    route("/hs", secrets={"shared_secret": TOKEN * 2}),
    route("/bearer", auth="bearer", secrets={"token": TOKEN}),
    route("/path/{token}", auth="path", secrets={"token": TOKEN}),
    route("/twilio", platform="twilio", tenant="t", secrets={"auth_token": TOKEN}),
    route("/genesys", platform="genesys", tenant="t", secrets={"api_key": "k", "client_secret": "c2VzYW1l"}),
)
DOORS = Doors(IngestConfig(public_url=PUBLIC_URL, trusted_proxies=("0.0.0.0/0", "::/0"), route=ROUTES))
NONCE = "n" * 22
COVERED = " ".join(f'"{name}"' for name in COMPONENTS)
TEXT = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=40).map(lambda data: data.decode("latin-1")),
    st.sampled_from(
        [
            "Basic ", "Basic Og==", "Bearer ", "Bearer a.b.c", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
            f"s=({COVERED})", f's=({COVERED});keyid="k";created={NOW:.0f};nonce="{NONCE}"', "s=:AAAA:",
            "k", "[::1]", "\udcff",
        ]
    ),
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        ["authorization", "x-forwarded-for", "x-twilio-signature", "signature", "signature-input", "host"]
        + [name for name in COMPONENTS if name[0] != "@"]
    ),
    TEXT,
)
TARGETS = st.one_of(TEXT, st.sampled_from([one.path for one in ROUTES]), TEXT.map(lambda one: f"/path/{one}"))


@given(TARGETS, HEADERS, TEXT)
@settings(deadline=None)
def test_no_request_raises_anything_and_none_of_these_gets_in(
    target: str, headers: dict[str, str], address: str
) -> None:
    verdict = DOORS.judge(Request(target, target, {}, headers, (), address), NOW)
    assert isinstance(verdict, Turned)
    assert verdict.kind in KINDS
    assert verdict.status in (401, 403, 404)
    assert len(verdict.reason) < 600

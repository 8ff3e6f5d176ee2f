"""Who may see what, and how often somebody may guess."""

import pytest
from werkzeug.datastructures import Headers

from trio_asr.config import Secret
from trio_asr.web.access import MAX_PEERS, RECOVERY_S, STRIKES, Access, Guard, is_cross_site, is_local

TOKEN = "correct-horse-battery"


def judge(guard: Guard, token: str | None = None, peer: str = "192.0.2.7", now: float = 0.0) -> Access:
    headers = Headers({"Host": "127.0.0.1:3001"})
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return guard.judge(peer, headers, now)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3001", "127.0.0.1", "127.0.0.1:3001", "[::1]:3001", "[::1]"]
)
def test_this_machine_under_a_loopback_name_is_local(peer: str, host: str) -> None:
    assert is_local(peer, Headers({"Host": host}))


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.0.2.7", {"Host": "127.0.0.1"}),
        ("2001:db8::1", {"Host": "localhost"}),
        ("fe80::1%eth0", {"Host": "localhost"}),
        ("", {"Host": "localhost"}),
        ("<local>", {"Host": "localhost"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {"Host": ""}),
        ("127.0.0.1", {"Host": "evil.test"}),  # DNS rebinding
        ("127.0.0.1", {"Host": "localhost.evil.test"}),
        ("127.0.0.1", {"Host": "127.0.0.1.evil.test"}),
        ("127.0.0.1", {"Host": "evil.test:80@localhost"}),
        ("127.0.0.1", {"Host": "asr.example"}),
        ("127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "192.0.2.7"}),  # through a proxy here
        ("127.0.0.1", {"Host": "localhost", "Forwarded": "for=192.0.2.7"}),
        ("127.0.0.1", {"Host": "localhost", "X-Real-IP": "192.0.2.7"}),
        ("127.0.0.1", {"Host": "localhost", "Via": "1.1 proxy"}),
    ],
)
def test_anything_else_is_not(peer: str, headers: dict[str, str]) -> None:
    assert not is_local(peer, Headers(headers))


def test_the_token_is_trusted_from_anywhere() -> None:
    guard = Guard(Secret(TOKEN))
    assert judge(guard, TOKEN) is Access.TRUSTED
    assert judge(guard, TOKEN, "127.0.0.1") is Access.TRUSTED
    assert judge(guard, None) is Access.OUTSIDE
    assert judge(guard, None, "127.0.0.1") is Access.LOCAL


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_what_is_not_the_token_is_wrong(header: str) -> None:
    guard = Guard(Secret(TOKEN))
    assert guard.judge("127.0.0.1", Headers({"Authorization": header}), 0) is Access.WRONG


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer x"])
def test_without_a_token_set_none_is_right(header: str) -> None:
    assert Guard(None).judge("127.0.0.1", Headers({"Authorization": header}), 0) is Access.WRONG


def test_guessers_wait_and_others_do_not() -> None:
    guard = Guard(Secret(TOKEN))
    for _ in range(STRIKES):
        assert judge(guard, "a-guess") is Access.WRONG
    assert judge(guard, "a-guess") is Access.BARRED
    assert judge(guard, TOKEN) is Access.BARRED  # or guessing on would pay
    assert judge(guard, TOKEN, "192.0.2.8") is Access.TRUSTED
    assert judge(guard, None) is Access.OUTSIDE
    assert judge(guard, "a-guess", now=RECOVERY_S) is Access.WRONG  # one more in so many seconds
    assert judge(guard, "a-guess", now=RECOVERY_S) is Access.BARRED
    assert judge(guard, TOKEN, now=2 * RECOVERY_S) is Access.TRUSTED


def test_the_addresses_of_one_ipv6_network_are_one_guesser() -> None:
    guard = Guard(Secret(TOKEN))
    for number in range(STRIKES):
        assert judge(guard, "a-guess", f"2001:db8::{number:x}") is Access.WRONG
    assert judge(guard, "a-guess", "2001:db8::ffff:1") is Access.BARRED
    assert judge(guard, "a-guess", "2001:db8:0:1::1") is Access.WRONG


def test_guessers_from_everywhere_do_not_fill_the_memory() -> None:
    guard = Guard(Secret(TOKEN))
    for number in range(2 * MAX_PEERS):
        judge(guard, "a-guess", f"10.0.{number // 256}.{number % 256}")
    assert len(guard._strikes) == MAX_PEERS


@pytest.mark.parametrize(
    ("site", "cross"),
    [(None, False), ("none", False), ("same-origin", False), ("same-site", True), ("cross-site", True)],
)
def test_pages_of_other_sites(site: str | None, cross: bool) -> None:
    assert is_cross_site(Headers({} if site is None else {"Sec-Fetch-Site": site})) is cross

"""Who may open a socket: the route that a request is for, and whether its peer proves to be who it should be.

Everything is decided before the handshake is answered. Pure: the caller provides the request and the time.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

from trio_asr.config import IngestConfig, Route
from trio_asr.config.ingest import TOKEN
from trio_asr.ingest import credentials, signatures
from trio_asr.ingest.addresses import Address, Networks, peer_of
from trio_asr.ingest.credentials import Check, Claims, Denied, raw_path, scheme_of
from trio_asr.ingest.dialect import Request

# Why requests are turned away, for the metrics.
KINDS = (
    "no_route", "source", "no_credentials", "credentials", "signature", "expired", "tenant",
)  # fmt: skip
MAX_SHOWN = 100  # characters of a path that no route has
SECRET_LENGTH = 16  # a piece of such a path that is as long may be a token: none is shorter


class Admitted(NamedTuple):
    """A request that may become a socket of `route`.

    `tenant` is the route's, or else the one that the credential is bound to, `call` the call's id that it is
    bound to, and `account` whose it is at the platform; "" where there is none. `address` is the peer's, ""
    if it has none.
    """

    route: Route
    address: str
    tenant: str = ""
    call: str = ""
    account: str = ""


class Turned(NamedTuple):
    """A request that is turned away with an HTTP `status`.

    `kind` is for the metrics, one of `KINDS`; `reason`, without secrets, is for the log. `platform` and
    `scheme` are the route's, "" if there is none.
    """

    status: int
    kind: str
    reason: str
    platform: str = ""
    scheme: str = ""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the answer: a 401 names the scheme that is wanted (RFC 9110, 11.6.1)."""
        if self.status != 401 or not self.scheme:
            return []
        return [(b"WWW-Authenticate", f'{self.scheme.capitalize()} realm="ingest"'.encode())]


class _Door(NamedTuple):
    route: Route
    sources: Networks
    check: Check


class Doors:
    """The routes of a configuration that was loaded for the ingest: their secrets must be there."""

    def __init__(self, ingest: IngestConfig) -> None:
        self._proxies = Networks(ingest.trusted_proxies)
        doors = [
            _Door(route, Networks(route.sources), _check_of(route, ingest.public_url or ""))
            for route in ingest.route
        ]
        # A path without a token goes before one in which its last part could be the token.
        self._doors = sorted(doors, key=lambda door: TOKEN in door.route.path)

    def judge(self, request: Request, now: float) -> Admitted | Turned:
        """Return whether a request may become a socket. `now` is the wall clock, in epoch seconds.

        Whatever the request is, no exception is raised.
        """
        peer = peer_of(request.address, request.headers.get("x-forwarded-for", ""), self._proxies)
        address = "" if peer is None else str(peer)
        if (door := self._door_of(request)) is None:
            return Turned(
                404, "no_route", f"no route has the path {_shown(raw_path(request))}, from {address}"
            )
        route = door.route
        try:
            claims = _checked(door, peer, request, now)
        except Denied as denied:
            reason = f"{route.path} from {address}: {denied.reason}"
            return Turned(denied.status, denied.kind, reason, route.platform, route.scheme)
        return Admitted(route, address, route.tenant or claims.tenant, claims.call, claims.account)

    def _door_of(self, request: Request) -> _Door | None:
        """Return the door at a request's path. If there are two, the scheme of its Authorization decides."""
        path, scheme = raw_path(request), scheme_of(request)
        fitting = [door for door in self._doors if _is_at(path, door.route.path)]
        here = [door for door in fitting if door.route.path == fitting[0].route.path]
        for wanted in (scheme, ""):
            for door in here:
                if door.route.scheme == wanted:
                    return door
        return here[0] if here else None


def _checked(door: _Door, peer: Address | None, request: Request, now: float) -> Claims:
    """Return what a request claims.

    Raises:
        Denied: It is turned away.
    """
    if door.sources and peer not in door.sources:
        raise Denied("source", "the address is none of its sources", 403)
    claims = door.check(request, now)
    if door.route.tenant is not None and claims.tenant not in ("", door.route.tenant):
        raise Denied("tenant", "the JWT is for another tenant", 403)
    return claims


def _check_of(route: Route, public_url: str) -> Check:
    secrets = {name: secret.reveal() for name, secret in route.secrets.items()}
    method = route.method
    match method:
        case "jwt" if "public_key" in secrets:
            check = credentials.json_web_token("RS256", secrets["public_key"])
        case "jwt":
            check = credentials.json_web_token("HS256", secrets["shared_secret"])
        case "basic":
            check = credentials.basic(route.user or "", secrets["password"])
        case "vonage":
            check = credentials.vonage(secrets["shared_secret"])
        case "bearer":
            check = credentials.bearer(secrets["token"])
        case "path":
            check = credentials.in_path(route.path, secrets["token"])
        case "twilio":
            check = signatures.twilio(public_url, secrets["auth_token"])
        case "genesys":
            check = signatures.genesys(public_url, secrets["api_key"], secrets["client_secret"])
        case "none":
            check = credentials.anyone
        case _:
            assert_never(method)
    return check


def _is_at(path: str, routed: str) -> bool:
    before, token, after = routed.partition(TOKEN)
    if not token:
        return path == routed
    inside = path.removeprefix(before).removesuffix(after)
    return bool(inside) and "/" not in inside and path == before + inside + after


def _shown(path: str) -> str:
    """Return a path for the log: its long parts are masked, since one may be a token in the wrong place."""
    shown = "/".join("***" if len(part) >= SECRET_LENGTH else part for part in path.split("/"))
    return "".join(char if char.isprintable() else "?" for char in shown[:MAX_SHOWN])

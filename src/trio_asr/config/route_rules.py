"""Rules across the keys of `[ingest]` and its routes. They hold for `trio-asr ingest` alone."""

import ipaddress
import ssl
from collections.abc import Iterable, Iterator

from trio_asr.config.addresses import authority_problem, host_problem
from trio_asr.config.ingest import SECRETS, TOKEN, IngestConfig, Route
from trio_asr.config.rules import Finding
from trio_asr.config.sections import ROUTES

_SIGNED = ("twilio", "genesys")  # methods that sign the URL
# Platforms of which a route may say more than they do, by its keys.
_TOLD = {
    "tracks": ("twilio", "telnyx", "plivo", "smartflo", "audiocodes"),
    "byte_order": ("twilio", "telnyx", "plivo", "smartflo"),
}


def problems(ingest: IngestConfig) -> Iterator[Finding]:
    """Yield what makes this configuration unusable for `trio-asr ingest`."""
    yield from _server_problems(ingest)
    if not ingest.route:
        yield Finding(ROUTES, f"there is none: write [[{ROUTES}]] and the keys of one below")
    taken: dict[tuple[str, str], int] = {}
    for number, route in enumerate(ingest.route, 1):
        prefix = f"{ROUTES}.{number}"
        for key, reason in _route_problems(route, ingest):
            yield Finding(f"{prefix}.{key}", reason)
        yield from _network_problems(f"{prefix}.sources", route.sources)
        if (first := taken.setdefault((route.path, route.scheme), number)) != number:
            yield Finding(
                f"{prefix}.path",
                f"is that of route {first}: two routes of one path must differ in the scheme of their "
                "Authorization (jwt, vonage and bearer: Bearer; basic: Basic; the others: none)",
            )


def _audiosocket_problems(route: Route, ingest: IngestConfig) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a route of AudioSocket: it is TCP, without any header to show something in."""
    if route.port is None:
        yield "port", "is needed: AudioSocket is no WebSocket, and has a port of its own"
    elif route.port and route.port in (ingest.port, ingest.pages_port):
        yield "port", "is that of ingest.port or ingest.pages_port"
    elif route.port and sum(one.port == route.port for one in ingest.route) > 1:
        yield "port", "is that of another route"
    if route.method not in ("path", "none"):
        yield "auth", 'has to be "path" or "none": nothing else can be shown there'
    if route.method == "none" and not route.sources and not _is_loopback(ingest.host):
        yield "sources", 'is needed for auth = "none": there is no TLS, and the id of a call proves nothing'


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def doubts(ingest: IngestConfig) -> Iterator[Finding]:
    """Yield what is accepted but probably not meant."""
    for number, route in enumerate(ingest.route, 1):
        prefix = f"{ROUTES}.{number}"
        if route.method == "none" and not route.sources:
            yield Finding(f"{prefix}.auth", "lets everybody in who finds the path: set sources")
        for key, platforms in _TOLD.items():
            if getattr(route, key) and route.platform not in platforms:
                yield Finding(f"{prefix}.{key}", f"is not read: {route.platform} says it itself")
        if route.port is not None and route.platform != "audiosocket":
            yield Finding(f"{prefix}.port", "is not read: the platform connects to ingest.port")
        for spec in SECRETS:
            key = f"{spec.name}_file"
            if route.method not in spec.methods and getattr(route, key) is not None:
                yield Finding(f"{prefix}.{key}", f"is not read: auth is {route.method}")


def _server_problems(ingest: IngestConfig) -> Iterator[Finding]:
    for key in ("host", "pages_host"):
        if problem := host_problem(getattr(ingest, key)):
            yield Finding(f"ingest.{key}", problem)
    if ingest.public_url and (problem := authority_problem(ingest.public_url.partition("://")[2])):
        yield Finding("ingest.public_url", problem)
    if ingest.port == ingest.pages_port != 0 and ingest.host == ingest.pages_host:
        yield Finding("ingest.pages_port", "is that of ingest.port")
    yield from _network_problems("ingest.trusted_proxies", ingest.trusted_proxies)
    yield from _tls_problems(ingest)


def _tls_problems(ingest: IngestConfig) -> Iterator[Finding]:
    certificate, key = ingest.tls_certificate_file, ingest.tls_key_file
    if certificate is None:
        if key is not None:
            yield Finding("ingest.tls_key_file", "needs ingest.tls_certificate_file")
        return
    try:
        # A password is given, or OpenSSL would ask for it at a terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, "")
    except ssl.SSLError as exc:
        yield Finding("ingest.tls_certificate_file", f"cannot be used: {exc.reason or 'no such thing'}")
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        yield Finding("ingest.tls_certificate_file", f"it or ingest.tls_key_file cannot be read: {reason}")


def _network_problems(path: str, networks: Iterable[str]) -> Iterator[Finding]:
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield Finding(path, f"{network!r} is neither an address nor a network such as 10.0.0.0/8")


def _route_problems(route: Route, ingest: IngestConfig) -> Iterator[tuple[str, str]]:
    if route.tenant is None and route.platform != "generic":
        yield "tenant", "is needed: no platform says whose call it is"
    if (TOKEN in route.path) != (route.method == "path"):
        needed = "is needed for" if route.method == "path" else "is only for"
        yield "path", f'{TOKEN} {needed} auth = "path"'
    if route.method == "basic" and route.user is None:
        yield "user", 'is needed for auth = "basic"'
    if route.method == "jwt" and route.shared_secret_file and route.public_key_file:
        yield "shared_secret_file", "excludes public_key_file: which of them is there decides the algorithm"
    if route.platform == "audiosocket":
        yield from _audiosocket_problems(route, ingest)
    if len(set(route.tracks)) < len(route.tracks):
        yield "tracks", "has the same word twice"
    if route.method in _SIGNED and ingest.public_url is None:
        yield "auth", "needs ingest.public_url: the signature is over the URL that the platform asked for"

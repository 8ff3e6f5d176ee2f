"""The secrets of the ingest's routes: which a route needs, where they are, and what they may look like."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from trio_asr.config import secrets
from trio_asr.config.environment import JWT_PUBLIC_KEY
from trio_asr.config.ingest import SECRETS, IngestConfig, Route, RouteSecret
from trio_asr.config.secrets import Found, Secret, SecretSpec
from trio_asr.config.sections import ROUTES

RSA_BITS = 2_048  # RFC 7518, 3.3: at least
# RFC 3986, 2.3: what no proxy between writes in another way.
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+")
_HALF_UUID = re.compile(r"[0-9a-f]{16}")


class RouteSecrets(NamedTuple):
    """The section with the secrets of its routes, the origin of each by its key path, and what is wrong."""

    ingest: IngestConfig
    origins: dict[str, str]
    problems: list[str]


def find_all(ingest: IngestConfig, env: Mapping[str, str], label: Callable[[str], str]) -> RouteSecrets:
    """Find the secrets of all routes. `label` makes a key path fit for people. Blocks: files are read."""
    routes: list[Route] = []
    origins: dict[str, str] = {}
    problems: list[str] = []
    for number, route in enumerate(ingest.route, 1):
        secrets_: dict[str, Secret] = {}
        for spec in _wanted(route):
            path = f"{ROUTES}.{number}.{spec.name}"
            try:
                secrets_[spec.name], origins[path] = _find(spec, route, env, label(path))
            except secrets.Unusable as exc:
                problems.append(str(exc))
        routes.append(msgspec.structs.replace(route, secrets=secrets_))
    return RouteSecrets(msgspec.structs.replace(ingest, route=tuple(routes)), origins, problems)


def _wanted(route: Route) -> Iterator[RouteSecret]:
    for spec in SECRETS:
        # A JWT is checked by one key of two.
        other_key = route.method == "jwt" and (spec.name == "shared_secret") != bool(route.shared_secret_file)
        if route.method in spec.methods and not other_key:
            yield spec


def _find(wanted: RouteSecret, route: Route, env: Mapping[str, str], label: str) -> Found:
    """Find a secret of a route.

    A public key for JWTs that has no file is taken from JWT_PUBLIC_KEY, as by the old ingest, or from
    systemd's credential `jwt_public_key`.

    Raises:
        Unusable: It is not there, or cannot be it.
    """
    file: str | None = getattr(route, f"{wanted.name}_file")
    is_public = wanted.name == "public_key"
    spec = SecretSpec(label, wanted.words, shortest=wanted.shortest)
    if is_public and file is None:
        spec = spec._replace(variable=JWT_PUBLIC_KEY, credential="jwt_public_key")
    found = _public_key(spec, file, env) if is_public else secrets.find(spec, file, env)
    if found is None:
        also = f", or set {JWT_PUBLIC_KEY}" if is_public else ""
        raise secrets.Unusable(
            f"{label}_file is missing: auth = {route.method} needs a file with the {spec.name}{also}"
        )
    if reason := _reason(wanted, route, found.secret.reveal()):
        raise secrets.unusable(spec, found.origin, reason)
    return found


def _reason(spec: RouteSecret, route: Route, text: str) -> str | None:
    if route.platform == "audiosocket" and not _HALF_UUID.fullmatch(text):
        return "it is the first half of a UUID: 16 digits 0-9 and a-f are allowed"
    if route.method == "path" and not _UNRESERVED.fullmatch(text):
        return "in a path only letters, digits and . _ ~ - are allowed"
    if spec.name == "client_secret":
        try:
            base64.b64decode(text, validate=True)
        except binascii.Error:
            return "it is not base64"
    return None


def _public_key(spec: SecretSpec, file: str | None, env: Mapping[str, str]) -> Found | None:
    if (located := secrets.locate(spec, file, env)) is None:
        return None
    text, origin = located
    # Environments hold it on one line, often in quotes.
    pem = text.strip("'\"").replace("\\n", "\n").strip() + "\n"
    if reason := _no_key(pem):
        raise secrets.unusable(spec, origin, reason)
    return Found(Secret(pem), origin)


def _no_key(pem: str) -> str | None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415 - the ingest's only
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    if "PRIVATE KEY" in pem:
        return "it is a private key; the public one is needed"
    try:
        key = load_pem_public_key(pem.encode())
    except Exception:  # noqa: BLE001 - whatever it is, it is no key
        return "a key in PEM is needed: -----BEGIN PUBLIC KEY-----"
    if not isinstance(key, RSAPublicKey) or key.key_size < RSA_BITS:
        return f"an RSA key of at least {RSA_BITS} bits is needed"
    return None

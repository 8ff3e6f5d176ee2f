"""The URL of the Redis server: checks for everything that redis-py would misread without a word.

redis-py passes every option of the query on as an argument of its connection. An unknown one would end the
daemon at the first connection. A database that is not a number becomes 0. And a `/`, `?` or `#` in the
password ends the authority, so that the rest of the password becomes a path, options or nothing.
"""

import ssl
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from trio_asr.config.addresses import authority_problem
from trio_asr.config.secrets import Secret

# Options that the daemon sets itself, or could not work with. They are removed from the URL, with a warning.
OURS = frozenset(
    {
        "client_name", "decode_responses", "driver_info", "encoding", "encoding_errors",
        "health_check_interval", "legacy_responses", "lib_name", "lib_version", "max_connections", "protocol",
        "retry", "retry_on_error", "retry_on_timeout", "single_connection_client", "socket_connect_timeout",
        "socket_read_size", "socket_timeout", "timeout",
    }
)  # fmt: skip
_CREDENTIALS = ("username", "password")
_TLS = frozenset(
    {
        "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers",
        "ssl_keyfile", "ssl_password",
    }
)  # fmt: skip
# redis-py takes anything else for yes, "off" included.
_SWITCHES = {"ssl_check_hostname", "socket_keepalive"}
_YES_OR_NO = {"true", "false", "yes", "no", "1", "0"}
_CERTIFICATES = ("none", "optional", "required")
MAX_OPTIONS, MAX_NAME = 100, 40
MAX_DATABASE = 6  # digits
MAX_SOCKET_PATH = 107  # bytes
_ENCODED = "; in the password, write / as %2F, ? as %3F, # as %23, @ as %40 and % as %25"


def cleaned(url: str) -> tuple[str, list[str]]:
    """Return the URL without the options in `OURS`, and the names of those that were removed."""
    head, mark, query = url.partition("?")
    if not mark or "#" in head:
        return url, []
    query, hash_mark, fragment = query.partition("#")
    kept: list[str] = []
    taken: list[str] = []
    for item in query.split("&"):
        name = item.partition("=")[0]
        (taken if name in OURS else kept).append(item)
    if not taken:
        return url, []
    rest = f"?{'&'.join(kept)}" if kept else ""
    return head + rest + hash_mark + fragment, sorted({item.partition("=")[0] for item in taken})


def secrets(url: str) -> list[Secret]:
    """Return the passwords in a URL, before the host or in the query, both decoded and as written."""
    try:
        parts = urlsplit(url)
        found = [parts.password or "", *(v for k, v in parse_qsl(parts.query) if k.endswith("password"))]
    except ValueError:  # a malformed one
        return []
    return [Secret(text) for one in found if one for text in dict.fromkeys((one, unquote(one)))]


def problem(url: str) -> str | None:
    """Return why the daemon could not use this URL as it is meant, or None if it can.

    The text never contains a password. Certificate files that the URL names are read.
    """
    found = next(_problems(url), None)
    if found is None:
        return None
    # An @ after the authority is the sign of a password that was cut short.
    behind = url.partition("://")[2].replace("?", "/").replace("#", "/").partition("/")[2]
    return found + (_ENCODED if "@" in behind else "")


def _problems(url: str) -> Iterator[str]:
    if not url.isprintable():
        yield "it has characters that cannot be printed: write them percent-encoded"
    try:
        parts = urlsplit(url)
    except ValueError:
        yield "it is no URL: is a bracket missing around an address of IPv6?"
        return
    if parts.fragment or url.endswith("#"):
        yield "nothing may follow a #"
    address = parts.netloc.rpartition("@")[2]
    if parts.scheme == "unix":
        yield from _socket_problems(parts, address)
    else:
        yield from filter(None, [authority_problem(address, host_needed=False)])
        if parts.path not in ("", "/") and not _is_database(parts.path[1:]):
            yield "the path must be the number of a database, as in redis://host:6379/1"
    for text in (parts.username, parts.password):
        if text and "\ufffd" in unquote(text) and "\ufffd" not in text:
            yield "the user or password is not UTF-8 where it is percent-encoded"
    yield from _option_problems(parts)
    yield from _refused_by_the_client(url)


def _socket_problems(parts: SplitResult, address: str) -> Iterator[str]:
    path = unquote(parts.path)
    if address or not path.startswith("/") or path.endswith("/"):
        yield "a socket's path begins with a /, as in unix:///run/redis.sock"
    if "\0" in path or len(path.encode("utf-8", "surrogateescape")) > MAX_SOCKET_PATH:
        yield f"a socket's path has at most {MAX_SOCKET_PATH} bytes"


def _option_problems(parts: SplitResult) -> Iterator[str]:
    if not parts.query:
        return
    known = {"db", *_CREDENTIALS}
    known |= {"socket_keepalive"} if parts.scheme != "unix" else set()
    known |= _TLS if parts.scheme == "rediss" else set()
    seen: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True, max_num_fields=MAX_OPTIONS):
        if name in _TLS - known:
            yield f"the option {name} is for rediss:// only"
        if name not in known:
            # What looks like a name may be a piece of a password.
            shown = name if name.isascii() and name.isidentifier() and "@" not in parts.query else "there"
            yield f"the option {shown[:MAX_NAME]} is not known"
        if name in seen:
            yield f"the option {name} stands there twice"
        yield from _value_problems(name, value)
        seen[name] = value
    if "db" in seen and parts.scheme != "unix" and parts.path not in ("", "/", f"/{seen['db']}"):
        yield "the path and the option db name different databases"
    for name in _CREDENTIALS:
        if name in seen and getattr(parts, name):
            yield f"the {name} stands before the host and in the option {name}"
    yield from _certificate_problems(seen)


def _value_problems(name: str, value: str) -> Iterator[str]:
    if not value:
        yield f"the option {name} has no value"
    elif name == "db" and not _is_database(value):
        yield "the option db must be the number of a database"
    elif name in _SWITCHES and value.lower() not in _YES_OR_NO:
        yield f"the option {name} must be true or false"
    elif name == "ssl_cert_reqs" and value not in _CERTIFICATES:
        yield f"the option ssl_cert_reqs must be {' or '.join(_CERTIFICATES)}"


def _certificate_problems(options: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with the TLS files that the options name, by loading them as a connection does."""
    names = [
        name for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile") if name in options
    ]
    if not names and "ssl_ciphers" not in options:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if "ssl_ciphers" in options:
            context.set_ciphers(options["ssl_ciphers"])
        if "ssl_ca_certs" in options or "ssl_ca_path" in options:
            context.load_verify_locations(options.get("ssl_ca_certs"), options.get("ssl_ca_path"))
        if "ssl_certfile" in options:
            context.load_cert_chain(
                options["ssl_certfile"],
                options.get("ssl_keyfile"),
                options.get("ssl_password", ""),  # or OpenSSL would ask for it at a terminal
            )
        elif "ssl_keyfile" in options:
            yield "the option ssl_keyfile needs ssl_certfile"
    except ssl.SSLError as exc:
        what, why = " or ".join(names) or "ssl_ciphers", getattr(exc, "reason", None) or "no such thing"
        yield f"what {what} names cannot be used: {why}"
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        yield f"what {' or '.join(names)} names cannot be read: {reason}"


def _refused_by_the_client(url: str) -> Iterator[str]:
    """Yield the error of redis-py's own parser, if any. Nothing is connected to."""
    import redis  # noqa: PLC0415 - by far the slowest import of `check`

    try:
        redis.ConnectionPool.from_url(url).make_connection()
    except Exception as exc:  # noqa: BLE001 - whatever it is would end the daemon
        yield f"the Redis client cannot use it ({type(exc).__name__})"


def _is_database(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DATABASE

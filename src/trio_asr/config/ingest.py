"""`[ingest]` and its routes: where platforms connect, and by what they prove who they are."""

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from trio_asr.config.kinds import FileName, HostName, KeyName, Section, Text, Texts
from trio_asr.config.secrets import Secret

TOKEN = "{token}"  # noqa: S105 - a placeholder in a path

Platform = Literal[
    "generic", "twilio", "telnyx", "plivo", "smartflo", "exotel", "ozonetel", "genesys", "audiocodes",
    "jambonz", "vonage", "knowlarity", "asterisk", "audiosocket",
]  # fmt: skip
Method = Literal["none", "jwt", "basic", "bearer", "path", "twilio", "genesys", "vonage"]

# How each platform proves who it is, unless the route says otherwise.
USUAL: dict[Platform, Method] = {
    "generic": "jwt",
    "twilio": "twilio",
    "telnyx": "path",
    "plivo": "path",
    "smartflo": "path",
    "exotel": "basic",
    "ozonetel": "path",
    "genesys": "genesys",
    "audiocodes": "bearer",
    "jambonz": "basic",
    "vonage": "vonage",
    "knowlarity": "path",
    "asterisk": "basic",
    "audiosocket": "path",
}
# The scheme of the Authorization header that a method reads; the others read none.
SCHEMES: dict[Method, str] = {
    "jwt": "bearer", "bearer": "bearer", "vonage": "bearer", "basic": "basic",
}  # fmt: skip

_NETWORK = Annotated[Text, Meta(extra={"allowed": 'an address, or a network such as "10.0.0.0/8"'})]
_Networks = Annotated[tuple[_NETWORK, ...], Meta(max_length=1_000)]
_WORD = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
_PATH = r"[!$&-;=@-Z_a-z~%]*"  # RFC 3986, 3.3


class RouteSecret(NamedTuple):
    """A secret of a route, its name for people, and the methods that need it.

    The key `NAME_file` names its file. It has at least `shortest` characters: less can be guessed.
    """

    name: str
    words: str
    methods: tuple[Method, ...]
    shortest: int = 16


SECRETS = (
    RouteSecret("public_key", "public key", ("jwt",), 1),
    RouteSecret(
        "shared_secret", "shared secret", ("jwt", "vonage"), 32
    ),  # RFC 7518, 3.2: as long as the hash
    RouteSecret("password", "password", ("basic",)),
    RouteSecret("token", "token", ("bearer", "path")),
    RouteSecret("auth_token", "auth token", ("twilio",)),
    RouteSecret("api_key", "API key", ("genesys",), 1),
    RouteSecret("client_secret", "client secret", ("genesys",)),
)


class Route(Section, frozen=True):
    """`[[ingest.route]]`: a path that one platform connects to."""

    path: Annotated[
        str,
        Meta(
            pattern=rf"^/{_PATH}(\{{token\}}{_PATH})?\Z",
            max_length=600,
            extra={"allowed": 'a path that begins with "/", percent-encoded, with {token} at most once'},
        ),
    ]
    platform: Platform
    auth: Literal["platform", "none", "jwt", "basic", "bearer", "path", "twilio", "genesys", "vonage"] = (
        "platform"
    )
    port: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    tenant: KeyName | None = None
    id_prefix: Annotated[
        str,
        Meta(
            pattern=r"^[^\s{}\x00-\x1f]{0,100}\Z", extra={"allowed": "0-100 characters, no blanks or braces"}
        ),
    ] = ""
    roles: (
        Annotated[
            dict[_WORD, Annotated[Text, Meta(max_length=64)]],
            Meta(max_length=8, extra={"allowed": "words of the platform, each with a role"}),
        ]
        | None
    ) = None
    tracks: Annotated[
        tuple[_WORD, ...],
        Meta(max_length=2, extra={"allowed": "one or two different words of the platform"}),
    ] = ()
    byte_order: Literal["little", "big"] | None = None
    accounts: Texts = ()
    sources: _Networks = ()
    meta: Texts = ()
    max_connections: Annotated[int, Meta(ge=0, le=100_000)] = 0

    public_key_file: FileName | None = None
    shared_secret_file: FileName | None = None
    user: (
        Annotated[
            str,
            Meta(
                pattern=r"^[^\s:\x00-\x1f]{1,200}\Z",
                extra={"allowed": "1-200 characters, no blanks or colons"},
            ),
        ]
        | None
    ) = None
    password_file: FileName | None = None
    token_file: FileName | None = None
    auth_token_file: FileName | None = None
    api_key_file: FileName | None = None
    client_secret_file: FileName | None = None
    # Never in the file: what these files hold, by the names in `SECRETS`. Only `trio-asr ingest` reads them.
    secrets: dict[str, Secret] = msgspec.field(default_factory=dict)

    @property
    def method(self) -> Method:
        """How a peer proves who it is."""
        return USUAL[self.platform] if self.auth == "platform" else self.auth

    @property
    def scheme(self) -> str:
        """The scheme of the Authorization header that the method reads, in lower case, or ""."""
        return SCHEMES.get(self.method, "")

    def role(self, word: str) -> str:
        """Return who is on the leg that the platform calls `word`: the word itself if no role is set."""
        return (self.roles or {}).get(word, word)


class IngestConfig(Section, frozen=True):
    """`[ingest]`: the server that platforms connect to, and the limits of their calls."""

    host: HostName = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 5_000
    tls_certificate_file: FileName | None = None
    tls_key_file: FileName | None = None
    public_url: (
        Annotated[
            str,
            Meta(
                pattern=r"^(wss?|https?)://[^\s/?#@]+\Z",
                extra={"allowed": 'an origin such as "wss://asr.example.com", without path'},
            ),
        ]
        | None
    ) = None
    trusted_proxies: _Networks = ()
    pages_host: HostName = "127.0.0.1"
    pages_port: Annotated[int, Meta(ge=0, le=65_535)] = 3_002
    entry_ms: Annotated[int, Meta(ge=20, le=1_000)] = 100
    align_ms: Annotated[int, Meta(ge=0, le=2_000)] = 300
    reconnect_grace_s: Annotated[float, Meta(ge=0, le=60)] = 3.0
    idle_s: Annotated[float, Meta(ge=10, le=86_400)] = 600.0
    start_timeout_s: Annotated[float, Meta(ge=1, le=60)] = 10.0
    max_buffered_s: Annotated[float, Meta(ge=1, le=300)] = 30.0
    max_buffered_total_mb: Annotated[int, Meta(ge=1, le=1_048_576)] = 256
    drain_s: Annotated[float, Meta(ge=0, le=86_400)] = 10.0
    max_connections: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    max_connections_per_address: Annotated[int, Meta(ge=0, le=100_000)] = 0
    max_message_kb: Annotated[int, Meta(ge=1, le=2_048)] = 256
    ack_interval: Annotated[int, Meta(ge=1, le=1_000)] = 10
    route: tuple[Route, ...] = ()

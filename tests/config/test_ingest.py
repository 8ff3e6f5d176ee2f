"""`[ingest]` and its routes: values, refusals in words, secrets, and what the worker has to do with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.commands.test_check import run_check
from tests.config.helpers import KEY, refusal

from trio_asr.commands import check
from trio_asr.config import Config, ConfigError, IngestConfig, Loaded, Route, Secret, load, merge
from trio_asr.config.ingest import SECRETS, USUAL

PEM = (
    generate_private_key(65537, 2048)
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
JWT = {"JWT_PUBLIC_KEY": PEM}
GENERIC = "[[ingest.route]]\npath = '/v1/ingest'\nplatform = 'generic'\n"
TCP = "[[ingest.route]]\npath = '/a'\nplatform = 'audiosocket'\ntenant = 't'\nauth = 'none'\n"
FIRST = 'FILE: ingest.route 1 ("/v1/ingest")'
SHARED = "0123456789abcdef0123456789abcdef"


def load_ingest(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Loaded:
    file = tmp_path / "trio.toml"
    file.write_text(text)
    return load(file, JWT if env is None else env, ingest=True)


def refused(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_ingest(tmp_path, text, env)
    return [line.replace(str(tmp_path / "trio.toml"), "FILE") for line in caught.value.problems]


def secret_file(tmp_path: Path, name: str, text: str) -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_defaults_are_those_that_were_promised() -> None:
    i = Config().ingest
    assert (i.host, i.port, i.pages_host, i.pages_port) == ("127.0.0.1", 5000, "127.0.0.1", 3002)
    assert (i.tls_certificate_file, i.tls_key_file, i.public_url) == (None, None, None)
    assert (i.entry_ms, i.align_ms, i.reconnect_grace_s, i.idle_s, i.start_timeout_s) == (
        100,
        300,
        3,
        600,
        10,
    )
    assert (i.max_buffered_s, i.max_buffered_total_mb, i.drain_s) == (30, 256, 10)
    assert (i.max_connections, i.max_connections_per_address, i.max_message_kb) == (2000, 0, 256)
    assert (i.ack_interval, i.trusted_proxies, i.route) == (10, (), ())


def test_a_route_of_each_platform(tmp_path: Path) -> None:
    token = secret_file(tmp_path, "token", "0123456789abcdef\n")
    text = f"""
        [ingest]
        public_url = "wss://asr.example.com"
        [[ingest.route]]
        path = "/v1/ingest"
        platform = "generic"
        [[ingest.route]]
        path = "/v1/ingest"
        platform = "exotel"
        tenant = "acme"
        user = "exo"
        password_file = "{token}"
        [[ingest.route]]
        path = "/talkdesk/{{token}}"
        platform = "twilio"
        auth = "path"
        tenant = "acme"
        token_file = "{token}"
        roles = {{ inbound = "customer" }}
        [[ingest.route]]
        path = "/twilio"
        platform = "twilio"
        tenant = "acme"
        auth_token_file = "{token}"
        [[ingest.route]]
        path = "/genesys"
        platform = "genesys"
        tenant = "other"
        api_key_file = "{token}"
        client_secret_file = "{token}"
        """
    loaded = load_ingest(tmp_path, text)
    generic, exotel, talkdesk, twilio, genesys = loaded.config.ingest.route
    secret = Secret("0123456789abcdef")
    assert [route.method for route in loaded.config.ingest.route] == [
        "jwt", "basic", "path", "twilio", "genesys",
    ]  # fmt: skip
    assert (generic.tenant, generic.secrets) == (None, {"public_key": Secret(PEM)})
    assert (exotel.tenant, exotel.user, exotel.secrets) == ("acme", "exo", {"password": secret})
    assert (talkdesk.path, talkdesk.secrets) == ("/talkdesk/{token}", {"token": secret})
    assert (talkdesk.role("inbound"), talkdesk.role("outbound")) == ("customer", "outbound")
    assert (twilio.role("inbound"), twilio.secrets) == ("inbound", {"auth_token": secret})
    assert genesys.secrets == {"api_key": secret, "client_secret": secret}
    assert loaded.warnings == ()
    assert loaded.origins["ingest.route.1.public_key"] == "env JWT_PUBLIC_KEY"
    assert loaded.origins["ingest.route.2.password"] == token
    assert (loaded.origins["ingest.route.2.user"], loaded.origins["ingest.route.2.meta"]) == (
        "file",
        "default",
    )
    assert {one.reveal() for one in loaded.config.secrets} == {PEM, "0123456789abcdef"}


def test_every_method_has_its_secrets_and_every_platform_a_method() -> None:
    methods = {method for spec in SECRETS for method in spec.methods}
    assert methods == {"jwt", "basic", "bearer", "path", "twilio", "genesys", "vonage"}
    assert set(USUAL.values()) <= methods


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[ingest]\nport = 70000", "FILE: ingest.port = 70000: allowed is an integer from 0 to 65535"),
        (
            "[ingest]\nroute = 5",
            "FILE: ingest.route is a list of tables: write [[ingest.route]] and the keys of one below",
        ),
        (
            "[ingest.route]\npath = '/x'",
            "FILE: ingest.route is a list of tables: write [[ingest.route]] and the keys of one below",
        ),
        (
            GENERIC + "tennant = 'x'",
            "FIRST: tennant: unknown key; did you mean ingest.route.tenant?",
        ),
        (
            GENERIC + "tenant = 'a b'",
            'FIRST: tenant = "a b": allowed is 1-200 characters, no blanks or braces',
        ),
        (
            GENERIC + GENERIC.replace("generic", "zoom"),
            'FILE: ingest.route 2 ("/v1/ingest"): platform = "zoom": allowed is "asterisk" or ',
        ),
        (
            "[[ingest.route]]\nplatform = 'generic'",
            "FILE: ingest.route 1 (without path): path is missing: allowed is a path that begins with ",
        ),
        (
            GENERIC + "token = 'sesame'",
            "FIRST: token is not offered: the token does not belong into this file; name a file that holds ",
        ),
        (
            '[ingest]\n"route.1.path" = "/x"',
            'FILE: ingest."route.1.path": unknown key; known are: host, port, tls_certificate_file, ',
        ),
        (
            GENERIC + '"a.b" = 1',
            'FIRST: "a.b": unknown key; known are: ',
        ),
    ],
)
def test_a_refusal_names_file_route_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, line: str
) -> None:
    """Form is checked for the worker, too: it reads the same file."""
    line = line.replace("FIRST", FIRST)
    (ours,) = refused(tmp_path, text)
    assert ours.startswith(line) if line.endswith(" ") else ours == line
    assert refusal(tmp_path, text) == [ours.replace("FILE", str(tmp_path / "trio.toml"))]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "",
            "FILE: ingest.route = []: there is none: write [[ingest.route]] and the keys of one below",
        ),
        (
            GENERIC.replace("generic", "jambonz") + "auth = 'none'",
            "tenant = (not set): is needed: no platform says whose call it is",
        ),
        (GENERIC + "auth = 'path'", 'path = "/v1/ingest": {token} is needed for auth = "path"'),
        (
            GENERIC.replace("/v1/ingest", "/{token}"),
            'path = "/{token}": {token} is only for auth = "path"',
        ),
        (GENERIC + "auth = 'basic'", 'user = (not set): is needed for auth = "basic"'),
        (
            GENERIC.replace("generic", "twilio") + "tenant = 't'",
            'auth = "platform": needs ingest.public_url: the signature is over the URL that ',
        ),
        (
            GENERIC + "sources = ['10.0.0.1/8']",
            "sources = [\"10.0.0.1/8\"]: '10.0.0.1/8' is neither an address nor a network such as 10.0.0.0/8",
        ),
        (
            GENERIC + GENERIC + "auth = 'bearer'",
            'path = "/v1/ingest": is that of route 1: two routes of one path must differ in the scheme of ',
        ),
        (
            "[ingest]\ntls_key_file = '/k'\n" + GENERIC,
            'tls_key_file = "***": needs ingest.tls_certificate_file',
        ),
        (
            "[ingest]\ntls_certificate_file = '/nowhere/c'\n" + GENERIC,
            "it or ingest.tls_key_file cannot be read: No such file or directory",
        ),
        (
            "[ingest]\ntls_certificate_file = '/dev/null'\n" + GENERIC,
            'ingest.tls_certificate_file = "/dev/null": cannot be used: ',
        ),
        ("[ingest]\npages_port = 5000\n" + GENERIC, "ingest.pages_port = 5000: is that of ingest.port"),
        (
            "[ingest]\nhost = 'a..b'\n" + GENERIC,
            'ingest.host = "a..b": the host has nothing between two dots',
        ),
        (
            "[ingest]\npublic_url = 'wss://x:99999'\n" + GENERIC,
            'ingest.public_url = "wss://x:99999": the port must be a number from 1 to 65535',
        ),
        (
            "[ingest]\ntrusted_proxies = ['proxy']\n" + GENERIC,
            "'proxy' is neither an address nor a network such as 10.0.0.0/8",
        ),
        (TCP, "port = (not set): is needed: AudioSocket is no WebSocket, and has a port of its own"),
        (TCP + "port = 5000", "port = 5000: is that of ingest.port or ingest.pages_port"),
        (
            TCP
            + "port = 9092\n"
            + TCP.replace("/a", "/b")
            + "port = 9093\n"
            + TCP.replace("/a", "/c")
            + "port = 9093",
            'route 2 ("/b"): port = 9093: is that of another route',
        ),
        (TCP.replace("'none'", "'basic'") + "port = 9092\nuser = 'u'", "nothing else can be shown there"),
        (
            "[ingest]\nhost = '0.0.0.0'\n" + TCP + "port = 9092",
            'sources = []: is needed for auth = "none": there is no TLS, and the id of a call proves nothing',
        ),
        ("[ingest]\nhost = 'pbx'\n" + TCP + "port = 9092", "sources = []: is needed for auth"),
    ],
)
def test_what_does_not_fit_together_is_refused_for_the_ingest(tmp_path: Path, text: str, line: str) -> None:
    problems = [one for one in refused(tmp_path, text) if line in one]
    assert len(problems) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_alone_audiosocket_needs_no_sources(tmp_path: Path, host: str) -> None:
    loaded = load_ingest(tmp_path, f"[ingest]\nhost = '{host}'\n{TCP}port = 9092")
    assert loaded.config.ingest.route[0].port == 9092


def test_a_port_of_another_platform_is_not_read(tmp_path: Path) -> None:
    loaded = load_ingest(tmp_path, GENERIC + "port = 9092", JWT)
    assert [one for one in loaded.warnings if "port = 9092: is not read" in one]


@pytest.mark.parametrize("token", ["0123456789abcdeF", "0123456789abcdef0", "sesame-sesame-sesame"])
def test_the_secret_of_audiosocket_is_half_a_uuid(tmp_path: Path, token: str) -> None:
    file = secret_file(tmp_path, "half", token)
    text = TCP.replace("/a", "/a/{token}").replace("'none'", "'path'") + f"port = 1\ntoken_file = '{file}'"
    (line,) = refused(tmp_path, text)
    assert line.endswith("it is the first half of a UUID: 16 digits 0-9 and a-f are allowed")
    assert token not in line


def test_the_worker_starts_whatever_is_wrong_with_routes(tmp_path: Path) -> None:
    text = GENERIC.replace("generic", "twilio") * 2 + "auth_token_file = '/nowhere/x'"
    file = tmp_path / "trio.toml"
    file.write_text(text)
    loaded = load(file, KEY | {"ACK_INTERVAL": "x", "SUPPORT_EXOTEL": "true"})
    assert (loaded.config.ingest.route[0].secrets, loaded.warnings) == ({}, ())
    assert loaded.config.ingest.ack_interval == 10


def test_a_reload_of_the_worker_does_not_look_at_the_ingest() -> None:
    other = IngestConfig(port=1, route=(Route(path="/x", platform="generic"),))
    assert merge(Config(), Config(ingest=other)) == (Config(), (), ())


def test_the_ingest_needs_no_key_of_deepgram(tmp_path: Path) -> None:
    assert load_ingest(tmp_path, GENERIC).config.deepgram.api_key is None


def test_the_variables_of_the_old_ingest_count(tmp_path: Path) -> None:
    env = JWT | {"INGEST_PORT": "8443", "PORT": "5001", "ACK_INTERVAL": "5", "BUFFER_DURATION_MS": "3000"}
    loaded = load_ingest(tmp_path, GENERIC, env)
    assert (loaded.config.ingest.port, loaded.config.ingest.ack_interval) == (8443, 5)
    assert loaded.warnings == ("environment: BUFFER_DURATION_MS is not read: set ingest.max_buffered_s",)
    (line,) = refused(tmp_path, GENERIC, JWT | {"ACK_INTERVAL": "0"})
    assert line == (
        'environment: ACK_INTERVAL, for ingest.ack_interval = "0": allowed is an integer from 1 to 1000'
    )


@pytest.mark.parametrize("form", [PEM, PEM.replace("\n", "\\n"), f'"{PEM.strip()}"', f"'{PEM}'"])
def test_a_public_key_in_the_forms_that_environments_have(tmp_path: Path, form: str) -> None:
    (route,) = load_ingest(tmp_path, GENERIC, {"JWT_PUBLIC_KEY": form}).config.ingest.route
    assert route.secrets["public_key"].reveal() == PEM


def test_a_public_key_in_a_file_goes_before_that_of_the_environment(tmp_path: Path) -> None:
    file = secret_file(tmp_path, "key.pem", PEM)
    loaded = load_ingest(tmp_path, GENERIC + f"public_key_file = '{file}'", {"JWT_PUBLIC_KEY": "x"})
    assert loaded.origins["ingest.route.1.public_key"] == file


def test_a_shared_secret_takes_the_place_of_the_public_key(tmp_path: Path) -> None:
    file = secret_file(tmp_path, "shared", SHARED)
    (route,) = load_ingest(tmp_path, GENERIC + f"shared_secret_file = '{file}'").config.ingest.route
    assert route.secrets == {"shared_secret": Secret(SHARED)}
    key = secret_file(tmp_path, "key.pem", PEM)
    (line,) = refused(tmp_path, GENERIC + f"shared_secret_file = '{file}'\npublic_key_file = '{key}'")
    assert "shared_secret_file = " in line
    assert "excludes public_key_file" in line


SMALL = generate_private_key(65537, 1024).public_key()


@pytest.mark.parametrize(
    ("auth", "key", "text", "reason"),
    [
        (
            "jwt",
            "public_key",
            "-----BEGIN PRIVATE KEY-----\nsesame\n",
            "it is a private key; the public one is",
        ),
        ("jwt", "public_key", "sesame-sesame", "a key in PEM is needed: -----BEGIN PUBLIC KEY-----"),
        (
            "jwt",
            "public_key",
            SMALL.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            "an RSA key of at least 2048 bits is needed",
        ),
        (
            "jwt",
            "shared_secret",
            "sesame-sesame",
            "one line of at least 32 characters without blanks is allowed",
        ),
        ("bearer", "token", "Bearer sesame-sesame", "leave out the word before it"),
        ("bearer", "token", "sesame", "one line of at least 16 characters without blanks is allowed"),
        ("path", "token", "sesame/sesame/sesame", "in a path only letters, digits and . _ ~ - are allowed"),
        ("basic", "password", "'sesame-sesame-sesame'", "it stands in quotes"),
        ("genesys", "client_secret", "sesame-sesame-sesame", "it is not base64"),
    ],
)
def test_an_unusable_secret_is_refused_without_showing_it(
    tmp_path: Path, auth: str, key: str, text: str, reason: str
) -> None:
    file = secret_file(tmp_path, "secret", text)
    lines = refused(tmp_path, GENERIC + f"auth = '{auth}'\n{key}_file = '{file}'", {})
    (line,) = [one for one in lines if one.startswith(f"{file}: holds no usable ")]
    assert reason in line
    assert "sesame" not in "".join(lines)


def test_a_secret_that_is_missing(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, GENERIC, {})
    assert line == (
        f"{FIRST[6:]}: public_key_file is missing: auth = jwt needs a file with the public key, or set "
        "JWT_PUBLIC_KEY"
    )
    (line,) = refused(tmp_path, GENERIC + "auth = 'bearer'\ntoken_file = '/nowhere/x'")
    assert line == (
        f"{FIRST[6:]}: token_file = *** (hidden: no such directory, so it may be the secret): the token "
        "cannot be read: No such file or directory"
    )


def test_an_open_door_and_a_secret_that_is_not_read_cause_warnings(tmp_path: Path) -> None:
    file = secret_file(tmp_path, "token", "0123456789abcdef")
    loaded = load_ingest(tmp_path, GENERIC + f"auth = 'none'\ntoken_file = '{file}'")
    prefix = f'{loaded.path}: ingest.route 1 ("/v1/ingest"): '
    assert loaded.warnings == (
        f'{prefix}auth = "none": lets everybody in who finds the path: set sources',
        f'{prefix}token_file = "{file}": is not read: auth is none',
    )


def test_what_a_platform_says_itself_is_not_read_of_its_route(tmp_path: Path) -> None:
    file = secret_file(tmp_path, "token", "0123456789abcdef")
    text = GENERIC.replace("generic", "audiocodes") + f"tenant = 't'\ntoken_file = '{file}'\n"
    assert load_ingest(tmp_path, text + "tracks = ['caller', 'callee']").warnings == ()
    loaded = load_ingest(tmp_path, text + "byte_order = 'big'")
    prefix = f'{loaded.path}: ingest.route 1 ("/v1/ingest"): '
    assert loaded.warnings == (f'{prefix}byte_order = "big": is not read: audiocodes says it itself',)


def test_a_secret_of_a_route_does_not_show(tmp_path: Path) -> None:
    file = secret_file(tmp_path, "token", "sesame-sesame-sesame")
    loaded = load_ingest(tmp_path, GENERIC + f"auth = 'bearer'\ntoken_file = '{file}'")
    assert "sesame" not in "\n".join([*check.report(loaded), repr(loaded)])
    text = GENERIC + "auth = 'bearer'\ntoken_file = 'sesame-sesame-sesame'"
    assert "sesame" not in "".join(refused(tmp_path, text))
    lines = refused(tmp_path, "[ingest]\npublic_url = 'wss://u:sesame@h'\n" + GENERIC)
    assert lines[0].startswith('FILE: ingest.public_url = "wss://***@h": allowed is an origin such as')


def test_check_shows_routes_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "trio.toml"
    token = secret_file(tmp_path, "token", "0123456789abcdef")
    file.write_text(
        "[ingest]\npublic_url = 'wss://h'\n"
        + GENERIC.replace("generic", "twilio")
        + f"auth_token_file = '{token}'\n"
        "tenant = 'acme'\nroles = { inbound = 'customer' }\nmeta = ['from']\n" + GENERIC.replace("/v1", "/v2")
    )
    result = run_check("--ingest", "--config", str(file), env=JWT)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [
        line.partition(" #")[0].strip() if line[0] != "#" else line
        for line in result.stdout.split("\n")
        if line
    ]
    assert lines.count("[[ingest.route]]") == 2
    assert {'auth = "platform"', "# which is twilio", "# which is jwt"} <= set(lines)
    assert f"{'# the auth token is ***':<56} # {token}" in lines
    assert "0123456789abcdef" not in result.output
    again = tmp_path / "again.toml"
    again.write_text(result.stdout)
    assert load(again, JWT, ingest=True).config == load(file, JWT, ingest=True).config
    assert run_check("--config", str(file), env=KEY).exit_code == 0

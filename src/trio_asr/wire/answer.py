"""The provider's answer to a WebSocket handshake: the 101 that opens a connection, a refusal, or neither.

RFC 6455, section 4.1, says what a client must check. Everything is bounded: the answer of a peer, or of a
proxy in between, may have any size and shape, or no end.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import re
import zlib
from itertools import takewhile
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

import h11
import msgspec

MAX_HEAD = 32 * 1024  # bytes of the status line and headers; Deepgram's take 500
MAX_ANSWER = 96 * 1024  # bytes of everything, including interim (1xx) responses
MAX_BODY = 16 * 1024  # bytes of a refusal's body that are read for its reason; Deepgram's take 150
MAX_REASON = 16 * 1024  # characters of the reason: more than is ever shown, see `Refused`
CLOSED_EARLY = "the connection was closed before the handshake was answered"
_ANY_ZLIB = 32 + zlib.MAX_WBITS  # the header says whether it is gzip or deflate
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# The part of the request that decides how h11 reads the answer.
_ASKED = [("Host", "x"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+([2-9]\d\d)\b")  # of an answer that is no interim one

Headers = list[tuple[bytes, bytes]]


class Refused(Exception):
    """An answer that does not open a connection.

    `status` is the HTTP status: None if there was no answer, 101 if the rest of the handshake was wrong.
    `reason` is cut for display only after secrets were masked in it: half of one would not be found.
    """

    def __init__(self, status: int | None, reason: str, request_id: str = "") -> None:
        reason = reason[:MAX_REASON]
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.request_id = request_id


class Accepted(NamedTuple):
    """An answer that opens a connection: its headers, and the bytes that followed them."""

    headers: Headers
    rest: bytes


class _Head(NamedTuple):
    """The head of a refusal, and what is wrong with it ("" if it is HTTP)."""

    status: int
    headers: Headers
    problem: str = ""


class Answer:
    """An incremental parser of the answer. `key` is the Sec-WebSocket-Key that was sent."""

    def __init__(self, key: bytes) -> None:
        self._expected = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._http.send(h11.Request(method="GET", target="/", headers=_ASKED))
        self._http.send(h11.EndOfMessage())
        self._received = 0
        self._raw = b""  # the head that is being read, as it came
        self._head: _Head | None = None
        self._body = b""

    @property
    def refused(self) -> bool:
        """Whether the head of a refusal has arrived. Its body may still be on the way."""
        return self._head is not None

    def take(self, data: bytes | bytearray) -> Accepted | None:
        """Take received bytes, or none for the end of the stream; return the connection once it is open.

        None means that the answer is not complete yet.

        Raises:
            Refused: There will be no connection.
        """
        self._received += len(data)
        if self._received > MAX_ANSWER:
            self._give_up("the answer breaks the protocol: an answer that does not end")
        news = data if self._raw else data.lstrip(b"\r\n")  # blank lines before a head mean nothing
        if data and not news:
            return None
        try:
            self._http.receive_data(bytes(news))
            accepted = self._read()
        except h11.RemoteProtocolError as error:
            self._give_up(f"the answer breaks the protocol: {error}" if data else CLOSED_EARLY)
        if not data:
            self._give_up(CLOSED_EARLY)
        return accepted

    def _read(self) -> Accepted | None:
        while True:
            if self._head is None:
                self._raw = self._http.trailing_data[0]
            event = self._http.next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    return self._accepted(event)
            elif isinstance(event, h11.Response):
                self._head = _Head(event.status_code, list(event.headers))
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)[: MAX_BODY - len(self._body)]
                if len(self._body) >= MAX_BODY:
                    self._give_up("")
            elif isinstance(event, h11.EndOfMessage):
                self._give_up("")
            else:
                return None

    def refusal(self, problem: str = "") -> Refused | None:
        """Return the refusal as far as it has arrived, or None if none has begun.

        `problem` is the reason where the head is no HTTP and gives none itself.
        """
        head = self._head or _salvaged(self._raw, problem)
        if head is None:
            return None
        status, headers, problem = head
        reason = header(headers, b"dg-error")
        if not reason and 300 <= status < 400 and (location := header(headers, b"location")):
            reason = f"it redirects to {_place(location)}"
        encoding = header(headers, b"content-encoding")
        reason = reason or _body_message(_unpacked(self._body, encoding)) or problem
        if status < 300:
            reason = f"it answers as a web page does, not as a WebSocket: {reason}".rstrip(": ")
        return Refused(status, reason, header(headers, b"dg-request-id"))

    def _give_up(self, problem: str) -> NoReturn:
        """Raise what is known so far: the refusal, or else the problem.

        Raises:
            Refused: Always.
        """
        raise self.refusal(problem) or Refused(None, problem)

    def _accepted(self, event: h11.InformationalResponse) -> Accepted:
        headers = list(event.headers)
        if problem := self._wrong(headers):
            reason = f"the handshake breaks the protocol: {problem}"
            raise Refused(101, reason, header(headers, b"dg-request-id"))
        return Accepted(headers, self._http.trailing_data[0])

    def _wrong(self, headers: Headers) -> str:
        """Return what is wrong with the headers of a 101, or "" if nothing is."""
        upgrade, accept = header(headers, b"upgrade"), header(headers, b"sec-websocket-accept")
        connection = {token.strip().lower() for token in header(headers, b"connection").split(",")}
        if upgrade.lower() != "websocket":
            return "no 'Upgrade: websocket'"
        if "upgrade" not in connection:
            return "no 'Connection: Upgrade'"
        if not accept:
            return "no Sec-WebSocket-Accept"
        if accept != self._expected.decode():
            return "a wrong Sec-WebSocket-Accept"
        for name in (b"sec-websocket-extensions", b"sec-websocket-protocol"):
            if value := header(headers, name):
                return f"{name.decode()} '{value}', which was not asked for"
        return ""


def switching(headers: Headers) -> bytes:
    """Return the head of a 101 that holds only the headers that have been checked."""
    kept = b"".join(
        name + b": " + value + b"\r\n"
        for name, value in headers
        if name in (b"upgrade", b"connection", b"sec-websocket-accept")
    )
    return b"HTTP/1.1 101 Switching Protocols\r\n" + kept + b"\r\n"


def _salvaged(raw: bytes, problem: str) -> _Head | None:
    """Return the head of a refusal that is no sound HTTP, or of which only a part came, line by line.

    The status and Deepgram's headers decide what follows, and proxies in between make all kinds of headers.
    Only whole lines count: part of one might be part of a secret.
    """
    lines = list(takewhile(bool, (line.strip() for line in raw.split(b"\n")[:-1])))
    status = _STATUS.match(lines[0]) if lines else None
    if status is None:
        return None
    fields = (line.partition(b":") for line in lines[1:])
    return _Head(
        int(status[1]), [(name.strip().lower(), value.strip()) for name, _, value in fields], problem
    )


def header(headers: Headers, name: bytes) -> str:
    """Return the value of a header, several values joined by commas, or "" if there is none."""
    return ", ".join(_text(bytes(value)) for key, value in headers if key == name)


def _text(value: bytes) -> str:
    """Return the text of a header: UTF-8 is what servers write today, Latin-1 what HTTP/1.0 meant."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _place(url: str) -> str:
    """Return the scheme, host and path of a URL: its query or credentials may be secret."""
    try:
        split = urlsplit(url)
    except ValueError:
        return "nowhere"
    return f"{split.scheme}://{split.hostname}{split.path}" if split.hostname else split.path or "nowhere"


def _unpacked(body: bytes, encoding: str) -> bytes:
    """Return (the beginning of) a body without its Content-Encoding, or b"" if that is not to be undone."""
    if encoding.lower() in ("", "identity"):
        return body
    try:
        return zlib.decompressobj(_ANY_ZLIB).decompress(body, MAX_BODY)
    except zlib.error:
        return b""


def _body_message(body: bytes) -> str:
    """Return the reason in a refusal's JSON body (two shapes are documented), else the body as text."""
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        for name in ("err_msg", "message", "details", "err_code", "error_code"):
            if isinstance(document.get(name), str) and document[name]:
                return str(document[name])
    return "".join(map(_printable, body.decode("utf-8", "replace"))).strip()


def _printable(char: str) -> str:
    return char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"

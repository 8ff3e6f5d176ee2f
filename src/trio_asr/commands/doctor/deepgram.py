"""Checks of the way to Deepgram, step by step: DNS, TCP, TLS, then a real handshake without audio."""

from __future__ import annotations

import ssl
import time
from urllib.parse import urlsplit

import trio

from trio_asr.commands.doctor.findings import Report
from trio_asr.config import Config, DeepgramConfig
from trio_asr.deepgram.provider import ConnectFailed, Link, LinkClosed
from trio_asr.deepgram.tls import context
from trio_asr.deepgram.websocket import DeepgramProvider
from trio_asr.wire import messages
from trio_asr.wire.audio_format import audio_format

STEP_S = 5.0
CLOSE_S = 3.0
MEANS = {
    400: "an option of the deepgram section is refused: see its words",
    401: "the key is wrong, expired or revoked",
    402: "the project has no credit left",
    403: "the key or the project lacks the right to this model",
    404: "deepgram.url has a wrong path, or the project is gone",
    429: "the project's limit of streams at once is reached: lower deepgram.max_connections",
}


class Deepgram:
    """The checks. Once a step has failed, those after it are skipped."""

    def __init__(self, config: Config, *, key_missing: bool) -> None:
        self._config = config
        self._mock = config.asr.provider == "mock" and not key_missing
        url = urlsplit(config.deepgram.url)
        self._host, self._secure = url.hostname or "", url.scheme == "wss"
        self._port = url.port or (443 if self._secure else 80)

    @property
    def within_s(self) -> float:
        """The time that all steps together may take, in seconds."""
        return 2 * STEP_S + self._config.deepgram.connect_timeout_ms / 1000 + CLOSE_S

    async def reach(self, report: Report) -> None:
        """Check everything from the host's name to a handshake with the configured key and options."""
        if self._mock:
            report.ok("deepgram", "asr.provider is mock: nothing to reach")
            return
        if await self._network(report):
            await self._handshake(report)

    async def _network(self, report: Report) -> bool:
        name = f"{self._host}:{self._port}"
        try:
            with trio.fail_after(STEP_S):
                found = await trio.socket.getaddrinfo(self._host, self._port, type=trio.socket.SOCK_STREAM)
        except (OSError, trio.TooSlowError) as error:
            report.fail("dns", f"{self._host} has no address: {_words(error)}", "see deepgram.url")
            return False
        addresses = sorted({str(one[4][0]) for one in found})
        report.ok("dns", f"{self._host} is {', '.join(addresses[:4])}")
        try:
            with trio.fail_after(STEP_S):
                stream = await trio.open_tcp_stream(self._host, self._port)
        except (OSError, trio.TooSlowError) as error:
            report.fail("tcp", f"{name} cannot be reached: {_words(error)}", "is there a firewall?")
            return False
        async with stream:
            report.ok("tcp", f"{name} accepts connections")
            return not self._secure or await self._tls(report, stream)

    async def _tls(self, report: Report, stream: trio.SocketStream) -> bool:
        secured = trio.SSLStream(stream, context(), server_hostname=self._host, https_compatible=True)
        try:
            with trio.fail_after(STEP_S):
                await secured.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError) as error:
            cause = error.__cause__ or error
            report.fail("tls", f"{self._host}: {_words(cause)}", "a wrong clock? no root certificates?")
            return False
        certificate = secured.getpeercert()
        expires = certificate.get("notAfter", "") if certificate else ""
        left = (ssl.cert_time_to_seconds(str(expires)) - time.time()) / 86_400 if expires else 0.0
        report.ok("tls", f"{secured.version()}, the certificate is good for {left:.0f} days more")
        return True

    async def _handshake(self, report: Report) -> None:
        deepgram, fmt = self._config.deepgram, audio_format(self._config.interaction.default_sample_rate)
        if deepgram.api_key is None:
            report.fail("deepgram", "there is no API key to try", "set DEEPGRAM_API_KEY")
            return
        provider = DeepgramProvider(deepgram, deepgram.api_key)
        began = trio.current_time()
        try:
            async with provider.connect(fmt) as link:
                took_ms = (trio.current_time() - began) * 1000
                says = f"accepts the key, {deepgram.model} and all options, after {took_ms:.0f} ms; "
                report.ok("deepgram", f"{says}dg-request-id {link.request_id or 'none'}")
                await _say_goodbye(report, link)
        except ConnectFailed as failure:
            _refused(report, failure, deepgram)


async def _say_goodbye(report: Report, link: Link) -> None:
    """End the stream in order, and report an answer that is missing or unexpected."""
    with trio.move_on_after(CLOSE_S) as limit:
        try:
            await link.send_control(messages.CLOSE_STREAM)
            while True:
                await link.receive()
        except LinkClosed as closed:
            if closed.code != 1000:
                report.warn("deepgram", f"answers CloseStream by closing with {closed}")
    if limit.cancelled_caught:
        report.warn("deepgram", f"does not answer CloseStream within {CLOSE_S:g} s")


def _refused(report: Report, failure: ConnectFailed, deepgram: DeepgramConfig) -> None:
    if failure.status is None:
        report.fail("deepgram", f"no handshake: {failure.reason}", "is this Deepgram? see deepgram.url")
        return
    means = MEANS.get(failure.status, "")
    if failure.status >= 500:
        means = "trouble at Deepgram: it is tried again and again"
    says = f"refuses with HTTP {failure.status}, dg-error: {failure.reason or 'none'}"
    says += f", dg-request-id: {failure.request_id or 'none'} (model {deepgram.model})"
    report.fail("deepgram", says, means)


def _words(error: BaseException) -> str:
    if isinstance(error, trio.TooSlowError):
        return f"no answer within {STEP_S:g} s"
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(one) for one in error.exceptions)
    if isinstance(error, OSError) and error.__cause__ is not None and not error.strerror:
        return _words(error.__cause__)
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)

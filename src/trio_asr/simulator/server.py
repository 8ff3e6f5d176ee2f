"""The trio shell: accepts connections, shakes hands, and runs a session, with its faults, on each."""

from __future__ import annotations

import traceback
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_server_stream
from wsproto.utilities import LocalProtocolError

from trio_asr.simulator import handshake
from trio_asr.simulator.actions import Peer
from trio_asr.simulator.board import Board
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.engines import Ear, Engine
from trio_asr.simulator.faults import Faults, FaultsFor, refusal, with_query
from trio_asr.simulator.faulty import FaultyPeer
from trio_asr.simulator.ledger import ConnectionRecord, Ledger
from trio_asr.simulator.query import ListenQuery, Refused
from trio_asr.simulator.recut import RecutEar
from trio_asr.simulator.render import About
from trio_asr.simulator.served import Jobs, ServedConnection
from trio_asr.simulator.session import Session
from trio_asr.simulator.transcript import Timing
from trio_asr.simulator.wire import ModelInfo

if TYPE_CHECKING:
    import ssl

#: Seconds for the client to send its request.
_HANDSHAKE_S: Final = 10.0
#: Deepgram documents no largest message; this is a minute of 16 kHz audio.
_MAX_MESSAGE: Final = 2 * 1024 * 1024
_READ_SIZE: Final = 16 * 1024


@dataclass(frozen=True)
class SimulatorSettings:
    """The settings of a simulator. With `api_key` None any non-empty key is accepted.

    `faults_for` gives the faults of a connection by its index (from 0) and its query; without it the `board`
    does. With `query_faults` a client may add some with `extra=sim_<fault>:<value>`. `ledger` is what the
    simulator saw. Only the board and the ledger change.
    """

    engine: Engine = field(default_factory=EchoEngine)
    api_key: str | None = None
    timing: Timing = field(default_factory=Timing)
    faults_for: FaultsFor | None = None
    query_faults: bool = True
    board: Board = field(default_factory=Board)
    ledger: Ledger = field(default_factory=Ledger)

    @cached_property
    def jobs(self) -> Jobs:
        """The engine's threads, shared by all connections."""
        return Jobs(self.engine.threads)


async def serve(
    settings: SimulatorSettings,
    *,
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on TCP, or on TLS if there is a context, until cancelled; `nursery.start` returns the bound port.

    With port 0 and a host of several addresses each gets its own port; the first one is returned.

    Raises:
        OSError: The address cannot be bound.
    """
    serve_one = partial(handle, settings=settings)
    if ssl_context is None:
        plain = await trio.open_tcp_listeners(port, host=host)
        task_status.started(_port(plain[0]))  # they are listening already: nothing can fail any more
        await trio.serve_listeners(serve_one, plain)
    else:
        tls = await trio.open_ssl_over_tcp_listeners(port, ssl_context, host=host, https_compatible=True)
        task_status.started(_port(tls[0].transport_listener))
        await trio.serve_listeners(serve_one, tls)


def _port(listener: trio.abc.Listener[trio.SocketStream]) -> int:
    assert isinstance(listener, trio.SocketListener)
    port: int = listener.socket.getsockname()[1]
    return port


async def handle(stream: trio.abc.Stream, settings: SimulatorSettings) -> None:
    """Serve one connection on any stream, from the HTTP request on, and close the stream."""
    record = settings.ledger.begin(str(uuid.uuid4()), trio.current_time())
    try:
        async with trio.open_nursery() as nursery:
            if request := await _request(nursery, stream):
                await _answer(request, stream, settings, record)
            nursery.cancel_scope.cancel()
    except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
        pass  # the client went away, or sent nonsense: that ends this connection only
    except* Exception as errors:  # noqa: BLE001 - a bug over one connection is no end of the others
        traceback.print_exception(errors)
    finally:
        settings.ledger.ended(record, trio.current_time())
        await trio.aclose_forcefully(stream)


async def _request(nursery: trio.Nursery, stream: trio.abc.Stream) -> WebSocketRequest | None:
    """Return the client's request; None if none arrives in time."""
    with trio.move_on_after(_HANDSHAKE_S):
        return await wrap_server_stream(
            nursery, stream, max_message_size=_MAX_MESSAGE, receive_buffer_size=_READ_SIZE
        )
    return None


async def _answer(
    request: WebSocketRequest, stream: trio.abc.Stream, settings: SimulatorSettings, record: ConnectionRecord
) -> None:
    """Refuse the request, or accept it and serve the stream until it ends."""
    try:
        record.query = handshake.query_of(request.path)
        faults = (settings.faults_for or settings.board.faults_for)(record.index, record.query)
        if settings.query_faults:
            faults = with_query(faults, record.query)
        await trio.sleep(faults.handshake_delay_s)
        since_first = trio.current_time() - (settings.ledger.began or 0.0)
        if refused := refusal(faults, index=record.index, since_first=since_first):
            raise refused
        accepted = handshake.decide(
            request.path, request.headers, request.proposed_subprotocols, api_key=settings.api_key
        )
    except Refused as refused:
        record.status = refused.status
        headers, body = handshake.refusal(refused, record.request_id)
        await request.reject(refused.status, extra_headers=headers, body=body)
        return
    websocket = await request.accept(
        subprotocol=accepted.subprotocol, extra_headers=handshake.accept_headers(record.request_id)
    )
    now = trio.current_time()
    settings.ledger.accepted(record, now, accepted.query.bytes_per_s)
    peer = _peer(accepted.query, settings, faults, record, now)
    connection = ServedConnection(websocket, stream, peer, settings.jobs, record)
    with settings.board.open(record.index, connection):
        await connection.run()


def _peer(
    query: ListenQuery, settings: SimulatorSettings, faults: Faults, record: ConnectionRecord, now: float
) -> Peer:
    about = About(
        request_id=record.request_id,
        created=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        model=ModelInfo(name=query.model, version="simulator", arch=query.model.removesuffix("-general")),
        extra=query.extra,
    )
    ears = [_ear(settings.engine, query, faults, channel) for channel in range(query.transcripts)]
    session = Session(query, ears, about=about, now=now, timing=settings.timing)
    return FaultyPeer(session, faults, now=now) if faults.in_stream else session


def _ear(engine: Engine, query: ListenQuery, faults: Faults, channel: int) -> Ear:
    asked = query.for_ear()
    ear = engine.open(asked)
    return RecutEar(ear, asked, faults.cut_every_s) if faults.cut_every_s and faults.concern(channel) else ear

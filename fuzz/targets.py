"""The fuzz targets: arbitrary bytes, through the decoders and the code right behind them.

Each target takes bytes and raises if something is wrong. `fuzz/run.py` runs them under atheris, guided by
coverage, and `tests/test_fuzz.py` under hypothesis, so that every run of the suite covers them.
"""

from __future__ import annotations

import atexit
import base64
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import redis
import wsproto.events
from fuzz import peers
from wsproto.connection import Connection, ConnectionState, ConnectionType

from trio_asr.commands.check import report
from trio_asr.config import ConfigError, DeepgramConfig, Secret, load
from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.channel_results import Publishing
from trio_asr.core.outbox import Outbox
from trio_asr.core.reader_state import dead_letter
from trio_asr.core.results import ResultHandler
from trio_asr.deepgram.websocket import DeepgramProvider
from trio_asr.wire import frames, ids, messages
from trio_asr.wire import records as checkpoints
from trio_asr.wire.answer import MAX_REASON, Answer, Refused
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.codes import EndReason
from trio_asr.wire.entries import decode_end, decode_frame
from trio_asr.wire.frames import Frame, Junk
from trio_asr.wire.messages import Unknown
from trio_asr.wire.meta import BadMeta, read_meta
from trio_asr.wire.meter import Meter, Offence
from trio_asr.wire.records import Outcome, Stored, encode
from trio_asr.wire.transcripts import Topics

RATE = 8000
SECONDS = 10
CHUNK = RATE // 2
PIECE = b"\x00"  # between the fields of an entry


def frame_target(data: bytes) -> None:
    """Fuzz one entry of the audio stream; its first byte selects how the rest of `data` gets into it."""
    how, rest = data[:1], data[1:]
    if how == b"p":  # as the audio of a valid envelope: PCM, or a telephony event?
        audio = base64.b64encode(rest).decode()
        fields = [b"data", msgspec.json.encode({"interaction_id": "c", "seq": 1, "audio": audio})]
    elif how == b"f":  # as all fields of the entry
        fields = rest.split(PIECE)
    elif how == b"m":  # as MessagePack
        fields = [b"m", rest]
    else:
        fields = [b"data", data]
    try:
        frame = decode_frame(fields, RATE)
    except Junk as junk:
        letter = dead_letter("audio_stream", "1-1", fields, junk.kind, str(junk))
        encode(msgspec.structs.asdict(letter))
        assert len(letter.data) <= 4096
    else:
        _well_formed(frame)
        _appended(frame)
    try:
        end = decode_end(fields)
    except Junk:
        pass
    else:
        frames.check_id(end.interaction_id)
        encode({"id": end.interaction_id, "reason": end.reason})


def _well_formed(frame: Frame) -> None:
    frames.check_id(frame.interaction_id)
    assert frames.MIN_SAMPLE_RATE <= frame.sample_rate <= frames.MAX_SAMPLE_RATE
    assert len(frame.pcm) <= frames.MAX_ENTRY_BYTES
    assert len(frame.tenant_id) <= frames.MAX_ID_LENGTH
    assert frame.trace_id is None or len(frame.trace_id) <= frames.MAX_ID_LENGTH
    assert frame.position is None or 0 <= frame.position <= frames.MAX_POSITION
    assert frame.roles is None or len(frame.roles) == frame.format.channels
    with suppress(BadMeta):
        encode(read_meta(frame.meta))


def _appended(frame: Frame) -> None:
    """Check that a call takes the frame, and that what it publishes can be encoded."""
    call = _call()
    frame.entry = "1-1"
    call.receive([frame])
    assert 0 <= call.timeline.finalized <= call.timeline.received
    _drained(call.outbox)


def message_target(data: bytes) -> None:
    """Fuzz lines of `data` as Deepgram's messages, received in turn by a call in progress."""
    call = _call()
    call.receive([Frame("c", bytes(2 * RATE * SECONDS), RATE, 1, 20, "tenant", entry="1-1")])
    handler = ResultHandler(call.timeline, call.outbox, Publishing(call.connected("r"), "r", words=True))
    for line in data.split(b"\n")[:64]:
        chunk = call.timeline.take(CHUNK, 0.0)
        if chunk is not None:
            handler.clock.sending(chunk.start, chunk.end)
            handler.chunk_ends.append(chunk.end)
        before = call.timeline.finalized
        for message in (messages.decode(line), messages.decode(line.decode("utf-8", "replace"))):
            if not isinstance(message, Unknown):
                handler.handle(message)
        assert before <= call.timeline.finalized <= call.timeline.sent <= call.timeline.received
    handler.finish()
    _drained(call.outbox)


def _call() -> Call:
    return Call(Outbox("c", Topics("transcript.c", "asr_events", 1000), Stored()), Bounds(1000, 120.0))


def _drained(outbox: Outbox) -> None:
    """Check that everything queued can be committed, and that `seq` rises."""
    last = 0
    for _ in range(10_000):
        commit = outbox.next_commit(1_700_000_000_000)
        if commit is None:
            return
        for write in commit.writes:
            seq = msgspec.json.decode(write.data).get("seq", last)
            assert last <= seq
            last = seq
        outbox.settle(Outcome.APPLIED)
    raise AssertionError("the outbox is never empty")


def answer_target(data: bytes) -> None:
    """Fuzz an answer to a handshake to its end, in two pieces and in one."""
    cut = max(1, data[0]) if data else 1
    for pieces in ([data[1:]], [data[1:cut], data[cut:]]):
        refused = _answered([*filter(None, pieces), b""])
        if refused is not None:
            assert len(refused.reason) <= MAX_REASON
            assert refused.status is None or 100 <= refused.status <= 999


def _answered(pieces: list[bytes]) -> Refused | None:
    answer = Answer(b"key")
    try:
        for piece in pieces:
            if answer.take(piece) is not None:
                return None
    except Refused as refused:
        return refused
    raise AssertionError("an answer that ended is neither of the two")


def wire_target(data: bytes) -> None:
    """Fuzz incoming bytes, in pieces: whatever the guard passes, the library takes without an error."""
    meter, library = Meter(1000, 0.0), Connection(ConnectionType.CLIENT)
    size = 1 + data[0] % 7 if data else 1
    for at in range(1, len(data), size):
        piece = data[at : at + size]
        try:
            meter.take(piece, 0.0)
        except Offence:
            return
        if library.state is not ConnectionState.OPEN:
            return
        library.receive_data(piece)
        for event in library.events():
            assert not isinstance(event, wsproto.events.Message) or len(event.data) <= 1000


def entry_id_target(data: bytes) -> None:
    """Check that the key of an id orders as the id does, and converts back to it."""
    ms, seq = int.from_bytes(data[:6], "big"), int.from_bytes(data[6:14], "big")
    entry = f"{ms}-{seq}"
    assert ids.id_of(ids.key(entry)) == entry
    assert ids.key(ids.before(entry)) <= ids.key(entry)
    assert ids.key(ids.earlier(entry, 5000)) <= ids.key(entry)


PLANTED = "planted0123456789abcdefplanted0123456789"
_PLACES = (
    "", "[redis]\npass = '{}'\n", "[deepgram]\nkey = '{}'\n", "[deepgram]\napi_key_file = '{}'\n",
    "[http]\ntoken_file = '{}'\n", "[http]\ntoken = '{}'\n", "[redis]\nurl = 'redis://h?x={}'\n",
    "[deepgram]\nurl = 'wss://h/v1/listen?token={}'\n", "redis = 'redis://:{}@h'\n",
)  # fmt: skip
_FOLDER = Path(tempfile.mkdtemp(prefix="trio-asr-fuzz-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


def config_target(data: bytes) -> None:
    """Fuzz a configuration file, the text around a password in the URL of Redis, and the API key.

    It is accepted or refused, and no message about it shows a secret.
    """
    text, *more = data.split(PIECE)
    place = _PLACES[len(data) % len(_PLACES)].format(PLANTED)
    file = _FOLDER / "config.toml"
    file.write_bytes(place.encode() + text)
    before, after, key = ([one.decode("utf-8", "surrogateescape") for one in more] + ["", "", ""])[:3]
    env = {"DEEPGRAM_API_KEY": f"{key}{PLANTED}", "TRIO_ASR_HTTP_TOKEN": PLANTED, "JWT_PUBLIC_KEY": PLANTED}
    if more:
        env["REDIS_URL"] = f"redis://{before}{PLANTED}{after}@host:6379"
    for ingest in (False, True):
        try:
            loaded = load(file, env, ingest=ingest)
        except ConfigError as error:
            shown = str(error) or PLANTED  # a refusal never lacks a message
        else:
            shown = "\n".join([*report(loaded), *loaded.warnings, repr(loaded)])
            assert deepgram_url(loaded.config.deepgram.url)
            assert redis_url(loaded.config.redis.url)
        assert PLANTED not in shown


def deepgram_url(url: str) -> bool:
    """Return whether a link to Deepgram can be made with the URL."""
    parts = DeepgramProvider(DeepgramConfig(url=url), Secret("k")).target(audio_format(RATE))
    return parts.startswith("/") and parts.isascii() and urlsplit(url).port != 0


def redis_url(url: str) -> bool:
    """Return whether a Redis client can be made with the URL."""
    return redis.ConnectionPool.from_url(url).make_connection() is not None


def end_target(data: bytes) -> None:
    """Fuzz one entry of the stream of ends, as its one field and as all its fields."""
    for fields in ([b"data", data], data.split(PIECE)):
        try:
            end = decode_end(fields)
        except Junk as junk:
            letter = dead_letter("call_end", "1-1", fields, junk.kind, str(junk))
            encode(msgspec.structs.asdict(letter))
            assert len(letter.data) <= 4096
        else:
            frames.check_id(end.interaction_id)
            call = _call()
            call.end("1-1", EndReason.CALL_END)
            _drained(call.outbox)


def checkpoint_target(data: bytes) -> None:
    """Fuzz a stored state of a call or of the reader: it is `Unreadable`, or fit to resume from."""
    unreadable = checkpoints.Unreadable
    with suppress(unreadable):
        checkpoints.decode_reader(data)
    try:
        checkpoint = checkpoints.decode_checkpoint(data)
    except unreadable:
        return
    place = checkpoint.place
    assert 0 <= place.rate_from <= place.finalized
    assert 2 * place.finalized <= place.at
    ids.key(place.entry)
    call = Call(Outbox("c", Topics("transcript.c", "asr_events", 1000), Stored(1, data)), Bounds(1000, 120.0))
    after = ids.id_of(ids.key(place.entry) + 1)
    call.receive([Frame("c", bytes(320), RATE, 1, 20, "tenant", entry=after)])
    assert place.finalized <= call.timeline.finalized <= call.timeline.received
    _drained(call.outbox)


TARGETS = {
    "frames": frame_target,
    "ends": end_target,
    "messages": message_target,
    "checkpoints": checkpoint_target,
    "entry_ids": entry_id_target,
    "answers": answer_target,
    "wire": wire_target,
    "config": config_target,
    "handshakes": peers.handshake_target,
    "http": peers.http_target,
}

"""What a call begins with: a header of a WAVE file is left out, and everything else is audio, however cut."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.test_call import BOUNDS, arrival, begun, committed, restarted

from trio_asr.core.beginning import MOST_HELD
from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.outbox import Outbox
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.wire.codes import EndReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.transcripts import Topics

AUDIO = bytes(n % 250 + 1 for n in range(400))


def header(name: bytes = b"RIFF") -> bytes:
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16)
    return name + b"\xff\xff\xff\xffWAVE" + fmt + b"LIST\3\0\0\0abc\0" + b"data\xff\xff\xff\xff"


HEADER = header()


def cut(data: bytes, ends: Iterable[int]) -> list[Frame]:
    """The data as entries 1, 2, ... that end at these bytes, the last one at its end."""
    at, frames = 0, list[Frame]()
    for end in [*sorted(ends), len(data)]:
        frames.append(arrival(len(frames) + 1, seq=None, pcm=data[at:end]))
        at = end
    return frames


def audio(call: Call) -> bytes:
    return bytes(call.timeline._audio)


def heard(frames: list[Frame], bounds: Bounds = BOUNDS) -> Call:
    call = begun(bounds=bounds)
    for frame in frames:
        call.receive([frame])
    call.close()
    return call


@pytest.mark.parametrize("name", [b"RIFF", b"RF64"])
@pytest.mark.parametrize("end", range(len(HEADER) + 2))
def test_a_header_is_left_out_wherever_it_is_cut(end: int, name: bytes) -> None:
    result = ReceiveResult()
    call = begun()
    for frame in cut(header(name) + AUDIO, [end]):
        result = call.receive([frame])
        assert not audio(call).startswith(b"R")
    assert audio(call) == AUDIO
    assert not call.beginning
    assert result.header == (len(HEADER) if end < len(HEADER) else 0)


@given(st.lists(st.integers(0, len(HEADER)), max_size=60))
def test_a_header_in_pieces_of_any_size(ends: list[int]) -> None:
    assert audio(heard(cut(HEADER + AUDIO, ends))) == AUDIO


@given(
    st.integers(0, 12).map(lambda size: HEADER[:size]),
    st.binary(max_size=40).filter(lambda rest: rest[:1] not in b"RIFWAVE64\xff"),
    st.lists(st.integers(0, 12), max_size=14),
)
def test_what_only_begins_like_a_header_is_audio(begins: bytes, rest: bytes, ends: list[int]) -> None:
    """Nothing of it is lost, and nothing stays behind when the call ends."""
    data = begins[:11] + rest
    call = heard(cut(data, [end for end in ends if end < len(data)]))
    assert audio(call) == data
    assert not call.beginning


@pytest.mark.parametrize("size", range(1, 12))
def test_the_end_of_a_call_waits_for_no_header(size: int) -> None:
    call = begun()
    call.receive(cut(HEADER[:size], []))
    assert audio(call) == b""
    assert not call.begun
    assert (call.floor(), call.timeline.held_bytes) == ("1-0", size)  # a restart would need it
    assert call.close().accepted == 1
    assert audio(call) == HEADER[:size]
    call.end("2-0", EndReason.CLOSED)
    assert [event["event"] for event in committed(call)[1]] == ["started", "ended"]


def test_other_audio_waits_for_nothing() -> None:
    call = begun()
    call.receive([arrival(1, seq=None, pcm=b"\1")])
    assert audio(call) == b"\1"
    assert not call.beginning
    call = begun()
    call.receive([arrival(1, seq=None, pcm=b"")])
    assert call.announced


@pytest.mark.parametrize("data", [HEADER + AUDIO, HEADER[:11] + AUDIO])
@pytest.mark.parametrize("step", [1, 3, 11, 13, 40])
def test_a_restart_while_it_begins(data: bytes, step: int) -> None:
    """Another worker reads the same entries again, from the checkpoint's on."""
    frames = cut(data, range(step, 80, step))
    whole = AUDIO if data.startswith(HEADER) else data
    for read in range(1, len(frames)):
        call = begun()
        for frame in frames[:read]:
            call.receive([frame])
        committed(call)
        call = restarted(call) if call.outbox.stored.rev else begun()
        for frame in frames:
            call.receive([frame])
        call.close()
        assert audio(call) == whole, read


def test_a_call_that_goes_on_after_its_end_may_begin_with_a_header_again() -> None:
    call = heard(cut(HEADER + AUDIO, [5]))
    call.timeline.finalize(len(AUDIO) // 2)
    call.end("2-0", EndReason.CLOSED)
    committed(call)
    past = call.past()
    for first in (HEADER + AUDIO, AUDIO):
        again = Call(Outbox("call", Topics("t", "e", 100), call.outbox.stored), BOUNDS, past)
        for number, frame in enumerate(cut(first, [5]), 3):
            frame.entry = f"{number}-0"
            again.receive([frame])
        assert audio(again) == AUDIO


def test_a_stream_that_starts_over_has_nothing_wait() -> None:
    call = begun()
    call.receive(cut(HEADER[:5], []))
    call.forget_above("0-5")
    assert audio(call) == HEADER[:5]
    assert not call.beginning


def test_a_frame_with_a_position_does_not_wait() -> None:
    call = begun()
    for frame, position in zip(cut(HEADER + AUDIO, [4]), (0, 2), strict=True):
        frame.position = position
        call.receive([frame])
    assert audio(call) == HEADER + AUDIO


def test_what_waits_is_bounded_also_in_frames_without_audio() -> None:
    """A byte that could be a header's, and then nothing: neither memory nor the floor is held for ever."""
    call = begun()
    call.receive([arrival(1, seq=None, pcm=b"R")])
    for number in range(2, 5_000):
        call.receive([arrival(number, seq=None, pcm=b"")])
        assert len(call.beginning.frames) <= MOST_HELD
    call.receive([arrival(5_000, seq=None, pcm=AUDIO)])
    assert audio(call) == b"R" + AUDIO
    assert not call.beginning

"""Standard error whose reader stands still: what is kept, what is dropped, and that nobody waits."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.config import Secret
from trio_asr.telemetry import background, logs
from trio_asr.telemetry.background import BackgroundStream, LineQueue
from trio_asr.telemetry.metrics import Metrics

DEBUG, INFO, WARNING, ERROR = range(4)


def test_lines_come_out_in_their_order_whatever_their_levels() -> None:
    queue = LineQueue()
    for i, level in enumerate([ERROR, DEBUG, INFO, DEBUG, WARNING]):
        assert queue.put(level, b"%d" % i) == 0
    assert queue.take(3) == [b"0", b"1", b"2"]
    assert queue.take(100) == [b"3", b"4"]
    assert queue.take(100) == []
    assert (queue.bytes, len(queue)) == (0, 0)


def test_a_line_that_is_longer_than_a_piece_comes_alone() -> None:
    queue = LineQueue()
    queue.put(INFO, b"long line")
    queue.put(INFO, b"x")
    assert queue.take(3) == [b"long line"]


def test_lower_levels_give_way_to_higher_ones_the_latest_first() -> None:
    queue = LineQueue(max_lines=4)
    for level, line in ((INFO, b"i1"), (DEBUG, b"d1"), (DEBUG, b"d2"), (INFO, b"i2")):
        queue.put(level, line)
    assert queue.put(DEBUG, b"d3") == 1  # itself
    assert queue.put(ERROR, b"e1") == 1  # d2
    assert queue.put(WARNING, b"w1") == 1  # d1
    assert queue.put(INFO, b"i3") == 1  # itself
    assert queue.put(WARNING, b"w2") == 1  # i2
    assert queue.take(100) == [b"i1", b"e1", b"w1", b"w2"]


def test_one_large_line_may_take_the_place_of_several() -> None:
    queue = LineQueue(max_bytes=10)
    for _ in range(5):
        queue.put(DEBUG, b"dd")
    assert queue.put(ERROR, b"e" * 7) == 4
    assert queue.take(100) == [b"dd", b"e" * 7]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.booleans()), max_size=60))
def test_every_line_is_taken_in_order_or_counted_and_the_bounds_hold(
    steps: list[tuple[int, int, bool]],
) -> None:
    queue = LineQueue(max_bytes=40, max_lines=6)
    dropped, out = 0, []
    for i, (level, size, take) in enumerate(steps):
        dropped += queue.put(level, b"%03d" % i + b"x" * size)
        assert queue.bytes <= 40
        assert len(queue) <= 6
        if take:
            out += queue.take(12)
    while taken := queue.take(12):
        out += taken
    numbers = [int(line[:3]) for line in out]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) + dropped == len(steps)
    # An error goes only where there are nothing but errors.
    errors = {i for i, step in enumerate(steps) if step[0] == ERROR}
    if len(errors) <= 3:
        assert errors <= set(numbers)


@contextmanager
def pipe(*, full: bool = False) -> Iterator[tuple[int, int]]:
    """A pipe of 4 KB: reading end, writing end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    if full:
        os.write(writing, b"." * 4096)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def read_until(reading: int, words: str) -> str:
    text = ""
    while words not in text:
        text += os.read(reading, 4096).decode()
    return text


def test_lines_are_written_by_a_thread_in_their_order() -> None:
    with pipe() as (reading, writing):
        stream = BackgroundStream(writing)
        for i in range(1000):
            stream.put(logging.INFO, f"line {i}")
        text = read_until(reading, "line 999\n")
        assert text == "".join(f"line {i}\n" for i in range(1000))
        stream.close_soon()
        assert stream.dropped == 0


def test_a_reader_that_stands_still_holds_up_nobody_and_is_told_what_is_missing() -> None:
    with pipe(full=True) as (reading, writing):
        stream = BackgroundStream(writing, LineQueue(max_lines=10))
        for i in range(100):
            stream.put(logging.INFO, f"line {i}")
        stream.put(logging.ERROR, "an error")
        before = stream.dropped
        assert before >= 100 + 1 - 10 - 1 - 10  # some were on their way when it was full
        text, told = "", list[int]()
        while sum(told) < before:  # some may have been told of before the last came
            text += read_until(reading, "not read in time\n")
            told = [int(n) for n in re.findall(r"(\d+) lines were dropped", text)]
        text = text.lstrip(".")
        assert text.startswith("line 0\nline 1\n")
        assert "an error\n" in text
        assert sum(told) == before == stream.dropped
        assert text.count("line ") + before == 100
        stream.put(logging.INFO, "goes on")
        assert "goes on\n" in read_until(reading, "goes on\n")
        assert stream.dropped == before


def test_the_end_waits_for_what_is_queued_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe() as (reading, writing):
        stream = BackgroundStream(writing)
        stream.write("no line's end")
        stream.close_soon()
        assert os.read(reading, 100) == b"no line's end\n"
    monkeypatch.setattr(background, "FLUSH_S", 0.01)
    with pipe(full=True) as (reading, writing):
        stream = BackgroundStream(writing)
        stream.put(logging.ERROR, "x")
        stream.close_soon()  # comes back
        assert read_until(reading, "x\n").lstrip(".") == "x\n"


def test_a_descriptor_that_cannot_be_written_costs_lines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []
    answers = iter([3, OSError(errno.EIO, ""), OSError(errno.ENOSPC, ""), None])

    def write(_: int, data: memoryview) -> int:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        taken.append(bytes(data[:answer]))
        return len(taken[-1])

    with pipe() as (_, writing):
        stream = BackgroundStream(writing)
        monkeypatch.setattr(os, "write", write)
        for line in ("first", "second", "third"):
            stream.put(logging.INFO, line)
            stream.close_soon()
        assert taken == [b"fir", b"\nthird\n"]
        assert stream.dropped == 2


def test_no_reader_any_more_is_no_matter() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = BackgroundStream(writing)
    stream.put(logging.INFO, "x")
    stream.close_soon()
    assert stream.dropped == 1
    os.close(writing)


def test_a_descriptor_that_others_have_made_non_blocking_loses_nothing() -> None:
    with pipe(full=True) as (reading, writing):
        os.set_blocking(writing, False)
        stream = BackgroundStream(writing)
        for i in range(500):
            stream.put(logging.INFO, f"line {i}")
        text = read_until(reading, "line 499\n").lstrip(".")
        assert text == "".join(f"line {i}\n" for i in range(500))
        assert not os.get_blocking(writing)


def test_what_the_interpreter_writes_goes_the_same_way() -> None:
    with pipe() as (reading, writing):
        stream = BackgroundStream(writing)
        stream.mask = lambda text: text.replace("sesame", "***")
        print("Traceback", file=stream)
        print("  ValueError: ses", end="", file=stream)
        print("ame \ud800", file=stream)
        stream.flush()
        stream.close()
        assert read_until(reading, "\\ud800\n") == "Traceback\n  ValueError: *** \\ud800\n"
        assert stream.fileno() == writing
        assert not stream.isatty()
        assert stream.writable()


def test_a_text_without_an_end_is_cut() -> None:
    with pipe() as (reading, writing):
        stream = BackgroundStream(writing)
        for _ in range(3):
            stream.write("x" * 50_000)
        stream.write("end\n")
        text = read_until(reading, "end\n")
        assert len(text.split("\n")[0]) == background.MAX_LINE_BYTES


def test_many_threads_may_write() -> None:
    with pipe() as (reading, writing):
        stream = BackgroundStream(writing)

        def some(name: str) -> None:
            for i in range(200):
                stream.put(logging.WARNING, f"{name} {i}")

        threads = [threading.Thread(target=some, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        text = ""
        while text.count("\n") < 600:
            text += os.read(reading, 4096).decode()
        for name in "abc":
            mine = [line for line in text.splitlines() if line.startswith(name)]
            assert mine == [f"{name} {i}" for i in range(200)]


@contextmanager
def log_to_pipe() -> Iterator[tuple[int, BackgroundStream]]:
    """Not a fixture: pytest sets `sys.stderr` anew before each test."""
    with pipe(full=True) as (reading, writing):
        stream = BackgroundStream(writing, LineQueue(max_lines=4))
        with redirect_stderr(stream):
            logs.configure("debug", "json", secrets=[Secret("sesame-sesame")])
            yield reading, stream
    logs.configure("info", "json")


def test_the_log_drops_debug_first_and_says_so_in_a_line_like_others() -> None:
    with log_to_pipe() as (reading, stream):
        logger = logs.get("x")
        logger.info("it writes, and nobody reads")
        while len(stream._queue):
            time.sleep(0.001)
        for i in range(20):
            logger.debug("detail", number=i)
        for i in range(4):
            logger.error("sesame-sesame", number=i)
        assert logs.dropped() == stream.dropped == 20
        exposition = Metrics().exposition().decode()
        assert f"asr_log_lines_dropped_total {float(stream.dropped)}" in exposition
        text = read_until(reading, "were dropped").lstrip(".")
        while not text.endswith("\n"):
            text += os.read(reading, 4096).decode()
        told = [json.loads(line) for line in text.splitlines()]
        errors = [(line["event"], line["number"]) for line in told if line["level"] == "error"]
        assert errors == [("***", i) for i in range(4)]
        notice = next(line for line in told if "were dropped" in line["event"])
        assert notice["level"] == "warning"
        assert notice["lines"] == stream.dropped
        assert list(notice)[:3] == ["ts", "level", "event"]


def test_libraries_and_tracebacks_go_there_too() -> None:
    with log_to_pipe() as (reading, stream):
        logging.getLogger("hypercorn.error").error("odd")
        stream.write("Error: sesame-sesame\n")
        text = read_until(reading, "Error: ***\n")
        assert '"event":"odd"' in text


def test_a_stream_of_ones_own_is_written_at_once() -> None:
    with log_to_pipe() as (_, stream):
        own = io.StringIO()
        logs.configure("info", "json", stream=own)
        logs.get("x").info("here")
        assert "here" in own.getvalue()
        assert stream.dropped == 0

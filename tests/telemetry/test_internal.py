from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import trio_asr
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors, where
from trio_asr.telemetry.metrics import Metrics
from trio_asr.wire.codes import CaughtAt


def fail() -> None:
    raise ValueError("what a caller said")


def caught() -> ValueError:
    try:
        fail()
    except ValueError as error:
        return error
    raise AssertionError


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream)
    yield stream
    logs.configure("info", "json")


async def test_an_error_is_counted_and_logged_without_its_words(
    lines: io.StringIO, autojump_clock: object
) -> None:
    metrics = Metrics()
    internal = InternalErrors(metrics)
    for _ in range(3):
        internal.caught(CaughtAt.MESSAGE, caught(), interaction_id="17")
        await trio.sleep(1)
    assert metrics.internal_errors("message")._value.get() == 3
    assert metrics.last_error is not None
    assert metrics.last_error[0] == "internal"
    (line,) = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert (line["place"], line["error"]) == ("message", "ValueError")
    assert line["interaction_id"] == "17"
    assert "test_internal.py" in line["at"]
    assert "fail" in line["at"]
    assert "what a caller said" not in lines.getvalue()


def test_there_is_one_for_the_process() -> None:
    """With one per holder, each would have its own limit of lines, and its own memory of the last bug."""
    source = Path(trio_asr.__file__).parent
    makers = [path.name for path in source.rglob("*.py") if " = InternalErrors(" in path.read_text()]
    assert sorted(makers) == ["daemon.py", "gateway.py"]  # two processes


def test_where_looks_into_groups() -> None:
    assert where(ExceptionGroup("of a nursery", [caught()])).startswith("test_internal.py")

"""What a line holds, what it must not hold, and that a reload reaches loggers that exist."""

import base64
import io
import json
import logging
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus, urlencode

import pytest

from trio_asr.config import Secret
from trio_asr.telemetry import logs


@pytest.fixture(autouse=True)
def settings_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.configure("info", "json")
    root.handlers, root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(error: Exception) -> NoReturn:
    raise error


def to_json(level: logs.Level = "info", *secrets: str) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, "json", secrets=[Secret(text) for text in secrets], stream=stream)
    return stream


def test_json_has_time_level_event_first_and_then_the_fields() -> None:
    stream = to_json()
    logs.get("trio_asr.x").info("Creating new connection for 17", interaction_id="17", connection=1)
    (line,) = lines(stream)
    assert list(line) == ["ts", "level", "event", "logger", "interaction_id", "connection"]
    assert line["ts"].endswith("Z")
    assert (line["level"], line["event"], line["connection"]) == ("info", "Creating new connection for 17", 1)


def test_a_field_cannot_take_the_place_of_the_level() -> None:
    stream = to_json()
    logs.get("x").warning("event", level="fine", ts="never")
    assert lines(stream)[0]["level"] == "warning"


def test_bound_fields_are_on_every_line() -> None:
    stream = to_json()
    log = logs.get("x").bind(interaction_id="17")
    log.info("one")
    log.error("two", interaction_id="18")
    assert [line["interaction_id"] for line in lines(stream)] == ["17", "18"]


def test_the_level_can_change_under_loggers_that_are_bound() -> None:
    stream = to_json("warning")
    log = logs.get("x").bind(call=1)
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    logs.set_level("debug")
    log.debug("e")
    logs.set_level("error")
    log.warning("f")
    assert [line["event"] for line in lines(stream)] == ["c", "d", "e"]


def test_secrets_are_masked_wherever_they_stand() -> None:
    stream = to_json("info", 'key-"0123456789\\')
    secret = 'key-"0123456789\\'
    log = logs.get("x")
    event = f"dialling with {secret}"
    log.info(event, headers={"Authorization": f"Token {secret}"}, raw=[secret])
    try:
        fail(ValueError(secret))
    except ValueError as exc:
        log.exception("failed", error=exc)
    assert "0123456789" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 5
    assert len(lines(stream)) == 2


def test_secrets_are_masked_in_the_forms_that_texts_of_others_have() -> None:
    secret = "k\u00e9y/with+some=odd&characters"
    stream = to_json("info", secret, "plain-0123456789")
    forms = [
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), quote(secret, safe="").lower(),
        urlencode({"token": secret}),
    ]  # fmt: skip
    for before in ("", ":", "Token ", "user:", "xyz"):
        raw = f"{before}{secret}".encode()
        forms += [base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw + b"more").decode()]
    for form in forms:
        shown = logs.masked(f"before {form} after")
        assert "***" in shown
        assert shown.startswith("before ")
        assert shown.endswith(" after")
        # Of base64 what is shared with its neighbours may be left: less than one character of the secret.
        assert len(shown) <= len("before ***after") + len("Token user:more") * 4 // 3
        logs.get("x").info(form)
    assert logs.masked("plain-0123456789 plain") == "*** plain"
    assert "odd" not in stream.getvalue()
    assert all("***" in line["event"] for line in lines(stream))


def test_without_secrets_a_text_is_left_as_it_is() -> None:
    to_json()
    assert logs.masked("anything at all") == "anything at all"


def test_a_secret_that_is_a_word_does_not_blacken_the_log() -> None:
    stream = to_json("info", "a", "")
    logs.get("x").info("a banana")
    assert lines(stream)[0]["event"] == "a banana"


@pytest.mark.parametrize(
    "value", ["\ud800", {1: 2}, {(1, 2): 3}, object(), {3}, float("nan"), 1 << 80, b"\xff"]
)
def test_any_value_makes_a_line(value: object) -> None:
    stream = to_json()
    logs.get("x").info("event", value=value)
    assert lines(stream)[0]["event"] == "event"


def test_an_exception_is_told_with_its_traceback() -> None:
    stream = to_json()
    try:
        fail(ExceptionGroup("several", [ValueError("inner")]))
    except ExceptionGroup:
        logs.get("x").exception("Call failed", interaction_id="17")
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "ValueError: inner" in line["exception"]


def test_console_lines_are_for_people_and_harmless() -> None:
    stream = io.StringIO()
    logs.configure("debug", "console", stream=stream)
    logs.get("x").debug("Hello\x1b[2J", interaction_id="\x1b]0;evil\x07", n=1)
    try:
        fail(ValueError("oops"))
    except ValueError:
        logs.get("x").exception("failed")
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "Hello" in text
    assert "n=1" in text
    assert "ValueError: oops" in text


def test_libraries_that_use_the_standard_library_are_heard() -> None:
    stream = to_json()
    logging.getLogger("hypercorn.error").warning("odd %s", "thing")
    logging.getLogger("hypercorn.error").info("not interesting")
    try:
        fail(ValueError("oops"))
    except ValueError:
        logging.getLogger("quart").exception("failed")
    first, second = lines(stream)
    assert (first["event"], first["level"], first["logger"]) == ("odd thing", "warning", "hypercorn.error")
    assert "ValueError: oops" in second["exception"]
    logs.configure("info", "json", stream=stream)
    logging.getLogger("x").warning("once")
    assert len(lines(stream)) == 3


def test_a_broken_stream_stops_nothing() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    logs.configure("info", "json", stream=Full())
    logs.get("x").info("lost")
    closed = io.StringIO()
    closed.close()
    logs.configure("info", "json", stream=closed)
    logs.get("x").info("lost too")


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.get("x").info("here")
    assert json.loads(capsys.readouterr().err)["event"] == "here"


def test_rate_lets_one_through_per_interval_and_counts_the_others() -> None:
    rate = logs.Rate(5.0)
    assert [rate.allow(now) for now in (100.0, 101.0, 104.9)] == [True, False, False]
    assert rate.allow(105.0)
    assert rate.skipped == 2
    assert not rate.allow(109.0)
    assert rate.allow(110.5)
    assert rate.skipped == 1
    assert rate.allow(1000.0)
    assert rate.skipped == 0

"""Files of any kind and size: bounded in bytes, in time and in depth."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from tests.config.helpers import KEY, refused_file, refused_text

from trio_asr.config import load
from trio_asr.config.reading import MAX_DEPTH, MAX_PARTS, Unparsable, parse


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "[" * 100_000, "FILE: line 1 is nested more than 8 deep"),
        ("\nx = " + "{a=" * 50_000, "FILE: line 2 is nested more than 8 deep"),
        ("x = " + "9" * 5_000, "FILE: line 1 has a number or key of more than 200 characters"),
        ("x = 0x" + "f" * 5_000, "FILE: line 1 has a number or key of more than 200 characters"),
        (".".join(["a"] * 50_000) + " = 1", "FILE: line 1 has a key of more than 16 parts"),
        ("[" + " . ".join(['"a"'] * 30_000) + "]", "FILE: line 1 has a key of more than 16 parts"),
        ("x = {" + ".".join(["a"] * 50_000) + " = 1}", "FILE: line 1 has a key of more than 16 parts"),
        ('x = "' + '\\"' * 100_000, "FILE: is not valid TOML: Unterminated string"),
        ('x = """' + '\\"""' * 60_000, "FILE: is not valid TOML: Unterminated string"),
        ("x = 2026-13-01", "FILE: is not valid TOML: "),
        ("x = 1979-05-27T25:00:00", "FILE: is not valid TOML: "),
        (b"\xff\xfe", "FILE: is not valid TOML: invalid start byte at byte 0: UTF-8 is needed"),
        (b"\x00", "FILE: is not valid TOML: "),
        ('x = "\\ud800"', "FILE: is not valid TOML: "),
    ],
    ids=lambda value: str(value)[:20],
)
def test_text_that_is_no_configuration(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert refused_text(tmp_path, text).startswith(message)


def test_what_is_inside_texts_and_comments_does_not_count() -> None:
    marks = "[" * 50 + "." * 50
    for quoted in (
        f'"{marks}"',
        f"'{marks}'",
        f'"""{marks}\n"" \\""" "{marks}"""',
        f"'''{marks}\n''{marks}'''",
    ):
        parse(f"x = {quoted} # {marks}\ny = {quoted}\n".encode())


def test_the_bounds_are_where_they_are_said_to_be() -> None:
    parse(f"x = {'[' * MAX_DEPTH}{']' * MAX_DEPTH}".encode())
    parse(f"{'.'.join('a' * MAX_PARTS)} = 1".encode())
    for text in (f"x = {'[' * 9}{']' * 9}", f"{'.'.join('a' * 17)} = 1"):
        with pytest.raises(Unparsable):
            parse(text.encode())


def test_what_is_no_file_is_read_for_no_longer_than_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_asr.config.reading.READ_S", 0.01)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "nothing came within 0.01 s" in refused_file(fifo)
    writing = os.open(fifo, os.O_RDWR)  # somebody has it open and says nothing
    assert "nothing came within 0.01 s" in refused_file(fifo)
    os.close(writing)
    assert "Is a directory" in refused_file(tmp_path)
    assert "larger than" in refused_file(Path("/dev/zero"))
    assert "it is no file, and holds nothing" in refused_file(Path("/dev/null"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        assert "cannot be read" in refused_file(tmp_path / "socket")
    assert "cannot be read: no such name is possible" in refused_file(Path("/x\0y"))
    assert "cannot be read: File name too long" in refused_file(Path("/" + "x" * 5000))
    # The same for what holds a secret.
    assert f"{fifo}: the Deepgram API key cannot be read" in refused_text(
        tmp_path, f'[deepgram]\napi_key_file = "{fifo}"', {}
    )


def test_a_pipe_that_has_something_to_say_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    text = b'[log]\nlevel = "debug"\n' + b"# and more\n" * 10_000  # more than a pipe holds

    def say() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(text)

    thread = threading.Thread(target=say)
    thread.start()
    assert load(Path(f"/dev/fd/{reading}"), KEY).config.log.level == "debug"
    thread.join()
    os.close(reading)

"""What the tools are told: they refuse what the daemon refuses, in its words, before they begin."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from trio_asr.commands.feed import feed
from trio_asr.commands.smoke.command import smoke
from trio_asr.commands.watch import watch
from trio_asr.config import ConfigError, load
from trio_asr.samples import shipped_samples

PASSWORD = "hunter2secret"
AUDIO = str(shipped_samples()[0].audio)
TOOLS: dict[str, tuple[click.Command, list[str]]] = {
    "feed": (feed, [AUDIO]),
    "watch": (watch, []),
    "smoke": (smoke, []),
}


def refusal(command: click.Command, *arguments: str, code: int = 2) -> str:
    """What a command says that does not begin."""
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert "Playing" not in done.output
    return done.output


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}/x@127.0.0.1:1",
        f"redis://u:{PASSWORD}?x@127.0.0.1:1",
        f"redis://:{PASSWORD}#x@127.0.0.1:1",
        PASSWORD,
        "redis://h/0?foo=1",
        "redis://h/abc",
        "redis://h:99999",
        "http://h",
        "redis://h/0?db=x",
    ],
)
def test_a_url_is_refused_in_the_words_of_check(tool: str, url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {"REDIS_URL": url, "DEEPGRAM_API_KEY": "k"})
    (problem,) = refused.value.problems
    command, arguments = TOOLS[tool]
    said = refusal(command, *arguments, "--redis-url", url)
    assert problem.partition("redis.url = ")[2] in said
    assert PASSWORD not in said


def test_what_we_decide_about_the_connection_is_left_out_of_a_url(redis_url: str) -> None:
    done = CliRunner().invoke(
        feed, [AUDIO, "--speed", "1000", "--redis-url", f"{redis_url}?decode_responses=true&protocol=3"]
    )
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("tool", "option", "value", "says"),
    [
        ("feed", "--audio-stream", "", "1-200 characters, no blanks or braces"),
        ("feed", "--audio-stream", "a b", "1-200 characters, no blanks or braces"),
        ("feed", "--call-end-stream", "a{b}", "1-200 characters, no blanks or braces"),
        ("feed", "--group", "x{y}", "1-200 characters, no blanks or braces"),
        ("watch", "--group", "", "1-200 characters, no blanks or braces"),
        ("watch", "--events-stream", "a\udcff", "1-200 characters, no blanks or braces"),
        ("watch", "--transcript-stream", "{interaction_id}", "needs a text beside the id"),
        ("watch", "--transcript-stream", "a{interaction_id}{interaction_id}", "exactly once"),
        ("watch", "--transcript-stream", "all", "exactly once"),
        ("smoke", "--transcript-stream", "{interaction_id}", "needs a text beside the id"),
        ("smoke", "--audio-stream", "a b", "1-200 characters, no blanks or braces"),
    ],
)
def test_a_name_of_a_key_is_what_the_configuration_takes(
    tool: str, option: str, value: str, says: str
) -> None:
    command, arguments = TOOLS[tool]
    said = refusal(command, *arguments, option, value)
    assert f"redis.{option[2:].replace('-', '_').replace('group', 'consumer_group')} = " in said
    assert says in said


@pytest.mark.parametrize("interaction_id", ["a{b}", "\udcff", "x" * 257])
@pytest.mark.parametrize("shards", ["1", "4"])
def test_an_id_is_refused_before_its_shard_is_looked_for(
    interaction_id: str, shards: str, redis_url: str
) -> None:
    more = ["--redis-url", redis_url, "--shards", shards]
    assert "takes no such call" in refusal(watch, interaction_id, *more, code=1)
    assert "takes no such call" in refusal(feed, AUDIO, "--interaction", interaction_id, *more, code=1)


@pytest.fixture
def two_people(tmp_path: Path) -> Callable[[int], str]:
    def make(rate: int) -> str:
        path = tmp_path / "two.wav"
        with wave.open(str(path), "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(bytes(4 * rate * 6))
        return str(path)

    return make


@pytest.mark.parametrize(
    ("rate", "arguments", "says"),
    [
        (96000, ["--rate", "96000", "--frame-ms", "5000"], "the entry has 2560"),
        (8000, ["--roles", "ag\tent,customer"], "is not 1-64 printable characters"),
        (8000, ["--roles", f"{'x' * 65},customer"], "is not 1-64 printable characters"),
        (8000, ["--tenant", "t" * 300], "no tenant of 300 characters"),
        (8000, ["--tenant", "\udcff"], "not UTF-8"),
    ],
)
def test_a_call_that_would_be_a_dead_letter_is_not_played(
    two_people: Callable[[int], str], rate: int, arguments: list[str], says: str
) -> None:
    assert says in refusal(feed, two_people(rate), *arguments, code=1)


def test_what_smoke_plays_is_what_the_daemon_takes() -> None:
    assert "no tenant of 300 characters" in refusal(smoke, "--tenant", "t" * 300, code=1)

"""The keys: their defaults in the shipped file, and the page that documents them."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest
from tests.config.helpers import KEY, NOWHERE, TOKEN, load_text

from trio_asr.config import Config, RedisConfig, load, shown
from trio_asr.config.allowed import allowed_by, kind_of
from trio_asr.config.sections import ROUTES, keys, route_keys

ROOT = Path(__file__).parents[2]


def test_config_is_frozen() -> None:
    c = Config()
    with pytest.raises(AttributeError):
        c.flush.initial_ms = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        c.flush = c.flush  # type: ignore[misc]


def test_the_transcript_template_is_filled_by_replacing() -> None:
    redis = RedisConfig(transcript_stream="{t}.{interaction_id}")
    assert redis.transcript_key("{0}{interaction_id}%s") == "{t}.{0}{interaction_id}%s"


def documented() -> list[list[str]]:
    page = (ROOT / "docs/configuration.md").read_text()
    rows = [
        line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| `\w+(\.\w+)+` \|", line)
    ]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_page_lists_every_key_as_it_is() -> None:
    expected = {}
    for path, field in (*keys(), *route_keys()):
        default = "not set" if field.default is None else f"`{shown(path, field.default)}`"
        default = "required" if field.required else default
        expected[path] = [f"`{path}`", kind_of(field.type), default, allowed_by(field.type)]
    rows = {row[0].strip("`"): row[:4] for row in documented()}
    assert rows == expected
    assert [path for path in rows if not path.startswith(f"{ROUTES}.")] == [path for path, _ in keys()]
    assert [path for path in rows if path.startswith(f"{ROUTES}.")] == [path for path, _ in route_keys()]
    assert all(len(row) == 5 and row[4].endswith((".", ")")) for row in documented())


def test_the_shipped_file_holds_every_key_with_its_default() -> None:
    text = (ROOT / "config.toml").read_text()
    loaded = load(ROOT / "config.toml", KEY)
    assert loaded.config == load(None, KEY, system_file=NOWHERE).config
    document = tomllib.loads(text)
    for path, field in keys():
        section, name = path.split(".")
        assert (name in document[section]) == (field.default is not None)


def test_the_shipped_files_examples_are_allowed(tmp_path: Path) -> None:
    section, examples = "", []
    for line in (ROOT / "config.toml").read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]|# (\[\[ingest\.route\]\])", line):
            section = found[0].removeprefix("# ")
        elif found := re.fullmatch(r"# (\w+ = .+)", line):
            examples.append(f"{section}\n{found[1]}")
    assert len(examples) == sum(field.default is None for _, field in keys()) + len([*route_keys()])
    for example in examples:
        more = "\npunctuate = true" if "dictation" in example else ""
        if ROUTES in example:
            needed = ('path = "/"', 'platform = "generic"')
            more = "".join(f"\n{one}" for one in needed if f"\n{one[:6]}" not in example)
        load_text(tmp_path, example + more, KEY | TOKEN)


def test_every_key_of_the_file_has_a_comment() -> None:
    lines = (ROOT / "config.toml").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"(# )?\w+ = ", line):
            assert re.match(r"# .*[^,]$", before), line

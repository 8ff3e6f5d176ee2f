"""The codes: their published values, that no copy of them is in the source, and that they leave as text."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import trio_asr
from trio_asr.telemetry import labels, logs
from trio_asr.telemetry.metrics import Metrics
from trio_asr.wire import codes
from trio_asr.wire.codes import Code, EventName, Problem

SOURCE = Path(trio_asr.__file__).parent
# Who looks on from outside reads what was published, and compares it with its own idea of that.
OUTSIDE = {"lab", "simulator", "client", "commands"}
INSIDE = [path for path in sorted(SOURCE.rglob("*.py")) if path.relative_to(SOURCE).parts[0] not in OUTSIDE]
KINDS = Code.__subclasses__()
ALL = [code for kind in KINDS for code in kind]
# What takes a code, and the names under which one is passed or stored.
TAKERS = {
    "Junk", "abandon", "away", "begin", "begin_key", "broken_state", "caught", "close", "dead_letter",
    "dead_letters", "end", "errors", "event", "failed", "gap", "gaps", "gave_up", "give_up",
    "give_up_oldest", "give_up_until", "_give_up", "internal_errors", "report", "report_key", "resolve",
}  # fmt: skip
FIELDS = {"event", "kind", "place", "problem", "reason"}

PUBLISHED = {
    "EventName": "started resumed connection_opened connection_closed gap utterance_end speech_started "
    "search rate_changing checkpoint_broken ended",
    "GapReason": "retention memory rejected unanswered skipped source unpublished internal",
    "EndReason": "call_end idle other_tenant closed",
    "Problem": "redis lease commits deepgram foreign_consumer max_calls fleet keys",
    "Handover": "free given gave released lost",
    "ErrorKind": "internal trimmed input connect connection provider redis publish state",
    "DeadLetterKind": "no_data too_large json interaction_id sample_rate encoding channels roles audio "
    "internal",
    "StoredKind": "call reader live",
    "CaughtAt": "entry message call commit bus housekeeping checkpoint reload page",
}


def test_published_values_are_as_they_were() -> None:
    assert {kind.__name__ for kind in KINDS} == PUBLISHED.keys()
    for kind in KINDS:
        assert [code.replace(" ", "_") for code in kind] == PUBLISHED[kind.__name__].split()
    assert Problem.FOREIGN_CONSUMER.value == "foreign consumer"


def test_labels_are_the_codes() -> None:
    """A series that begins with 1 is no increase to Prometheus: the first of everything would be missed."""
    of: dict[str, type[Code]] = {
        "PROBLEMS": codes.Problem, "ERRORS": codes.ErrorKind, "STATES": codes.StoredKind,
        "GAPS": codes.GapReason, "DEAD_LETTERS": codes.DeadLetterKind, "PLACES": codes.CaughtAt,
        "HANDOVERS": codes.Handover,
    }  # fmt: skip
    for name, kind in of.items():
        assert set(getattr(labels, name)) == set(kind) - {Problem.KEYS}, name
        assert all(type(label) is str for label in getattr(labels, name))
    before = Metrics().exposition()
    metrics = Metrics()
    for gap in codes.GapReason:
        metrics.gaps(gap)
    for letter in codes.DeadLetterKind:
        metrics.dead_letters(letter)
    for place in codes.CaughtAt:
        metrics.internal_errors(place)
    for stored in codes.StoredKind:
        metrics.broken_states(stored)
    for error in codes.ErrorKind:
        metrics.errors(error)

    def names(text: bytes) -> list[str]:
        lines = text.decode().splitlines()
        return sorted(line.rpartition(" ")[0] for line in lines if line.startswith(("asr_", "deepgram_")))

    assert names(metrics.exposition()) == names(before), "a member and its value share a series"


@pytest.mark.parametrize("code", ALL, ids=lambda code: f"{type(code).__name__}.{code.name}")
def test_a_code_leaves_as_its_value(code: Code) -> None:
    value = code.value
    assert (str(code), f"{code}", repr(code), hash(code)) == (value, value, repr(value), hash(value))
    for document, plain in (({"a": code}, {"a": value}), ({code: 1}, {value: 1})):
        assert msgspec.json.encode(document) == msgspec.json.encode(plain)
        assert json.dumps(document) == json.dumps(plain)


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_a_code_is_logged_as_its_value(fmt: logs.Format) -> None:
    written = [io.StringIO(), io.StringIO()]
    try:
        for code in ALL:
            for stream, said in zip(written, (code, code.value), strict=True):
                logs.configure("info", fmt, stream=stream)
                logs.get("test").info(f"About {said}", reason=said, odd=[said], bad="\ud800")
                logs.get("test").info("About it", reason=said, odd={said: said})
    finally:
        logs.configure("info", "json")
    ours, plain = (_timeless(stream.getvalue()) for stream in written)
    assert ours == plain
    assert len(ours) == 2 * len(ALL)


def _timeless(text: str) -> list[str]:
    """Return the lines without the time: the first field of JSON, the first word of text."""
    return [
        line.partition(", " if line.startswith('{"ts": ') else "," if line.startswith("{") else " ")[2]
        for line in text.splitlines()
    ]


def _copies(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield each literal that stands where a code belongs."""
    for node in ast.walk(tree):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            found += [word.value for word in node.keywords if word.arg in FIELDS]
            found += [*node.args, *(word.value for word in node.keywords)] if name in TAKERS else []
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in FIELDS:
                    found.append(value)
        elif isinstance(node, ast.Compare):
            found += [node.left, *node.comparators]
        for one in found:
            parts = (one.body, one.orelse) if isinstance(one, ast.IfExp) else (one,)
            yield from (part for part in parts if isinstance(part, ast.Constant))


# Words that mean something else there: the names of a provider and of a format, in settings, and an answer of
# a protocol to its client.
ELSEWHERE = {
    ("config/loading.py", "deepgram"), ("config/rules.py", "deepgram"), ("telemetry/logs.py", "json"),
    ("ingest/dialects/generic.py", "started"),
}  # fmt: skip


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_code_is_written_out(path: Path) -> None:
    """A copy of a value would be known neither to the labels nor to who looks for where it comes from."""
    name, values = str(path.relative_to(SOURCE)), {code.value for code in ALL}
    literals = _copies(ast.parse(path.read_text()))
    copies = {(name, node.value) for node in literals if node.value in values}
    assert copies <= ELSEWHERE


def test_a_copy_is_found() -> None:
    source = """
self.failed("redis", now)
call.event("ended", reason=x)
event = {"event": "resumed" if resumed else "started"}
if item["event"] == "gap": pass
log.error("Audio given up", reason="internal")
"""
    found = [node.value for node in _copies(ast.parse(source))]
    assert {"redis", "ended", "resumed", "started", "gap", "internal"} <= set(found)


def test_event_names_are_words() -> None:
    assert all(name.isidentifier() for name in EventName)

"""The expected traces of one call. Pure. Each function returns what is wrong, one line for each thing."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from trio_asr.client.consumer import Event, Message

SLACK_MS = 100  # by which a final may end after the audio: the provider rounds
SERIES = re.compile(r"^(?:asr_|deepgram_)\w+(?:\{.*\})? \S+$")
BAD = (
    "Connection closed due to timeout (1011)",
    "Timeout waiting for transcript",
    "Buffer already processing",
)


def page(text: str) -> list[str]:
    """Check that a metrics page has our series."""
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if SERIES.match(line)}
    missing = [p for p in ("asr_", "deepgram_") if not any(name.startswith(p) for name in names)]
    return [f"no line begins with {prefix}" for prefix in missing]


def transcripts(messages: Sequence[Message], audio_ms: int) -> list[str]:
    """Check for finals with words, a rising `seq`, and times within the call's `audio_ms`."""
    finals = [message for message in messages if message.final]
    if not messages:
        return ["no transcript came"]
    wrong = [] if finals else [f"{len(messages)} partial transcripts, but no final"]
    seqs = [message.seq for message in messages]
    if any(later <= earlier for earlier, later in itertools.pairwise(seqs)) or seqs[0] < 1:
        wrong.append(f"seq does not rise from 1: {_some(seqs)}")
    if any(not message.text.strip() for message in messages):
        wrong.append("an empty text was published")
    spans = [(message.start_ms, message.end_ms) for message in messages]
    for start, end in spans:
        if start is None or end is None or not 0 <= start <= end <= audio_ms + SLACK_MS:
            wrong.append(f"times {start}..{end} ms are not within the call's {audio_ms} ms")
            break
    for channel in dict.fromkeys(message.channel for message in finals):  # each has its own order
        ends = [message.end_ms or 0 for message in finals if message.channel == channel]
        if ends != sorted(ends):
            wrong.append(f"finals are out of order: they end at {_some(ends)} ms")
    return wrong


def connections(messages: Sequence[Message], events: Sequence[Event]) -> list[str]:
    """Check that events and transcripts tell of exactly one connection."""
    opened = sum(event.event == "connection_opened" for event in events)
    named = sorted({message.connection for message in messages if message.connection is not None})
    wrong = []
    if opened != 1:
        wrong.append(f"{opened} connections were opened, not 1")
    if named != [1]:
        wrong.append(f"transcripts name the connections {named}, not 1 alone")
    return wrong


def log(lines: Sequence[str], interaction_id: str) -> list[str]:
    """Check the lines of this call for the phrases that operators search for."""
    ours = [line for line in lines if interaction_id in line]
    if not ours:
        return ["the log has no line of this call: is it the right log?"]
    wrong = []
    created = sum(f"Creating new connection for {interaction_id}" in line for line in ours)
    if created != 1:
        wrong.append(f"'Creating new connection' {created} times, not once")
    reused = f"Reusing existing connection for {interaction_id}"
    good = (reused, "Processing audio buffer", "Sending audio chunk")
    wrong += [f"{phrase!r} is missing" for phrase in good if not any(phrase in line for line in ours)]
    wrong += [f"{phrase!r} is there" for phrase in BAD if any(phrase in line for line in ours)]
    return wrong


def _some(numbers: Sequence[int]) -> str:
    text = ", ".join(str(number) for number in numbers[:12])
    return f"{text}, ..." if len(numbers) > 12 else text

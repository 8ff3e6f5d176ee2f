"""Transcripts on a screen: finals stay, each call's current interims are shown in grey below them.

If the output is not a terminal, every message is printed on a line of its own.

The people of a call on two channels are told apart by name and colour. Each line is shown when it comes, and
nobody's waits for the other's. People mostly finish in the order in which their finals come, so that this is
the order of the conversation. A line that comes late, after another one that ended later, says so.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.console import Console

    from trio_asr.client.consumer import Message

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
PEOPLE = ("bold cyan", "bold yellow")
"""The colours of two people, by channel."""
REFRESH_PER_S = 12
LABEL_WIDTH = 24
LATE_MS = 1000
"""By how much another person's line must have ended later for one to be late."""


class TranscriptView:
    """A context manager that shows transcripts; `show` takes each message as it arrives."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_S, transient=True)
        self._styles: dict[str, str] = {}
        self._next_colour = itertools.cycle(COLOURS)
        self._interims: dict[str, dict[int, Message]] = {}  # by call and channel
        self._said_until: dict[str, int] = {}  # where the finals shown of each call end, in ms
        self._width = 8
        self._who_width = 8

    def show(self, message: Message) -> None:
        """Show a message: print a final and end its person's interim, or replace the interim."""
        if not message.text.strip():
            return
        call, channel = message.interaction_id, message.channel or 0
        if not self.console.is_terminal:
            kind = "final  " if message.final else "interim"
            at, label, text = self._cells(message)
            self.console.print(Text("  ").join([at, label, Text(kind), text]), soft_wrap=True)
        elif message.final:
            interims = self._interims.get(call, {})
            interims.pop(channel, None)
            if not interims:
                self._interims.pop(call, None)
            self.console.print(self._rows([message]))
            self._draw()
        else:
            self._interims.setdefault(call, {})[channel] = message
            self._draw()
        if message.final:
            self._said_until[call] = max(self._said_until.get(call, 0), message.end_ms or 0)

    def note(self, text: str) -> None:
        """Print a line among the transcripts."""
        self.console.print(Text(text, style="dim"), soft_wrap=not self.console.is_terminal)

    def forget(self, interaction_id: str) -> None:
        """Drop the interims of a call that is over."""
        self._said_until.pop(interaction_id, None)
        if self._interims.pop(interaction_id, None):
            self._draw()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _draw(self) -> None:
        calls = self._interims.values()
        self._live.update(self._rows(call[channel] for call in calls for channel in sorted(call)))

    def _rows(self, messages: Iterable[Message]) -> Table:
        """Return a table, so that long text wraps in its own column and not below the names."""
        grid = Table.grid(padding=(0, 2))
        for message in messages:
            grid.add_row(*self._cells(message))
        return grid

    def _cells(self, message: Message) -> tuple[Text, Text, Text]:
        call = message.interaction_id
        if call not in self._styles:
            self._styles[call] = next(self._next_colour)
            self._width = max(self._width, min(LABEL_WIDTH, len(call)))
        at = "" if message.start_ms is None else f"{message.start_ms / 1000:.1f}s"
        label = printable(call)[:LABEL_WIDTH].ljust(self._width)
        style = "" if message.final else "bright_black"
        text = Text.assemble(self._who(message), (printable(message.text), style))
        return Text(f"{at:>8}", "dim"), Text(label, self._styles[call]), text

    def _who(self, message: Message) -> Text:
        """Return who says it, with a mark if it comes late; nothing for a call of one channel."""
        name = who(message)
        if name:
            self._who_width = max(self._who_width, len(name))
            name.pad_right(self._who_width - len(name) + 2)
            if self._is_late(message):
                name.append("(earlier) ", "dim")
        return name

    def _is_late(self, message: Message) -> bool:
        until = self._said_until.get(message.interaction_id, 0)
        return message.final and message.end_ms is not None and message.end_ms < until - LATE_MS


def who(message: Message) -> Text:
    """Return the name of who says it, in the person's colour; nothing for a call of one channel."""
    if message.channel is None:
        return Text()
    return Text(printable(message.who or "")[:LABEL_WIDTH], PEOPLE[message.channel % len(PEOPLE)])


def printable(text: str) -> str:
    """Replace characters that could control a terminal: the text comes from whoever writes to Redis."""
    return "".join(char if char.isprintable() else " " for char in text)

"""Transcripts on a screen: finals stay, each call's current interim is shown in grey below them.

If the output is not a terminal, every message is printed on a line of its own.
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
REFRESH_PER_S = 12
LABEL_WIDTH = 24


class TranscriptView:
    """A context manager that shows transcripts; `show` takes each message as it arrives."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_S, transient=True)
        self._styles: dict[str, str] = {}
        self._next_colour = itertools.cycle(COLOURS)
        self._interims: dict[str, Message] = {}
        self._width = 8

    def show(self, message: Message) -> None:
        """Show a message: print a final and end the call's interim, or replace the interim."""
        if not message.text.strip():
            return
        if not self.console.is_terminal:
            kind = "final  " if message.final else "interim"
            at, label, text = self._cells(message)
            self.console.print(Text("  ").join([at, label, Text(kind), text]), soft_wrap=True)
        elif message.final:
            self._interims.pop(message.interaction_id, None)
            self.console.print(self._rows([message]))
            self._draw()
        else:
            self._interims[message.interaction_id] = message
            self._draw()

    def note(self, text: str) -> None:
        """Print a line among the transcripts."""
        self.console.print(Text(text, style="dim"), soft_wrap=not self.console.is_terminal)

    def forget(self, interaction_id: str) -> None:
        """Drop the interim of a call that is over."""
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
        self._live.update(self._rows(self._interims.values()))

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
        return Text(f"{at:>8}", "dim"), Text(label, self._styles[call]), Text(printable(message.text), style)


def printable(text: str) -> str:
    """Replace characters that could control a terminal: the text comes from whoever writes to Redis."""
    return "".join(char if char.isprintable() else " " for char in text)

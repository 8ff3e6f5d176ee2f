"""Transcripts on a screen: finals stay, the interim that each call is at stands grey below them.

Where the output is no terminal, every message is a line of its own.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from trio_asr.tools.transcripts import Message

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
REFRESH_PER_S = 12
LABEL_WIDTH = 24


class TranscriptView:
    """A context manager; `show` takes each message as it comes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_S, transient=True)
        self._styles: dict[str, str] = {}
        self._next_colour = itertools.cycle(COLOURS)
        self._interims: dict[str, Message] = {}
        self._width = 8

    def show(self, message: Message) -> None:
        """A final is printed and ends the call's interim; an interim takes the place of the one before."""
        if not message.text.strip():
            return
        if not self.console.is_terminal:
            kind = "final  " if message.final else "interim"
            self.console.print(self._line(message, kind), soft_wrap=True)
        elif message.final:
            self._interims.pop(message.interaction_id, None)
            self.console.print(self._line(message))
            self._draw()
        else:
            self._interims[message.interaction_id] = message
            self._draw()

    def note(self, text: str) -> None:
        """A line beside the transcripts."""
        self.console.print(Text(text, style="dim"), soft_wrap=not self.console.is_terminal)

    def forget(self, interaction_id: str) -> None:
        """The call is over: what was interim stays unsaid."""
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
        self._live.update(Group(*(self._line(message) for message in self._interims.values())))

    def _line(self, message: Message, kind: str = "") -> Text:
        call = message.interaction_id
        if call not in self._styles:
            self._styles[call] = next(self._next_colour)
            self._width = max(self._width, min(LABEL_WIDTH, len(call)))
        at = "" if message.start_ms is None else f"{message.start_ms / 1000:.1f}s"
        label = printable(call)[:LABEL_WIDTH].ljust(self._width)
        line = Text.assemble((f"{at:>8}  ", "dim"), (label, self._styles[call]), "  ")
        if kind:
            line.append(f"{kind}  ", "dim")
        line.append(printable(message.text), "" if message.final else "bright_black")
        return line


def printable(text: str) -> str:
    """The text without what could steer a terminal: it comes from whoever writes to Redis."""
    return "".join(char if char.isprintable() else " " for char in text)

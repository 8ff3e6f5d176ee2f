"""Progress of what takes a moment: a spinner in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


@contextlib.contextmanager
def step(console: Console, doing: str) -> Iterator[None]:
    """Show `doing` while the block runs, and how long it took."""
    began = time.monotonic()
    if console.is_terminal:
        with console.status(Text(f"{doing} ...")):
            yield
    else:
        console.print(Text(f"{doing} ..."))
        yield
    console.print(Text.assemble(("done  ", "green"), doing, (f"  {time.monotonic() - began:.1f} s", "dim")))

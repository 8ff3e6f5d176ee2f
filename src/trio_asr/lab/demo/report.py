"""What the demo saw: counted while it runs, shown as a table when it is over."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trio_asr.client.consumer import Event, Message
from trio_asr.client.view import printable, who
from trio_asr.lab.demo.tables import plain_table
from trio_asr.lab.demo.wer import error_rate, words
from trio_asr.lab.rig.page import Page

HEADINGS = (
    "audio",
    "connec-\ntions",
    "interim",
    "final",
    "words",
    "errors",
    "delay of\ninterim",
    "delay of\nfinal",
)


@dataclass
class CallReport:
    """The record of one call: what was said, what was recognised, and when.

    `said` has a text for each channel; it is empty if that is not known.
    """

    interaction_id: str
    seconds: float
    said: tuple[str, ...] = ()
    connections: int = 0
    duration_ms: int | None = None
    ended: bool = False
    finals: list[Message] = field(default_factory=list)
    interims: int = 0
    interim_delays: list[float] = field(default_factory=list)
    final_delays: list[float] = field(default_factory=list)

    def take(self, item: Message | Event, now: float) -> None:
        """Count an item that came `now` seconds after the call's first sample was spoken."""
        if isinstance(item, Event):
            self.connections += item.event == "connection_opened"
            if item.event == "ended":
                self.ended = True
                self.duration_ms = item.duration_ms
            return
        # A result can only come after its last sample; how long after is the delay that a listener feels.
        delay = None if item.end_ms is None else now - item.end_ms / 1000
        if item.final:
            self.finals.append(item)
        else:
            self.interims += 1
        if delay is not None:
            (self.final_delays if item.final else self.interim_delays).append(delay)

    def heard(self, channel: int) -> str:
        """Return what was recognised on a channel."""
        return " ".join(final.text for final in self.finals if (final.channel or 0) == channel)

    @property
    def word_count(self) -> int:
        """The number of words recognised."""
        return sum(len(words(final.text)) for final in self.finals)

    @property
    def error_rate(self) -> float | None:
        """The word error rate against the known text; None for a recording without one."""
        texts = [(said, self.heard(channel)) for channel, said in enumerate(self.said)]
        return error_rate(*texts) if texts else None

    def conversation(self) -> Group | None:
        """Return what two people said, in the order in which they finished (None: there is one channel)."""
        lines = [final for final in self.finals if final.channel is not None]
        if not lines:
            return None
        table = Table.grid(padding=(0, 2))
        for line in sorted(lines, key=lambda one: (one.end_ms or 0, one.channel or 0)):
            table.add_row("", who(line), Text(printable(line.text)))
        return Group(Text(f"What was said in {self.interaction_id}", "bold"), table)

    def complaint(self) -> str | None:
        """Return what went wrong with this call, if anything did."""
        if not self.ended:
            return f"{self.interaction_id}: the call did not end"
        if self.connections != 1:
            return f"{self.interaction_id}: {self.connections} connections instead of one"
        if not all(self.heard(channel) for channel in range(len(self.said))):
            return f"{self.interaction_id}: nothing was recognised"
        return None


@dataclass
class Report:
    """The record of all calls of a demo."""

    calls: dict[str, CallReport]
    page: Page = field(default_factory=lambda: Page(""))

    def take(self, item: Message | Event, now: float) -> None:
        if call := self.calls.get(item.interaction_id):
            call.take(item, now)

    @property
    def all_ended(self) -> bool:
        return all(call.ended for call in self.calls.values())

    def complaints(self) -> list[str]:
        return [complaint for call in self.calls.values() if (complaint := call.complaint())]

    def table(self) -> Table:
        """Return a table with one row per call."""
        # Fits 80 columns, the width of output that is not a terminal.
        table = plain_table("What the calls came to")
        table.add_column("call", no_wrap=True, max_width=20)
        for heading in HEADINGS:
            table.add_column(heading, justify="right", no_wrap=True)
        for call in self.calls.values():
            rate = call.error_rate
            table.add_row(
                call.interaction_id,
                f"{call.seconds:.1f} s",
                str(call.connections),
                str(call.interims),
                str(len(call.finals)),
                str(call.word_count),
                "-" if rate is None else f"{rate:.0%}",
                _median(call.interim_delays),
                _median(call.final_delays),
            )
        return table

    def conversations(self) -> list[Group]:
        """Return what was said in each call of two people."""
        return [found for call in self.calls.values() if (found := call.conversation()) is not None]

    def footer(self) -> str:
        """Return what only the daemon's own counters know."""
        chunks = self.page.value("deepgram_audio_chunks_sent_total")
        frames = self.page.value("asr_audio_chunks_processed_total")
        sent = self.page.value("deepgram_audio_sent_seconds_total")
        return (
            f"The ingest put the calls on Redis in {frames:.0f} entries; the daemon sent them to Deepgram, "
            f"{sent:.1f} s of audio in {chunks:.0f} chunks. Delays are medians, from the moment the last "
            "sample of a result was spoken."
        )


def _median(delays: list[float]) -> str:
    return f"{statistics.median(delays):.2f} s" if delays else "-"

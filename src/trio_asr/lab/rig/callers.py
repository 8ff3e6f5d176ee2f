"""Calls of stamped audio that are placed at an ingest, as platforms place them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio

from trio_asr.client.audio import Recording
from trio_asr.lab.dial.caller import place
from trio_asr.lab.dial.line import Reach
from trio_asr.lab.dial.platforms import PLATFORMS
from trio_asr.lab.dial.report import Report
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.rig.legs import ROLES, stamped
from trio_asr.lab.rig.present import Present, fed
from trio_asr.lab.rig.spans import Span
from trio_asr.wire.audio_format import Format


@dataclass(frozen=True)
class DialledCall:
    """A call, and the number in the stamps of its first channel (see `legs`).

    It is placed `begin_s` after the callers began.
    """

    dial: Dial
    number: int
    begin_s: float = 0.0

    @property
    def id(self) -> str:
        """Its id on the stream, on routes without a prefix."""
        return self.dial.call

    @property
    def rate(self) -> int:
        """The sample rate in Hz."""
        return self.dial.recording.format.rate

    @property
    def samples(self) -> int:
        """The samples in each of its channels."""
        return len(self.dial.recording.audio) // self.dial.recording.format.width

    @property
    def present(self) -> Present:
        """All its samples. Clients of the generic protocol do not say who is on which channel."""
        roles = () if self.dial.platform == "generic" else ROLES
        return fed(self.number, self.samples, self.dial.recording.format, roles)

    def sent(self, report: Report) -> list[list[Span]]:
        """Return the stretches of samples that its sockets sent, by channel."""
        legs = PLATFORMS[self.dial.platform].TRAITS.legs
        return [report.sent(channel if legs else 0) for channel in range(self.dial.recording.format.channels)]


def dialled(number: int, form: Format, seconds: float, *, begin_s: float = 0.0, **dial: Any) -> DialledCall:
    """Return a call of `seconds` in a format that its platform has; `dial` are the other fields of `Dial`."""
    recording = Recording(stamped(form, number, 0, round(seconds * form.rate)), form)
    return DialledCall(Dial(recording=recording, **dial), number, begin_s)


class Callers:
    """Callers of several calls at once; `reports` has what became of each, by its id, once it is over."""

    def __init__(self, calls: Sequence[DialledCall], reach: Reach) -> None:
        self.calls = calls
        self.reports: dict[str, Report] = {}
        self._reach = reach

    async def run(self, *, task_status: trio.TaskStatus[float] = trio.TASK_STATUS_IGNORED) -> None:
        """Place the calls from now on; `nursery.start` returns the time of the first sample."""
        async with trio.open_nursery() as nursery:
            for call in self.calls:
                nursery.start_soon(self._place, call)
            task_status.started(trio.current_time())

    async def _place(self, call: DialledCall) -> None:
        await trio.sleep(call.begin_s)
        self.reports[call.id] = await place(call.dial, self._reach)

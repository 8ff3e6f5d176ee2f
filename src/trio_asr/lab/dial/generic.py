"""The generic protocol of `/v1/ingest`, as a recorder of one's own speaks it. Pure.

`start` with the call's id, its tenant and its format is answered with `started`. Then audio is sent in binary
messages of any size, which are counted from 1 and confirmed by `ack` now and then. A client whose connection
broke names the last message confirmed in `resume_from`, and goes on from there with what it has kept. There
is no end but that of the socket.
"""

from __future__ import annotations

import math

from trio_asr.lab.dial.frames import Frame
from trio_asr.lab.dial.platform import Message, Platform, Traits, decoded, encoded
from trio_asr.lab.dial.settings import Dial

STARTED_S = 10.0  # the longest wait for `started`
ENCODINGS = {"linear16": "pcm16", "mulaw": "mulaw", "alaw": "alaw"}


class Generic(Platform):
    """A connection of a client."""

    TRAITS = Traits(("linear16", "mulaw", "alaw"), range(4000, 96001), chunk_ms=20, channels=2)

    def __init__(self, dial: Dial, number: int = 1, previous: Platform | None = None) -> None:
        super().__init__(dial, number, previous)
        self.ready = False
        self.ends = [0]  # of the messages, in samples, by their number
        self._resumes = isinstance(previous, Generic) and previous.acked > 0
        if isinstance(previous, Generic):
            self.acked = previous.acked
            self.ends = previous.ends[: self.acked + 1]

    @property
    def unconfirmed(self) -> bool:
        """Whether the server has confirmed a part of the call, and not all of it."""
        return 0 < self.ends[self.acked] / self._form.rate < self._dial.recording.seconds

    def headers(self, wall: float, nonce: str) -> dict[str, str]:  # noqa: ARG002
        """Return the token of the bearer."""
        secret = self._dial.secret
        return {} if secret is None else {"Authorization": f"Bearer {secret.reveal()}"}

    def first_sample(self, at: int) -> int:
        """Return the first sample that was not confirmed, if any was; else `at`."""
        return self.ends[-1] if self._resumes else at

    def hello(self, now: float) -> list[Message]:
        """Return `start`."""
        self.alarm = now + STARTED_S
        dial, form = self._dial, self._form
        numbers = {"from": dial.caller, "to": dial.called}
        meta = {name: number for name, number in numbers.items() if number} | dict(dial.parameters)
        return [
            encoded(
                {
                    "event": "start",
                    "interaction_id": dial.call,
                    "tenant_id": dial.account,
                    "sample_rate": form.rate,
                    "encoding": ENCODINGS[form.encoding],
                }
                | ({"channels": form.channels} if form.channels > 1 else {})
                | ({"meta": meta} if meta else {})
                | ({"resume_from": self.acked} if self._resumes else {})
            )
        ]

    def media(self, frame: Frame) -> list[Message]:
        """Return the audio as it is."""
        self.ends.append(frame.first + frame.samples)
        return [frame.audio]

    def hear(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002
        """Take `started` and `ack`."""
        said = decoded(message)
        if said.get("event") == "started":
            self.ready, self.alarm = True, math.inf
        number = said.get("seq")
        if said.get("event") == "ack" and isinstance(number, int) and self.acked < number < len(self.ends):
            self.acked = number
        return []

    def tick(self, now: float) -> list[Message]:  # noqa: ARG002
        """Give up, as `started` did not come."""
        self.alarm, self.over, self.complaint = math.inf, True, "no started"
        return []

"""The calls of the demo: what is played, and which platform brings it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trio_asr.client.audio import Recording, load
from trio_asr.client.producer import usable_id
from trio_asr.lab.demo.two_people import SAMPLE, two_people
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.rig.legs import ROLES
from trio_asr.samples import shipped_samples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TWO_PEOPLE = "stereo"
"""The name of the call of two people."""
ONE_CHANNEL = ("generic", "exotel")
"""Who bring calls of one channel, in turn."""
TWO_TRACKS = "twilio"
"""Who brings those of two."""
TENANT = "demo"
HOPS = "caller =WebSocket=> ingest =Redis=> daemon =WebSocket=> Deepgram's stand-in"
_HOW = {
    "generic": "by the ingest's own protocol",
    "exotel": "as Exotel streams it",
    "twilio": "as Twilio streams both tracks of it",
}


@dataclass(frozen=True)
class Played:
    """A call to play, the platform that brings it, and the text of each channel if that is known."""

    name: str
    platform: str
    recording: Recording
    said: tuple[str, ...] = ()

    def dial(self, port: int) -> Dial:
        """Return what to ask of a caller, for an ingest on this port."""
        url = f"ws://127.0.0.1:{port}/{self.platform}"
        return Dial(self.platform, url, self.name, self.recording, account=TENANT)

    def how(self) -> str:
        """Return how the call comes, as a line for people."""
        each = ", each person on one" if self.recording.format.channels > 1 else ""
        return f"{self.name} comes {_HOW[self.platform]}{each}."


def choose(paths: Sequence[Path]) -> list[Played]:
    """Return the recordings named, each under its file's name.

    By default they are those of the package, one of them as a call of two people.

    Raises:
        AudioError: A recording cannot be used.
        CallRefused: The daemon would refuse a file's name as an id.
    """
    if not paths:
        samples = shipped_samples()
        mono = [(one.name, load(one.audio), (one.text,)) for one in samples if one.name != SAMPLE]
        return _brought([*mono, (TWO_PEOPLE, *two_people(samples))])
    taken: dict[str, int] = {}
    chosen = []
    for path in paths:
        taken[path.stem] = number = taken.get(path.stem, 0) + 1
        name = path.stem if number == 1 else f"{path.stem}-{number}"
        chosen.append((usable_id(name), load(path), ()))
    return _brought(chosen)


def routes() -> list[dict[str, Any]]:
    """Return the routes of an ingest that lets these calls in, from this machine alone."""
    common = {"auth": "none", "sources": ["127.0.0.1"], "tenant": TENANT}
    tracks = {"roles": dict(zip(("inbound", "outbound"), ROLES, strict=True))}
    return [
        {"path": f"/{platform}", "platform": platform, **common, **(tracks if platform == TWO_TRACKS else {})}
        for platform in (*ONE_CHANNEL, TWO_TRACKS)
    ]


def _brought(calls: Sequence[tuple[str, Recording, tuple[str, ...]]]) -> list[Played]:
    """Return the calls, each with a platform that can bring it."""
    in_turn = itertools.cycle(ONE_CHANNEL)
    return [
        Played(name, TWO_TRACKS if recording.format.channels > 1 else next(in_turn), recording, said)
        for name, recording, said in calls
    ]

"""Calls that come through the ingest: how platforms place them, and what became of them on the first hop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from trio_asr.lab.chaos.row import ChaosRun, Check, Finding, Row
from trio_asr.lab.dial.settings import Faults
from trio_asr.lab.rig.added import Added, added
from trio_asr.lab.rig.callers import Callers, DialledCall, dialled
from trio_asr.lab.rig.feeder import RATE, FedCall
from trio_asr.lab.rig.gateways import balanced
from trio_asr.lab.rig.legs import ROLES, number_of
from trio_asr.lab.rig.present import present
from trio_asr.lab.rig.run import Producer
from trio_asr.lab.rig.spans import Span, minus, size

NOT_SENT = "not sent"
NOT_STORED = "not stored"
MAX_SHIFT_MS = 20.0
NO_FAULTS = Faults()
LEGS = {
    "generic": (),
    "twilio": ("inbound", "outbound"),
    "exotel": (),
    "genesys": ("external", "internal"),
    "jambonz": ("left", "right"),
}
ROUTES = [
    {
        "path": f"/{platform}",
        "platform": platform,
        "auth": "none",
        "sources": ["127.0.0.0/8"],
        "tenant": "acme",
        "roles": dict(zip(legs, ROLES, strict=False)),
    }
    for platform, legs in LEGS.items()
]


@dataclass(frozen=True)
class IngestCall(FedCall):
    """A call that a platform places, with the fields of `Dial` that these rows use."""

    platform: str = "twilio"
    burst_ms: int | None = None
    reconnect_after_s: float | None = None
    faults: Faults = NO_FAULTS

    @property
    def dialled(self) -> DialledCall:
        """The call as it is placed."""
        return dialled(
            self.number,
            self.shape.format(self.rate),
            self.seconds,
            begin_s=self.begin_s,
            platform=self.platform,
            url=f"ws://127.0.0.1/{self.platform}",
            call=self.id,
            burst_ms=self.burst_ms,
            reconnect_after_s=self.reconnect_after_s,
            faults=self.faults,
        )


def gateways(*keys: Mapping[str, Any]) -> Callable[[ChaosRun], Awaitable[None]]:
    """Return what starts a gateway for each of these keys of `[ingest]`; the balancer prefers the first."""

    async def start(run: ChaosRun) -> None:
        run.front = [run.rig.gateway(ROUTES, **own) for own in keys]
        async with trio.open_nursery() as nursery:
            for gateway in run.front:
                nursery.start_soon(gateway.start_and_wait)

    return start


def placed(row: Row, run: ChaosRun, calls: Sequence[FedCall]) -> Producer:
    """Return callers that place the calls at the gateways."""
    del row
    run.callers = Callers(
        [call.dialled for call in calls if isinstance(call, IngestCall)], balanced(run.front)
    )
    return run.callers


def first_hop(finding: Finding) -> list[str]:
    """Check what the ingest made of the calls; see `judge_hop`."""
    return judge_hop(finding, added(finding.run.rig.valkey.url))


def judge_hop(finding: Finding, stream: Added) -> list[str]:
    """Check that no sample is on the stream twice, that each call has one end, and that nothing is shifted.

    What no socket sent, and what no gateway had stored, is not lost but given up, with these reasons: a row
    says whether that may be. An ingest can only tell when audio comes: how much longer a caller itself had
    kept the first of one socket than that of another is no shift.
    """
    callers, account = finding.run.callers, finding.account
    assert callers is not None
    broken = []
    for call in callers.calls:
        name, ends = call.id, stream.ends[call.id]
        if len(ends) != 1:
            broken.append(f"{name} has {len(ends)} ends: {ends}")
        found, report = account.calls[name], callers.reports[name]
        if not _resumes(call):
            ages = [one.age_s for one in report.sockets if one.sent]
            found.shift_ms = max(0.0, found.shift_ms - 1000 * (max(ages) - min(ages)))
        if found.shift_ms > MAX_SHIFT_MS:
            broken.append(f"{name} is shifted by {found.shift_ms:.0f} ms")
        if again := stream.again(name):
            broken.append(f"{name} is on the stream twice from position {again[0][0]} on")
        sent, stored = call.sent(report), _stored(finding, call)
        for channel, was_sent, was_stored in zip(found.channels, sent, stored, strict=True):
            for reason, spans in (
                (NOT_SENT, minus([(0, call.samples)], was_sent)),
                (NOT_STORED, minus(was_sent, was_stored)),
            ):
                if spans:
                    channel.gaps[reason] = size(spans)
                    channel.lost -= size(spans)
    return broken + [f"{one.name} has ended" for one in finding.run.front if not one.running]


def one_hole(most_unsaved_s: float) -> Check:
    """Return a check that what is missing lies between a call's two sockets, and is as long as that.

    Of what the first had sent, so many seconds may be missing besides.
    """

    def check(finding: Finding) -> list[str]:
        broken = first_hop(finding)
        callers = finding.run.callers
        assert callers is not None
        for call in callers.calls:
            first, second = callers.reports[call.id].sockets
            if _resumes(call):
                continue
            for channel, found in enumerate(finding.account.calls[call.id].channels):
                leg = channel if channel in first.sent else 0
                between = first.sent[leg][-1][1], second.sent[leg][0][0]
                if not _fits(found.missing, between, most_unsaved_s):
                    broken.append(f"{call.id}: missing {found.missing}, no socket had {between}")
        return broken

    return check


def _fits(missing: list[Span], between: Span, most_unsaved_s: float) -> bool:
    if not missing:
        return between[0] >= between[1]
    begin, end = missing[0][0], missing[-1][1]
    return len(missing) == 1 and end == between[1] and 0 <= between[0] - begin <= most_unsaved_s * RATE


def _resumes(call: DialledCall) -> bool:
    """Return whether a call's second socket goes on with what is not stored, wherever the call is."""
    return call.dial.platform == "generic" and call.dial.reconnect_after_s is not None


def _stored(finding: Finding, call: DialledCall) -> list[Sequence[Span]]:
    """Return the samples of each channel that are on the stream."""
    channels = present(finding.evidence.audio.get(call.id, ()), call.rate).channels
    return [
        channels[i].get(number_of(call.number, i), ()) if i < len(channels) else ()
        for i in range(call.dial.recording.format.channels)
    ]

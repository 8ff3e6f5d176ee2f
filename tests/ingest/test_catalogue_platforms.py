"""The catalogue for the platforms that came later: what each of them does beyond what Twilio does.

Calls are placed as the platforms do it, to the real server, on the autojump clock.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.ingest.gateway_harness import GatewayHarness, recording, run_gateway
from trio.testing import MockClock

from trio_asr.config import Route, Secret
from trio_asr.lab.dial.report import Outcome, Report
from trio_asr.lab.dial.settings import Dial, Faults
from trio_asr.wire.audio_format import Format, audio_format

TOKEN = "a-token-of-24-characters"
MULAW, ALAW, LINEAR = audio_format(8000, "mulaw"), audio_format(8000, "alaw"), audio_format(8000)
WIDE = audio_format(16_000)
BOTH, ALAW_BOTH, LINEAR_BOTH = (
    audio_format(8000, "mulaw", 2), audio_format(8000, "alaw", 2), audio_format(8000, channels=2),
)  # fmt: skip


def route(platform: str, **more: Any) -> Route:
    """Return a route with a token in its path."""
    name: Any = {"vobiz": "plivo"}.get(platform, platform)
    return Route(
        path="/x/{token}", platform=name, auth="path", tenant="acme", secrets={"token": Secret(TOKEN)}, **more
    )  # fmt: skip


async def dialled(on: GatewayHarness, platform: str, fmt: Format, **faults: Any) -> tuple[Report, bytes]:
    """Place a call of three seconds; return what became of it, and its audio."""
    played = recording(3, fmt)
    report = await on.place(
        Dial(platform, f"ws://gateway/x/{TOKEN}", "c-1", played, faults=Faults(**faults))
    )  # fmt: skip
    await trio.sleep(5)
    return report, played.audio


CALLS = [
    ("telnyx", BOTH, "stop"),
    ("telnyx", ALAW_BOTH, "stop"),
    ("plivo", MULAW, "disconnected"),
    ("plivo", LINEAR_BOTH, "disconnected"),
    ("plivo", WIDE, "disconnected"),
    ("vobiz", MULAW, "disconnected"),
    ("smartflo", MULAW, "The caller disconnected the call"),
    ("ozonetel", LINEAR, "stop"),
    ("vonage", WIDE, "disconnected"),
    ("knowlarity", WIDE, "disconnected"),
    ("asterisk", MULAW, "disconnected"),
    ("asterisk", ALAW, "disconnected"),
    ("asterisk", audio_format(48_000), "disconnected"),
]


@pytest.mark.parametrize(("platform", "fmt", "end"), CALLS)
async def test_a_call_is_on_the_stream_once_and_whole(
    platform: str, fmt: Format, end: str, autojump_clock: MockClock
) -> None:
    async with run_gateway(route(platform)) as on:
        report, audio = await dialled(on, platform, fmt)
        assert report.sockets[0].outcome is Outcome.FINISHED
        assert on.audio("c-1", fmt.silence) == audio
        assert on.ends("c-1") == [end]


@pytest.mark.parametrize(
    ("platform", "fmt"),
    [("telnyx", BOTH), ("plivo", MULAW), ("vobiz", MULAW), ("smartflo", MULAW), ("ozonetel", LINEAR),
     ("vonage", WIDE), ("knowlarity", WIDE), ("asterisk", ALAW)],
)  # fmt: skip
async def test_2_media_before_the_start(platform: str, fmt: Format, autojump_clock: MockClock) -> None:
    async with run_gateway(route(platform)) as on:
        _, audio = await dialled(on, platform, fmt, media_before_start=True)
        assert on.audio("c-1", fmt.silence) == audio
        name = {"vobiz": "plivo"}.get(platform, platform)
        assert on.count("ingest_odd_messages_total", platform=name, kind="early") > 0


@pytest.mark.parametrize(("platform", "fmt", "end"), CALLS)
async def test_3_no_stop(platform: str, fmt: Format, end: str, autojump_clock: MockClock) -> None:
    async with run_gateway(route(platform)) as on:
        _, audio = await dialled(on, platform, fmt, no_stop=True)
        assert on.audio("c-1", fmt.silence) == audio
        assert on.ends("c-1") == ["disconnected"]


@pytest.mark.parametrize("platform", ["plivo", "smartflo", "telnyx"])
async def test_5_audio_that_never_came_is_a_hole(platform: str, autojump_clock: MockClock) -> None:
    fmt = BOTH if platform == "telnyx" else MULAW
    async with run_gateway(route(platform)) as on:
        _, audio = await dialled(on, platform, fmt, lose=(1.0, 500))
        begin, end = fmt.bytes_per_s, fmt.bytes_per_s * 3 // 2
        assert on.audio("c-1", fmt.silence) == audio[:begin] + b"\xff" * (end - begin) + audio[end:]
        assert on.count("ingest_hole_seconds_total", platform=platform) == pytest.approx(0.5 * fmt.channels)


@pytest.mark.parametrize("platform", ["plivo", "smartflo", "telnyx"])
async def test_6_a_clock_that_goes_back_leaves_no_hole(platform: str, autojump_clock: MockClock) -> None:
    fmt = BOTH if platform == "telnyx" else MULAW
    async with run_gateway(route(platform)) as on:
        _, audio = await dialled(on, platform, fmt, clock_jump=(1.0, -5000))
        assert on.audio("c-1", fmt.silence) == audio
        assert on.count("ingest_clock_restarts_total", platform=platform) == fmt.channels


@pytest.mark.parametrize("fmt", [BOTH, ALAW_BOTH])
@pytest.mark.parametrize("seed", range(5))
async def test_7_telnyx_messages_out_of_order_and_twice(
    seed: int, fmt: Format, autojump_clock: MockClock
) -> None:
    async with run_gateway(route("telnyx")) as on:
        _, audio = await dialled(on, "telnyx", fmt, reordered=True, repeated=True, seed=seed)
        assert on.audio("c-1", fmt.silence) == audio
        assert on.count("ingest_repeats_total", platform="telnyx") > 0


async def test_one_track_where_two_are_expected_costs_a_silent_channel_and_no_sample(
    autojump_clock: MockClock,
) -> None:
    async with run_gateway(route("telnyx")) as on:
        _, audio = await dialled(on, "telnyx", MULAW)
        both = on.audio("c-1", BOTH.silence)
        assert (both[::2], both[1::2]) == (audio, b"\xff" * len(audio))

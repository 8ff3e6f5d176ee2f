"""The steps of a smoke test. The run ends early at a failed step that later ones depend on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import trio

from trio_asr.client.consumer import PLACEHOLDER, Event, Message
from trio_asr.client.producer import Call, Source, play
from trio_asr.client.redis import RedisFailure, data, redis_failure
from trio_asr.commands.doctor.findings import Report
from trio_asr.commands.smoke import judge
from trio_asr.commands.smoke.ingest import Ingest

POLL_S = 0.25
END_S = 20.0  # from the last frame to the `ended` event: the grace, and the provider's time to close
LOG_S = 2.0


@dataclass(frozen=True)
class Target:
    """Where the call goes: its streams, the daemon's log, and the ingest if it begins there."""

    source: Source
    transcript_stream: str
    events_stream: str
    log: Path | None = None
    journal: str | None = None
    ingest: Ingest | None = None

    def transcript_key(self, interaction_id: str) -> str:
        """Return the name of a call's transcript stream."""
        return self.transcript_stream.replace(PLACEHOLDER, interaction_id)


class Smoke:
    """One run, with one call, whose audio is the first `audio_ms` of the file `audio`."""

    def __init__(
        self, target: Target, call: Call, audio: Path, audio_ms: int, report: Report, *, provider: str
    ) -> None:
        self.messages: list[Message] = []
        self.events: list[Event] = []
        self._target, self._call, self._report = target, call, report
        self._audio, self._audio_ms = audio, audio_ms
        self._since = time.time()
        self._log_from = 0
        self._provider = provider

    async def run(self) -> None:
        """Run all steps, and report on each. What a step expects to fail is a finding, not an exception."""
        if self._target.log is not None and self._target.log.exists():
            self._log_from = self._target.log.stat().st_size
        ingest = self._target.ingest
        if not await (self._play() if ingest is None else self._place(ingest)):
            return
        await self._hear()
        self._judge("transcripts", judge.transcripts(self.messages, self._audio_ms), self._heard())
        if self.messages:
            self._judge("connection", judge.connections(self.messages, self.events), self._connected())
        await self._read_log()

    def _judge(self, step: str, wrong: Sequence[str], otherwise: str) -> None:
        for line in wrong:
            self._report.fail(step, line)
        if not wrong:
            self._report.ok(step, otherwise)

    async def _place(self, ingest: Ingest) -> bool:
        # The route puts its prefix before what the platform calls the call.
        name = self._call.interaction_id.removeprefix(ingest.id_prefix)
        taken, says = await ingest.place(name, self._audio, self._audio_ms / 1000)
        if not taken:
            self._report.fail("call", says, "see the ingest's log, and its route")
        else:
            self._report.ok("call", f"{says}, as {ingest.platform}")
        return taken

    async def _play(self) -> bool:
        frames = self._call.frame_count(self._target.source.frame_ms)
        try:
            await play(self._target.source, [self._call])
        except RedisFailure as error:
            self._report.fail("call", str(error))
            return False
        says = (
            f"{self._call.interaction_id}: {frames} frames, {self._audio_ms / 1000:.1f} s, and its call_end"
        )
        self._report.ok("call", says)
        return True

    async def _hear(self) -> None:
        """Read transcripts and events until the call has ended, for at most `END_S` seconds."""
        with trio.move_on_after(END_S):
            while True:
                try:
                    await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
                except RedisFailure as error:
                    self._report.fail("transcripts", str(error))
                    return
                if any(event.event == "ended" for event in self.events):
                    return
                await trio.sleep(POLL_S)
        self._report.fail("call", f"it did not end within {END_S:g} s of its call_end")

    def _read(self) -> None:
        target, source = self._target, self._target.source
        since = f"{int(self._since * 1000) - 60_000}-0"  # clocks may differ
        with source.connect() as client, redis_failure(source.redis_url):
            said = data(client, target.transcript_key(self._call.interaction_id))
            events = data(client, target.events_stream, since)
        self.messages = [one for each in said if (one := _decoded(each, Message)) is not None]
        found = [one for each in events if (one := _decoded(each, Event)) is not None]
        self.events = [event for event in found if event.interaction_id == self._call.interaction_id]

    def _heard(self) -> str:
        finals = [message for message in self.messages if message.final]
        text = " ".join(message.text for message in finals)
        counts = f"{len(self.messages)}, {len(finals)} of them final"
        return f"{counts}, seq and times as they should be: {text[:60]!r}"

    def _connected(self) -> str:
        if self._provider == "mock":
            return "provider mock: no connection to Deepgram is expected; one made-up one, as it should be"
        return "exactly one"

    async def _read_log(self) -> None:
        target = self._target
        if target.log is None and target.journal is None:
            return
        await trio.sleep(LOG_S)  # lines arrive a little later through a pipe or a journal
        try:
            lines = await self._lines()
        except OSError as error:
            self._report.fail("log", str(error))
            return
        self._judge("log", judge.log(lines, self._call.interaction_id), "good phrases there, bad ones not")

    async def _lines(self) -> list[str]:
        if self._target.log is not None:
            return await trio.to_thread.run_sync(_tail, self._target.log, self._log_from)
        program = shutil.which("journalctl")
        if program is None:
            raise OSError("there is no journalctl here")
        since = f"@{int(self._since) - 1}"
        command = [program, "-u", str(self._target.journal), "--since", since, "-o", "cat", "--no-pager"]
        done = await trio.run_process(command, capture_stdout=True, check=False)
        return done.stdout.decode(errors="replace").splitlines()


def cleanup(target: Target, interaction_id: str) -> None:
    """Delete the transcripts of a smoke call. Blocks.

    Raises:
        RedisFailure: Redis is not reachable, or refuses.
    """
    with target.source.connect() as client, redis_failure(target.source.redis_url):
        client.delete(target.transcript_key(interaction_id))


def _decoded(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _tail(path: Path, start: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(start if path.stat().st_size >= start else 0)  # the log may have been rotated
        return file.read().decode(errors="replace").splitlines()

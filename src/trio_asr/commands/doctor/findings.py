"""Findings, and the runner of checks: each has a time limit, and none can stop the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import trio

from trio_asr.config import Secret
from trio_asr.config.secrets import MASK

SHORTEST_SECRET = 6  # characters; a shorter one may be a word of the findings themselves


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


class Finding(NamedTuple):
    """What was checked, what was found, and advice where the remedy is not obvious."""

    level: Level
    check: str
    says: str
    advice: str = ""


class Report:
    """The collector of one check's findings. Each is passed to `show` at once, with `secrets` masked."""

    def __init__(self, show: Callable[[Finding], None], secrets: Sequence[Secret] = ()) -> None:
        self._show = show
        self._needles = [s.reveal() for s in secrets if len(s.reveal()) >= SHORTEST_SECRET]
        self.closed = False
        self.failed = False

    def ok(self, check: str, says: str) -> None:
        """Report that something is as it should be."""
        self._add(Finding(Level.OK, check, says))

    def warn(self, check: str, says: str, advice: str = "") -> None:
        """Report something doubtful, which does not fail the check."""
        self._add(Finding(Level.WARN, check, says, advice))

    def fail(self, check: str, says: str, advice: str = "") -> None:
        """Report a failure."""
        self._add(Finding(Level.FAIL, check, says, advice))

    def _add(self, finding: Finding) -> None:
        if self.closed:
            return  # from a thread that was abandoned
        self.failed = self.failed or finding.level is Level.FAIL
        self._show(finding._replace(says=self._safe(finding.says), advice=self._safe(finding.advice)))

    def _safe(self, text: str) -> str:
        """Return `text` as one printable line with secrets masked."""
        for needle in self._needles:
            text = text.replace(needle, MASK)
        return "".join(char if char.isprintable() else " " for char in text)


MOST = 8  # findings, or things that are named in one


class Alike:
    """Findings about many things of a kind. What is told of several is told once, with their names."""

    def __init__(self) -> None:
        self._found: dict[Finding, list[str]] = {}

    def report(self, name: str) -> Report:
        """Return what collects the findings about one of them; what is well is not kept."""

        def note(finding: Finding) -> None:
            if finding.level is not Level.OK:
                self._found.setdefault(finding, []).append(name)

        return Report(note)

    def tell(self, report: Report, check: str, named: Callable[[list[str]], str], otherwise: str) -> None:
        """Report them; without any, that all is well. `named` makes a text of names."""
        for finding, names in [*self._found.items()][:MOST]:
            tell = report.fail if finding.level is Level.FAIL else report.warn
            tell(finding.check, f"{named(names)}: {finding.says}", finding.advice)
        if len(self._found) > MOST:
            report.warn(check, f"and {len(self._found) - MOST} findings more")
        if not self._found:
            report.ok(check, otherwise)


class Check(NamedTuple):
    """A named check, and its time limit in seconds."""

    name: str
    run: Callable[[Report], Awaitable[None]]
    within_s: float = 5.0


async def run_checks(
    checks: Sequence[Check], show: Callable[[Finding], None], secrets: Sequence[Secret] = ()
) -> bool:
    """Run all checks, one after the other; return whether none failed. An exception is a failed check."""
    passed = True
    for check in checks:
        report = Report(show, secrets)
        with trio.move_on_after(check.within_s) as limit:
            try:
                await check.run(report)
            except Exception as error:  # noqa: BLE001 (a check that breaks is a finding, too)
                report.fail(check.name, f"could not be checked: {type(error).__name__}: {error}")
        if limit.cancelled_caught:
            report.fail(check.name, f"took longer than {check.within_s:g} s")
        report.closed = True
        passed = passed and not report.failed
    return passed


def threaded(job: Callable[[Report], None]) -> Callable[[Report], Awaitable[None]]:
    """Return a check that runs a blocking function in a thread, which is abandoned when the time is up."""

    async def run(report: Report) -> None:
        await trio.to_thread.run_sync(job, report, abandon_on_cancel=True)

    return run

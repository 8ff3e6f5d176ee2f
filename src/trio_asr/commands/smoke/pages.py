"""What a deployment's pages say, before a call is played."""

from __future__ import annotations

import json

import trio

from trio_asr.client.http import NoAnswer, ask
from trio_asr.commands.doctor.findings import Report
from trio_asr.commands.smoke import judge
from trio_asr.commands.smoke.ingest import Ingest

HTTP_S = 5.0


class Pages:
    """The pages of a worker at `url`, and of an ingest. A member of a fleet may stand by: others work."""

    def __init__(self, url: str, ingest: Ingest | None, report: Report, *, in_fleet: bool) -> None:
        self.provider = ""
        self._url, self._ingest, self._report = url, ingest, report
        self._roles = (None, "active", "standby") if in_fleet else (None, "active")

    async def look(self) -> bool:
        """Report on each page; return whether there is any point in playing a call."""
        if not await self._health():
            return False
        await self._metrics()
        return self._ingest is None or await self._ingest_health(self._ingest)

    async def _health(self) -> bool:
        status, body = await self._page("/health")
        if not status:
            self._report.fail("health", f"nobody answers: {body}", "is the daemon running?")
            return False
        try:
            page = json.loads(body)
            state, role, self.provider = page["status"], page.get("role"), page["provider"]
        except (ValueError, KeyError, TypeError):
            self._report.fail("health", f"HTTP {status}, and no health page: {body[:80]!r}")
            return False
        says = f"HTTP {status}, status {state}, role {role}, provider {self.provider}"
        if status != 200 or state != "ok":
            self._report.fail("health", f"{says}: {page.get('problems')}", "see /ready, and the log")
        elif role not in self._roles:
            self._report.fail("health", f"{says}: it does not transcribe", "ask the active worker")
        else:
            self._report.ok("health", says)
            return True
        return False

    async def _metrics(self) -> None:
        status, body = await self._page("/metrics")
        wrong = judge.page(body) if status == 200 else [f"/metrics: HTTP {status}"]
        for line in wrong:
            self._report.fail("metrics", line)
        if not wrong:
            lines = sum(judge.SERIES.match(line) is not None for line in body.splitlines())
            self._report.ok("metrics", f"{lines} lines of asr_ and deepgram_")

    async def _ingest_health(self, ingest: Ingest) -> bool:
        status, body = await _get(ingest.health_url)
        if not status:
            self._report.fail("ingest", f"nobody answers: {body}", "is the ingest running?")
            return False
        try:
            page = json.loads(body)
            says = f"HTTP {status}, status {page['status']}, {page['service']}"
        except (ValueError, KeyError, TypeError):
            self._report.warn("ingest", f"HTTP {status}, and no health page: a proxy may keep it back")
            return True
        if status != 200 or page["status"] != "healthy":
            self._report.fail("ingest", f"{says}: {page.get('problems')}", "see its /ready, and its log")
            return False
        self._report.ok("ingest", says)
        return True

    async def _page(self, path: str) -> tuple[int, str]:
        return await _get(self._url.rstrip("/") + path)


async def _get(url: str) -> tuple[int, str]:
    """Return the status and body of a page, or 0 and the reason if there is no answer."""
    try:
        with trio.fail_after(HTTP_S):
            status, body = await ask(url)
    except NoAnswer as error:
        return 0, f"{url}: {error}"
    except trio.TooSlowError:
        return 0, f"{url}: no answer within {HTTP_S:g} s"
    return status, body.decode(errors="replace")

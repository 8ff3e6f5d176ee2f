"""A headless Chromium for tests, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import trio
import trio_websocket

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip
START_S = 120  # the first start of a day, on a busy machine
WAIT_S = 60


class Page:
    """One tab."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self.problems: list[str] = []  # what the browser complained of: exceptions, refusals of the CSP
        self._connection = connection
        self._answers: dict[int, tuple[trio.Event, list[dict[str, Any]]]] = {}
        self._number = 0

    async def listen(self) -> None:
        """Take what the browser says, for ever."""
        while True:
            message = json.loads(await self._connection.get_message())
            if "id" in message:
                event, answer = self._answers.pop(message["id"])
                answer.append(message)
                event.set()
            elif message["method"] == "Runtime.exceptionThrown":
                self.problems.append(str(message["params"]["exceptionDetails"]))
            elif message["method"] == "Log.entryAdded":
                entry = message["params"]["entry"]
                if entry["level"] == "error" and entry["source"] != "network":  # a worker that stops is none
                    self.problems.append(entry["text"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Have the browser do something."""
        self._number += 1
        event, answer = self._answers[self._number] = trio.Event(), []
        await self._connection.send_message(
            json.dumps({"id": self._number, "method": method, "params": params})
        )
        with trio.fail_after(WAIT_S):
            await event.wait()
        assert "result" in answer[0], (method, answer[0])
        result: dict[str, Any] = answer[0]["result"]
        return result

    async def value(self, expression: str) -> Any:
        """Evaluate an expression of JavaScript, which may be a promise."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, (expression, result)
        return result["result"].get("value")

    async def until(self, expression: str, seconds: float = WAIT_S) -> None:
        """Wait until an expression is true."""
        with trio.move_on_after(seconds):
            while not await self.value(expression):  # noqa: ASYNC110 (it happens in another program)
                await trio.sleep(0.05)
            return
        raise AssertionError(f"not so after {seconds} s: {expression}\n{await self.text('body')}")

    async def text(self, selector: str) -> str:
        """Return what can be read in an element."""
        return str(await self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def click(self, selector: str) -> None:
        await self.value(f"document.querySelector({json.dumps(selector)}).click()")

    async def enter_token(self, token: str) -> None:
        """Type the token, and send it."""
        await self.value(f"document.querySelector('#gate-token').value = {json.dumps(token)}")
        await self.value("document.querySelector('#gate-form').requestSubmit()")

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def look(self, width: int, height: int, scheme: str = "light") -> None:
        """Set the size of the window and what the person prefers."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        await self.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    async def screenshot(self, path: Path) -> None:
        shot = await self.call("Page.captureScreenshot", format="png")
        await trio.Path(path).write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """Run a Chromium of our own, with a new profile, and open one tab."""
    assert PROGRAM is not None
    command = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            port = await _port(profile)
            target = await trio.to_thread.run_sync(_new_tab, port)
            async with trio_websocket.open_websocket_url(
                target["webSocketDebuggerUrl"], max_message_size=64 * 2**20
            ) as connection:
                page = Page(connection)
                nursery.start_soon(page.listen)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
                nursery.cancel_scope.cancel()
        finally:
            process.send_signal(signal.SIGTERM)
            with trio.CancelScope(shield=True), trio.move_on_after(10):
                await process.wait()
            if process.returncode is None:
                process.kill()


async def _port(profile: Path) -> int:
    """Return the port of the DevTools, once the browser has written it."""
    file = trio.Path(profile) / "DevToolsActivePort"
    with trio.fail_after(START_S):
        while not await file.exists() or not await file.read_text():  # noqa: ASYNC110 (another program)
            await trio.sleep(0.05)
    return int((await file.read_text()).split()[0])


def _new_tab(port: int) -> dict[str, Any]:
    with urlopen(
        Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT"), timeout=10
    ) as answer:
        tab: dict[str, Any] = json.load(answer)
    return tab

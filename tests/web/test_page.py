"""The live page in a real browser, against a real worker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from tests.web.browser import PROGRAM, Page, browser
from tests.web.web_harness import TOKEN, run_web

from trio_asr.daemon import Daemon
from trio_asr.telemetry.fleet import FleetPicture, HotShard, MemberRow
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Item, Transcript

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        PROGRAM is None, reason="there is no Chromium here (Debian: apt-get install chromium)"
    ),
]

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">", "<script>document.title='owned'</script>",
    "\"><svg/onload=document.title='owned'>", "javascript:document.title='owned'", "&lt;b&gt;",
)  # fmt: skip
PHONE, DESK = (390, 844), (1280, 860)


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browser(tmp_path / "profile") as tab:
        await tab.look(*DESK)
        yield tab


async def unlock(page: Page, port: int) -> None:
    await page.go(f"http://127.0.0.1:{port}/")
    await page.until("!document.querySelector('#gate').hidden")
    await page.enter_token(TOKEN)
    await page.until("!document.querySelector('#main').hidden")


async def pick(page: Page, interaction_id: str) -> None:
    """Click on a call in the list, and wait for what is known of it."""
    rows = "[...document.querySelectorAll('#rows tr')]"
    await page.until(f"{rows}.some(row => row.dataset.id === {_js(interaction_id)})")
    await page.value(f"{rows}.find(row => row.dataset.id === {_js(interaction_id)}).click()")
    await page.until("document.querySelector('#received').textContent !== ''")


def _js(value: str | bool) -> str:
    return json.dumps(value)


async def test_numbers_without_a_token(page: Page) -> None:
    async with run_web(("A secret.",), token=None) as one:
        await one.speak("call-17")
        await page.go(f"http://127.0.0.1:{one.port}/")
        await page.until("document.querySelector('#calls').textContent === '1'")
        assert (await page.text("#role")).lower() == "active"
        assert await page.text("#redis") == "OK"
        assert "set http.token_file" in await page.text("#gate")
        assert await page.value("document.querySelector('#gate-form').hidden")
        html = await page.value("document.documentElement.outerHTML")
        assert "call-17" not in html
        assert "secret" not in html
    assert page.problems == []


async def test_the_token_opens_the_calls_and_a_wrong_one_does_not(page: Page) -> None:
    async with run_web(("Good morning.",), interim="how can") as one:
        await one.speak("call-17")
        await page.go(f"http://127.0.0.1:{one.port}/")
        await page.until("!document.querySelector('#gate').hidden")
        await page.enter_token("not-the-right-token")
        await page.until("document.querySelector('#gate-problem').textContent !== ''")
        assert await page.text("#gate-problem") == "That is not the token."
        await page.until("document.querySelector('#calls').textContent === '1'")  # the numbers go on
        assert await page.value("document.querySelector('#main').hidden")
        await page.enter_token(TOKEN)
        await pick(page, "call-17")
        await page.until("document.querySelectorAll('#lines li.final').length === 1")
        await page.until("document.querySelectorAll('#lines li.partial').length === 1")
        assert await page.text("#lines li.final span") == "Good morning."
        assert await page.text("#lines li.partial span") == "how can"
        colours = [
            await page.value(f"getComputedStyle(document.querySelector('#lines li.{kind} span')).color")
            for kind in ("final", "partial")
        ]
        assert colours[0] != colours[1]
        assert (await page.text("#call-state")).lower() == "streaming"
        # In this tab only: not in an address, a cookie or what outlives the tab.
        assert TOKEN not in await page.value("location.href + document.cookie + JSON.stringify(localStorage)")
        await page.go(f"http://127.0.0.1:{one.port}/")  # loaded again, it is still there
        await page.until("document.querySelectorAll('#rows tr').length === 1")
        await page.click("#lock")
        await page.until("document.querySelector('#main').hidden && !document.querySelector('#gate').hidden")
        assert await page.value("sessionStorage.length") == 0
        asked = await page.value(
            "performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)"
        )
        assert set(asked) == {f"http://127.0.0.1:{one.port}"}
    assert page.problems == []


def transcript(kind: str, text: str, end_ms: int, channel: int, role: str) -> Transcript:
    return Transcript(
        "", "", 0, kind, text, 0.9, 0, end_ms - 1000, end_ms, False, 1, "", channel=channel, role=role
    )


def final(text: str, end_ms: int, channel: int, role: str) -> Item:
    said = transcript("final", text, end_ms, channel, role)
    return Item(resume_point=ResumePoint(0), transcript=said, channel=channel)


async def test_two_people_are_told_apart_and_stand_in_the_order_of_time(page: Page) -> None:
    async with run_web(("Hello.",)) as one:
        await one.speak_as_two("call-17", 1.5)
        await one.speak("call-18")
        await unlock(page, one.port)
        await pick(page, "call-17")
        lines = (
            "[...document.querySelectorAll('#lines li')].map(li => [li.className, li.dataset.leg,"
            " ...[...li.children].map(part => part.textContent)].join('|')).join('\\n')"
        )
        await page.until(f"{lines} === 'final|0|00:00|customer|Hello.'")
        recent = one.daemon.interactions["call-17"].call.outbox.recent
        assert recent is not None
        gap = {"event": "gap", "reason": "skipped", "start_ms": 3000, "end_ms": 4000, "channel": 1}
        recent.committed([
            final("I was charged twice.", 8000, 0, "customer"),
            Item(transcript=transcript("partial", "it", 9000, 0, "customer")),
            Item(transcript=transcript("partial", "how can", 9000, 1, "agent")),
        ])  # fmt: skip
        await page.until("document.querySelectorAll('#lines li.partial').length === 2")
        # What the other one said before that comes only now.
        recent.committed([
            Item(resume_point=ResumePoint(0), event=gap, channel=1),
            final("Good morning.", 6000, 1, "agent"),
            Item(transcript=transcript("partial", "it was", 9500, 0, "customer")),
        ])  # fmt: skip
        expected = (
            "final|0|00:00|customer|Hello.",
            "gap|1|00:03|channel 1|1.0 s of audio given up (skipped)",
            "final|1|00:05|agent|Good morning.",
            "final|0|00:07|customer|I was charged twice.",
            "partial|0|00:08|customer|it was",
        )
        await page.until(f"{lines} === {_js(chr(10).join(expected))}")
        colours = [
            await page.value(
                f"getComputedStyle(document.querySelector('#lines li[data-leg=\"{leg}\"] b')).color"
            )
            for leg in (0, 1)
        ]
        assert colours[0] != colours[1]
        await page.click("#rows tr[data-id=call-18]")
        await page.until(f"{lines} === 'final||00:00|Hello.'")
    assert page.problems == []


async def test_how_far_each_of_two_people_is(page: Page) -> None:
    async with run_web(mute=1) as one:
        await one.speak_as_two("call-17", 2.5)
        await one.speak_as_two("call-18", 1.5, ("<b>one</b>", "x" * 64))
        await one.speak("call-19")
        await unlock(page, one.port)
        await pick(page, "call-17")
        row = "document.querySelector('#rows tr[data-id=call-17]')"
        await page.until(f"{row}.cells[3].title.startsWith('customer: final to 00:02.0')")
        assert await page.value(f"{row}.cells[3].title") == (
            "customer: final to 00:02.0, 0.5 s behind\nagent: final to 00:00.0, 2.5 s behind"
        )
        for cell, expected in ((0, "call-17|tenant|mulaw 8 kHz, 2 channels"), (3, "2.5 s|agent")):
            parts = f"[...{row}.cells[{cell}].children].map(part => part.textContent).join('|')"
            assert await page.value(parts) == expected
        await page.until("document.querySelector('#legs dd')?.textContent.startsWith('final to 00:02.0')")
        assert (await page.text("#legs")).split("\n") == [
            "customer", "final to 00:02.0, 0.5 s behind", "agent", "final to 00:00.0, 2.5 s behind",
        ]  # fmt: skip
        assert "mulaw 8 kHz, 2 channels" in await page.text("#facts")
        await pick(page, "call-18")
        await page.until("document.querySelector('#legs dt')?.textContent === '<b>one</b>'")
        await page.look(*PHONE)
        assert await page.value("document.documentElement.scrollWidth <= innerWidth")
        await page.value("location.hash = 'call=call-19'")
        await page.until("document.querySelector('#call-id').textContent === 'call-19'")
        await page.until("document.querySelector('#received').textContent !== ''")
        assert await page.text("#legs") == ""
        assert "Audio" not in await page.text("#facts")
    assert page.problems == []


async def test_hostile_ids_and_texts_are_text(page: Page) -> None:
    async with run_web(HOSTILE, interim=HOSTILE[0]) as one:
        for number, text in enumerate(HOSTILE):
            await one.speak(text, 1.5 + number)
        await unlock(page, one.port)
        for text in HOSTILE:
            await pick(page, text)
            await page.until(f"document.querySelector('#call-id').textContent === {_js(text)}")
            await page.until("document.querySelectorAll('#lines li.final').length > 0")
            assert (
                await page.value("document.querySelector('#lines li.final span').textContent") == HOSTILE[0]
            )
        assert await page.value("document.querySelectorAll('main img, main script, main svg').length") == 0
        assert "owned" not in await page.value("document.title")
    assert page.problems == []


async def test_the_policy_forbids_what_the_page_never_does(page: Page) -> None:
    async with run_web(token=None) as one:
        await page.go(f"http://127.0.0.1:{one.port}/")
        markup = "try { document.body.innerHTML = '<b>x</b>' } catch (error) { error.name }"
        assert await page.value(markup) == "TypeError"
        await page.value(
            "document.head.append(Object.assign(document.createElement('style'), {textContent: 'body {}'}))"
        )
        await trio.sleep(0.2)
    assert any("Content Security Policy" in problem for problem in page.problems)


async def test_it_says_when_the_worker_is_gone_and_comes_back_by_itself(page: Page) -> None:
    async with run_web() as one:
        port = one.port
        await one.speak("call-17")
        await unlock(page, port)
        await pick(page, "call-17")
    await page.until("document.body.classList.contains('stale')")
    assert "No connection to the worker since" in await page.text("#banners")
    assert "Lost, next try in" in await page.text("#link")
    async with run_web(port=port) as one:
        await one.speak("call-18")
        await page.until("!document.body.classList.contains('stale')", 20)
        await page.until(
            "[...document.querySelectorAll('#rows tr')].map(r => r.dataset.id).join() === 'call-18'"
        )
        assert await page.text("#banners") == ""
        # The call that was read along is over; what was said in it stays to be read.
        await page.until("document.querySelector('#call-state').textContent === 'ended'")
        assert await page.text("#lines li.final span") == "Hello."


async def test_it_can_be_read_on_a_phone_and_in_the_dark(page: Page) -> None:
    async with run_web() as one:
        await page.look(*PHONE, "dark")
        await unlock(page, one.port)
        await page.until("!document.querySelector('#empty').hidden")
        assert "No calls in progress" in await page.text("#empty")
        await one.speak("x" * 256)
        await pick(page, "x" * 256)
        for picked in (True, False):
            await page.until(f"document.body.classList.contains('reading') === {_js(picked)}")
            assert await page.value("document.documentElement.scrollWidth <= innerWidth")
            await page.value("location.hash = ''")
        background = await page.value("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) < 150


async def test_the_list_can_be_searched_and_sorted(page: Page) -> None:
    async with run_web() as one:
        for number, seconds in enumerate((1.2, 3.0, 2.0)):
            await one.speak(f"call-{number}", seconds)
        await unlock(page, one.port)
        ids = "[...document.querySelectorAll('#rows tr')].map(row => row.dataset.id).join(' ')"
        await page.until(f"{ids} === 'call-0 call-1 call-2'")
        await page.click("th button[data-key=received_s]")
        await page.until(f"{ids} === 'call-1 call-2 call-0'")
        await page.click("th button[data-key=received_s]")
        await page.until(f"{ids} === 'call-0 call-2 call-1'")
        await page.value("document.querySelector('#find').value = 'L-2'")
        await page.value("document.querySelector('#find').dispatchEvent(new Event('input'))")
        await page.until(f"{ids} === 'call-2'")
        assert await page.text("#count") == "1 of 3"
        await trio.sleep(1.2)  # the next picture leaves it so
        assert await page.value(ids) == "call-2"


def member(name: str, shards: int, calls: int, draining_s: float | None = None, **more: Any) -> MemberRow:
    row = MemberRow(
        member=name, generation="0.9", version="0.9", shards=shards, calls=calls, capacity=100, lag_s=0.04,
        connections=calls, cpu=0.42, handing=0, draining_s=draining_s,
    )  # fmt: skip
    return msgspec.structs.replace(row, **more)


def fleet(*members: MemberRow, **more: Any) -> FleetPicture:
    whole = FleetPicture(
        member=members[0].member, shards=8, held=4, wanted=0, handing_over=0, unowned=0, share=4,
        hottest=HotShard(shard=3, calls=60, capacity=100), members=list(members),
    )  # fmt: skip
    return msgspec.structs.replace(whole, **more)


async def test_the_members_of_a_fleet(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[FleetPicture | None] = [None]
    monkeypatch.setattr(Daemon, "fleet", property(lambda _: seen[0]))
    rows = (
        "[...document.querySelectorAll('#fleet-rows tr')].map(row => [row.dataset.tone,"
        " ...[...row.cells].map(cell => cell.textContent)].join('|')).join('\\n')"
    )
    async with run_web() as one:
        await one.speak("call-17")
        await unlock(page, one.port)
        await page.until("document.querySelectorAll('#rows tr').length === 1")
        assert await page.value("document.querySelector('#fleet').hidden")  # it is in no fleet

        seen[0] = fleet(member("vm1-a", 4, 90), member(HOSTILE[0], 4, 101, version="0.8", lag_s=12.0))
        mine = "ok|vm1-a (this one)|active|4|90 / 100|0.0 s|90|42 %|0.9"
        others = f"ok|{HOSTILE[0]}|active|4|101 / 100|12.0 s|101|42 %|0.9 (0.8)"
        await page.until(f"{rows} === {_js(chr(10).join((mine, others)))}")
        assert await page.text("#fleet-note") == "2 members · 8 shards · all held"
        assert not await page.value("document.querySelector('#fleet').hidden")
        cells = (
            "[...document.querySelectorAll('#fleet-rows tr')[1].cells].map(cell => cell.dataset.tone ?? '')"
        )
        assert await page.value(f"{cells}.join('|')") == "|||bad|bad|||"

        # It leaves, a shard is nobody's, and another has more than any member could carry beside others.
        seen[0] = fleet(
            member("vm1-a", 4, 90),
            member("vm2-a", 2, 0, draining_s=7.4, handing=2),
            member("vm3-a", 0, 0),
            unowned=1,
            hottest=HotShard(shard=3, calls=61, capacity=100),
        )
        leaving, idle = (
            f"{tone}|{name}|{state}|{shards}|0 / 100|0.0 s|0|42 %|0.9"
            for tone, name, state, shards in (
                ("warn", "vm2-a", "leaving for 7 s", 2),
                ("idle", "vm3-a", "standby", 0),
            )
        )
        await page.until(f"{rows} === {_js(chr(10).join((mine, leaving, idle)))}")
        assert await page.text("#fleet-note") == (
            "3 members · 8 shards · 1 held by nobody · 2 handed over now · shard 3 is hot: 61 calls"
        )
        assert await page.value("document.querySelector('#fleet-note').dataset.tone") == "bad"
        await page.look(*PHONE)
        assert await page.value("document.documentElement.scrollWidth <= innerWidth")

        seen[0] = fleet(member("vm1-a", 8, 90), unowned=0)
        alone = "ok|vm1-a (this one)|active|8|90 / 100|0.0 s|90|42 %|0.9"
        await page.until(f"{rows} === {_js(alone)}")
        assert await page.value("document.querySelector('#fleet-note').dataset.tone ?? ''") == ""
    assert page.problems == []

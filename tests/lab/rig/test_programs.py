"""Programs of the rig and the demo: waited for, relied on, ended; none outlives the one who started it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from trio_asr.lab.rig.programs import Program, RigError

# SIGTERM is blocked before anything is said, so that it cannot come too early.
OBEYS = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("up", flush=True)
signal.sigwait([signal.SIGTERM])
"""
DIES = "print('no such host'); raise SystemExit(3)"


def program(tmp_path: Path, code: str) -> Program:
    return Program("helper", [sys.executable, "-c", code], dict(os.environ), tmp_path / "log")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_is_waited_for_kept_and_ended_in_order(tmp_path: Path) -> None:
    one = program(tmp_path, OBEYS)
    await one.start()
    assert await one.said("u", within=60) == "up"
    pid = one.pid
    async with one.kept():
        assert alive(pid)
    assert not alive(pid)
    await one.start()  # and again, in the same log
    assert await one.said("u", within=60) == "up"
    assert await one.stop() == 0
    assert one.log.read_text() == "up\nup\n"


async def test_an_end_before_it_says_what_is_waited_for(tmp_path: Path) -> None:
    async with aclosing(program(tmp_path, DIES)) as one:
        await one.start()
        with pytest.raises(
            RigError, match=r"helper ended before it said 'ready' \(exit code 3\).*\n.*no such host"
        ):
            await one.said("ready", within=60)


async def test_an_end_while_it_is_relied_on(tmp_path: Path) -> None:
    async with aclosing(program(tmp_path, OBEYS)) as one:
        await one.start()
        with pytest.RaisesGroup(pytest.RaisesExc(RigError, match=r"ended by itself \(exit code -9\)")):
            async with one.kept():
                one.signal(signal.SIGKILL)
                await trio.sleep_forever()


async def test_a_bad_exit_after_that_is_an_error_too(tmp_path: Path) -> None:
    async with aclosing(program(tmp_path, OBEYS + "sys.exit(4)")) as one:
        await one.start()
        await one.said("up", within=60)
        with pytest.raises(RigError, match="ended with exit code 4"):
            async with one.kept():
                pass


async def test_one_that_says_nothing_in_time(tmp_path: Path) -> None:
    async with aclosing(program(tmp_path, OBEYS)) as one:
        await one.start()
        with pytest.raises(RigError, match=r"did not say 'never' within 0 s\. Last it said:"):
            await one.said("never", within=0.2)
        pid = one.pid
    assert not alive(pid)


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    pid = 0
    with trio.CancelScope() as scope:
        async with aclosing(program(tmp_path, OBEYS)) as one:
            await one.start()
            pid = one.pid
            async with one.kept():
                scope.cancel()
                await trio.sleep_forever()
    assert not alive(pid)


async def test_a_log_that_nobody_reads_holds_up_who_writes_it(tmp_path: Path) -> None:
    one = program(tmp_path, "print('x' * 1_000_000)")
    one.log_is_read = False
    await one.start()
    with pytest.raises(RigError, match="did not end"):
        await one.ended(within=0.5)
    await one.aclose()
    assert one.output() == ""
    one.log_is_read = True
    await one.start()
    assert await one.ended() == 0


async def test_it_may_have_few_files(tmp_path: Path) -> None:
    says = "print('may have', resource.getrlimit(resource.RLIMIT_NOFILE))"
    code = f"import resource, signal; {says}; signal.pause()"
    one = program(tmp_path, code)
    one.most_files = 100
    await one.start()
    assert await one.said("may have", within=60) == "may have (100, 100)"
    await one.aclose()

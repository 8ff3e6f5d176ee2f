"""The meaning of the server's replies."""

from __future__ import annotations

import re
from typing import Any

import redis
import redis.exceptions

from trio_asr.bus.base import Answer
from trio_asr.wire.records import Commit, Outcome, Stored

MOST_STATE_BYTES = 64 * 1024  # of a stored state; ours take less than 1 KB
# Refusals that meet every command alike: the server is a replica, is loading, is out of memory, cannot save,
# has too few replicas, is busy with a script, or forgets ours; or it is a cluster node that does not serve
# the key now. For some of them the library has classes. No such list is ever complete: what is missing here,
# each commit finds out by itself.
UNWILLING = (
    redis.ReadOnlyError,
    redis.BusyLoadingError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MasterDownError,
    redis.exceptions.MovedError,
    redis.exceptions.AskError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.NoScriptError,
)
CODES = "READONLY|LOADING|OOM|MISCONF|NOREPLICAS|BUSY|MASTERDOWN|MOVED|ASK|TRYAGAIN|CLUSTERDOWN"
# Before 7.0 a script's error is wrapped: "ERR Error running script (...): @user_script:23: @user_script: 23:
# -READONLY You can't write against a read only replica."
UNWILLING_TEXT = re.compile(rf"(?:^|@user_script: ?\d+: -)({CODES}) ")


def describe(error: BaseException) -> str:
    """Return an error's type and message."""
    return f"{type(error).__name__}: {error}"


def is_unwilling(refusal: Exception) -> bool:
    """Return whether a refusal says that the server takes no command of this kind now."""
    return isinstance(refusal, UNWILLING) or UNWILLING_TEXT.search(str(refusal)) is not None


def stored_of(key: str, named: bytes, *found: bytes | None) -> Stored:
    """Return the stored state from the reply about one owner.

    Raises:
        ValueError: The reply is about another owner.
    """
    if bytes(named) != key.encode():
        raise ValueError("an answer to another question")
    if len(found) == 1:
        return Stored(fault=f"the key is a {bytes(found[0] or b'').decode()}")
    rev, state = found
    if rev is None and state is None:
        return Stored()
    if rev is None or state is None:
        return Stored(fault="rev and state are not both there")
    if not rev.isdigit() or len(rev) > 18:
        return Stored(fault="rev is no number")
    if len(state) > MOST_STATE_BYTES:
        return Stored(fault=f"state has {len(state)} bytes")
    return Stored(int(rev), state)


def judged(commit: Commit, reply: Any) -> Answer:
    """Return the outcome of a commit from its reply.

    What is wrong with a call's own stream the script answers itself. So an error is never the commit's fault,
    whatever it says, though it may meet this one alone.

    Raises:
        redis.ResponseError: The server takes no writes now.
        ValueError: The reply is to another commit.
    """
    if isinstance(reply, Exception):
        if is_unwilling(reply):
            raise reply
        return Answer(Outcome.FAILED, describe(reply))
    head, _, reason = bytes(reply).decode().partition("\n")
    outcome, _, name = head.partition(" ")
    if name != f"{commit.rev} {commit.owner}":
        raise ValueError("an answer to another commit")
    return Answer(Outcome(outcome), reason)

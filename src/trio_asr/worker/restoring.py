"""A start: the calls in progress as Redis has them, whatever state that is in."""

from __future__ import annotations

from functools import partial

from trio_asr.bus.base import Bus
from trio_asr.core.reader_state import ReaderOutbox
from trio_asr.interaction.services import Services
from trio_asr.wire import ids
from trio_asr.wire.codes import StoredKind
from trio_asr.wire.frames import Junk, check_id
from trio_asr.wire.ids import EntryId
from trio_asr.wire.records import Stored, Unreadable
from trio_asr.worker.calls import Calls
from trio_asr.worker.retry import patiently

DEAD_LETTERS_MAXLEN = 10_000


class WentBack(Exception):
    """Redis has lost the last commits, in a failover: what is in memory builds on what is no longer there."""


async def open_reader_outbox(bus: Bus, services: Services) -> ReaderOutbox:
    """Return the reader's outbox. A state that cannot be read is set aside: calls then say where to start."""
    (stored,) = await patiently(services, partial(bus.load, [""]))
    dead_letters = services.config.redis.dead_letter_stream
    try:
        return ReaderOutbox(stored, dead_letters, DEAD_LETTERS_MAXLEN)
    except Unreadable as error:
        key = await patiently(services, partial(bus.set_aside, ""))
        services.broken_state(StoredKind.READER, str(error), key)
        reader_outbox = ReaderOutbox(Stored(), dead_letters, DEAD_LETTERS_MAXLEN)
        reader_outbox.broken = True
        return reader_outbox


async def reader_changed(bus: Bus, calls: Calls, services: Services, reader_outbox: ReaderOutbox) -> None:
    """Set the reader's state aside, which is not what it has stored: memory's takes its place.

    Raises:
        WentBack: It is an earlier one, and so are those of calls. One key alone disturbs no call.
    """
    (stored,) = await patiently(services, partial(bus.load, [""]))
    if 0 < stored.rev < reader_outbox.rev and await _calls_went_back(bus, calls, services):
        raise WentBack
    key = await patiently(services, partial(bus.set_aside, ""))
    services.broken_state(StoredKind.READER, "it is not what the reader has stored", key)


async def _calls_went_back(bus: Bus, calls: Calls, services: Services) -> bool:
    """Return whether a call has an earlier state than it had, or one that was over is in progress again."""
    known = {name: one.call.outbox.rev for name, one in calls.interactions.items()}
    found = await patiently(services, partial(bus.load, [*known]))
    if any(0 < one.rev < rev for one, rev in zip(found, known.values(), strict=True)):
        return True
    live, _ = _members(await patiently(services, bus.live_calls))
    # A mere name among them, without a state, is of no call: it disturbs none.
    over = {*live} - known.keys() - calls.interactions.keys()
    return any(one.rev for one in await patiently(services, partial(bus.load, [*over])))


async def restore(bus: Bus, calls: Calls, services: Services) -> EntryId | None:
    """Start the calls that were in progress. Return the lowest entry that any of them needs, or None.

    A call whose checkpoint was set aside starts over with its audio. It is not waited for.
    """
    live, strange = _members(await patiently(services, bus.live_calls))
    needed, gone = [], []
    for interaction_id, stored in zip(live, await calls.stored.load(live), strict=True):
        if stored.rev:
            needed.append(calls.start_call(interaction_id, stored).call.last_entry)
        elif calls.stored.was_set_aside(interaction_id):
            gone.append(interaction_id.encode())
        else:
            strange.append(interaction_id.encode())
    if strange:
        shown = ", ".join(ids.show(member.decode("utf-8", "replace")) for member in strange[:5])
        services.broken_state(
            StoredKind.LIVE, f"{len(strange)} names are of no call in progress: {shown}", ""
        )
    if strange or gone:
        await patiently(services, partial(bus.forget_live, strange + gone))
    return min(needed, key=ids.key, default=None)


def _members(raw: list[bytes]) -> tuple[list[str], list[bytes]]:
    """Return the members of the live set that can be ids of calls, and those that cannot."""
    live, strange = [], []
    for member in raw:
        try:
            interaction_id = member.decode()
            check_id(interaction_id)
        except (UnicodeDecodeError, Junk):
            strange.append(member)
        else:
            live.append(interaction_id)
    return live, strange

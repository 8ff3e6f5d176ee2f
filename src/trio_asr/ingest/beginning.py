"""The beginning of a call on a socket: whose it is, what it is called on the stream, and its series."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from trio_asr.config import Route
from trio_asr.core.ingest.series import Identity, Series, Terms
from trio_asr.core.ingest.tally import Tally
from trio_asr.ingest.dialect import Begin, Refusal
from trio_asr.ingest.doors import Admitted
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.call_entries import EntryWriter
from trio_asr.wire.frames import MAX_ID_LENGTH, Junk, check_id
from trio_asr.wire.meta import MAX_META_BYTES, PLATFORM
from trio_asr.wire.salvage import UNREADABLE

OWNER_BYTES = 12  # of a socket's token
MAX_SHOWN = 64  # characters of what a peer said of itself


def call_of(begin: Begin, route: Route) -> str:
    """Return a call's id on the stream.

    Raises:
        Refusal: It cannot be one.
    """
    call = route.id_prefix + begin.call
    try:
        check_id(call)
    except Junk as junk:
        raise Refusal("call_id", str(junk)) from junk
    return call


def tenant_of(begin: Begin, admitted: Admitted) -> str:
    """Return whose call it is: the route's tenant, or that of the credential, or else the one that is said.

    Raises:
        Refusal: It is somebody else's than the one who may connect here.
    """
    route = admitted.route
    account = admitted.account or begin.account
    if route.accounts and account not in route.accounts:
        raise Refusal("account", f"the account {account[:MAX_SHOWN]!r} may not use {route.path}")
    if admitted.call not in ("", begin.call):
        raise Refusal("claims", "interaction_id is not the one that the token is for")
    if begin.tenant and admitted.tenant not in ("", begin.tenant):
        raise Refusal("tenant", f"tenant_id {begin.tenant[:MAX_SHOWN]!r} may not use {route.path}")
    tenant = admitted.tenant or begin.tenant
    # It is in each entry, and in the call's state.
    if len(tenant) > MAX_ID_LENGTH or not tenant.isprintable():
        raise Refusal("tenant", f"tenant_id is not a text of up to {MAX_ID_LENGTH} printable characters")
    return tenant


def new_series(
    begin: Begin, route: Route, call: str, tenant: str, *, terms: Terms, tally: Tally, now: float
) -> Series:
    """Return the series of a call that begins. It belongs to nobody yet."""
    legs, fmt = _legs(begin)
    roles = [route.role(leg) for leg in begin.legs] if fmt.channels > 1 else []
    return Series(
        Identity(call, tenant, secrets.token_hex(OWNER_BYTES), ",".join(begin.legs)),
        fmt,
        EntryWriter(call, tenant, fmt, roles, _meta(begin.meta, route)),
        terms=terms,
        tally=tally,
        now=now,
        legs=legs,
        counts=begin.counts,
        resume_from=begin.resume_from,
    )


def _legs(begin: Begin) -> tuple[int, Format]:
    """Return how many legs come each on its own, and the format in which they go on."""
    fmt, legs = begin.format, len(begin.legs)
    if begin.interleaved or legs < 2:
        return 1, fmt
    return legs, audio_format(fmt.rate, fmt.encoding, legs)


def _meta(said: Mapping[str, Any], route: Route) -> dict[str, Any]:
    """Return the platform, and what may be passed on of what it says of a call: as many keys as fit."""
    meta: dict[str, Any] = {PLATFORM: route.platform}
    for name in route.meta:
        if name in said and name != PLATFORM and _fits(more := {**meta, name: said[name]}):
            meta = more
    return meta


def _fits(meta: dict[str, Any]) -> bool:
    """Return whether an entry can carry this: platforms send numbers that MessagePack does not have."""
    try:
        return len(msgspec.msgpack.encode(meta)) <= MAX_META_BYTES
    except UNREADABLE:
        return False

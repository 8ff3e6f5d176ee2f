"""Extension types of MessagePack, as producers' libraries write them."""

from __future__ import annotations

from msgspec.msgpack import Ext

# What libraries of JavaScript (msgpackr, msgpack5) write for `undefined`, where JSON leaves the field out.
_UNDEFINED = (0, b"\0")


def extension(code: int, data: memoryview) -> Ext | None:
    """Return what an extension stands for: None for `undefined`, else itself."""
    own = bytes(data)  # a view would keep its whole entry in memory
    return None if (code, own) == _UNDEFINED else Ext(code, own)

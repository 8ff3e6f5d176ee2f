"""The byte stream below a connection."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from trio_asr.stream import WatchedStream


async def test_a_read_after_the_close_is_refused_as_trio_refuses_it() -> None:
    """The library's reader may come back for more after our close; anything but this error ends the call."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, trio.aclose_forcefully, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        stream = WatchedStream(await trio.open_tcp_stream("127.0.0.1", port))
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some(1000)
        nursery.cancel_scope.cancel()

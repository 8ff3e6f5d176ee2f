"""Which dialect a route speaks: it is configured, and never guessed from the wire."""

from __future__ import annotations

from collections.abc import Callable

from trio_asr.config import Route
from trio_asr.ingest.dialect import Dialect, Request
from trio_asr.ingest.dialects import exotel, genesys, jambonz, twilio
from trio_asr.ingest.dialects.generic import Generic

_OPEN: dict[str, Callable[[Request], Dialect]] = {
    "twilio": twilio.open_dialect,
    "exotel": exotel.open_dialect,
    "genesys": genesys.open_dialect,
    "jambonz": jambonz.open_dialect,
}
# Platforms that offer one and hang up unless it is accepted. The others must not be told one.
_SUBPROTOCOLS = {"jambonz": jambonz.SUBPROTOCOLS}


def open_dialect(route: Route, request: Request, ack_interval: int) -> tuple[Dialect, str | None]:
    """Return the reader of a socket, and the subprotocol to accept, if any."""
    known = _SUBPROTOCOLS.get(route.platform, ())
    subprotocol = next((one for one in request.subprotocols if one in known), None)
    if route.platform == "generic":
        return Generic(ack_interval), subprotocol
    return _OPEN[route.platform](request), subprotocol

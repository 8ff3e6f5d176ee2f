"""Which dialect a route speaks: it is configured, and never guessed from the wire."""

from __future__ import annotations

from trio_asr.config import Route
from trio_asr.ingest.dialect import Dialect, Request
from trio_asr.ingest.dialects import exotel, genesys, jambonz, twilio
from trio_asr.ingest.dialects.generic import Generic


def open_dialect(route: Route, request: Request, ack_interval: int) -> tuple[Dialect, str | None]:
    """Return the reader of a socket, and the subprotocol to accept, if any."""
    match route.platform:
        case "twilio":
            return twilio.open_dialect(request), None
        case "exotel":
            return exotel.open_dialect(request), None
        case "genesys":
            return genesys.open_dialect(request), None
        case "jambonz":
            offered = (one for one in request.subprotocols if one in jambonz.SUBPROTOCOLS)
            return jambonz.open_dialect(request), next(offered, None)
        case "generic":
            return Generic(ack_interval), None

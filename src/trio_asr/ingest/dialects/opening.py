"""Which dialect a route speaks: it is configured, and never guessed from the wire."""

from __future__ import annotations

from collections.abc import Callable

from trio_asr.config import Route
from trio_asr.ingest.dialect import Dialect, Request
from trio_asr.ingest.dialects import asterisk, exotel, genesys, jambonz, knowlarity, vonage
from trio_asr.ingest.dialects.audiocodes import AudioCodes
from trio_asr.ingest.dialects.generic import Generic
from trio_asr.ingest.dialects.media_events import MediaEvents, Platform
from trio_asr.ingest.dialects.ozonetel import Ozonetel
from trio_asr.ingest.dialects.plivo import PLIVO
from trio_asr.ingest.dialects.smartflo import SMARTFLO
from trio_asr.ingest.dialects.telnyx import TELNYX
from trio_asr.ingest.dialects.twilio import TWILIO

_MEDIA_EVENTS: dict[str, Platform] = {
    "twilio": TWILIO,
    "telnyx": TELNYX,
    "plivo": PLIVO,
    "smartflo": SMARTFLO,
}
_OTHERS: dict[str, Callable[[Request], Dialect]] = {
    "exotel": exotel.open_dialect,
    "genesys": genesys.open_dialect,
    "jambonz": jambonz.open_dialect,
    "ozonetel": lambda _: Ozonetel(),
    "vonage": vonage.open_dialect,
    "knowlarity": knowlarity.open_dialect,
    "asterisk": asterisk.open_dialect,
}
# Platforms that offer one and hang up unless it is accepted. The others must not be told one.
_SUBPROTOCOLS = {"jambonz": jambonz.SUBPROTOCOLS, "asterisk": asterisk.SUBPROTOCOLS}


def open_dialect(route: Route, request: Request, ack_interval: int) -> tuple[Dialect, str | None]:
    """Return the reader of a socket, and the subprotocol to accept, if any."""
    known = _SUBPROTOCOLS.get(route.platform, ())
    subprotocol = next((one for one in request.subprotocols if one in known), None)
    if route.platform == "generic":
        return Generic(ack_interval), subprotocol
    if route.platform == "audiocodes":
        return AudioCodes(route.tracks), subprotocol
    if (platform := _MEDIA_EVENTS.get(route.platform)) is not None:
        return MediaEvents(as_told(platform, route)), subprotocol
    return _OTHERS[route.platform](request), subprotocol


def as_told(platform: Platform, route: Route) -> Platform:
    """Return a platform with what it does not say itself, and the route does."""
    return platform._replace(
        tracks=route.tracks or platform.tracks, byte_order=route.byte_order or platform.byte_order
    )

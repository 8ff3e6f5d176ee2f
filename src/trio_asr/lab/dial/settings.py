"""What a caller is asked for: a call, where to, as which platform, and what goes wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trio_asr.client.audio import Recording
from trio_asr.config import Secret


@dataclass(frozen=True)
class Faults:
    """What goes wrong in a call. Times are in seconds of the call, from its first sample.

    A pair is a time and a number of milliseconds. What is by chance is drawn from `seed`, the call's id and
    the number of the socket.
    """

    drop_at_s: float | None = None  # TCP of the first socket is cut there
    no_stop: bool = False
    reordered: bool = False
    repeated: bool = False
    clock_jump: tuple[float, int] | None = None  # forward, or back if negative
    lose: tuple[float, int] | None = None  # the audio there never comes, and the clock goes on
    late_track: tuple[float, int] | None = None  # from there on the second leg comes later than the first
    second_socket_s: float | None = None  # another socket for the call, while the first one lives
    media_before_start: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Dial:
    """A call for one URL, as a platform places it.

    `account` is who the platform says it is; the generic protocol's tenant. `secret` is what a platform signs
    or identifies itself with: the bearer token of the generic protocol, Twilio's auth token, Genesys' client
    secret in base64; `key` is the public part of it (Genesys). A user and a password, as Exotel and jambonz
    have them, stand in the URL.

    `public_url` is the URL as the platform knows it, if a proxy made another one of it: that one is signed.
    `burst_ms` of audio wait when the socket opens and go at once; None is the platform's own habit. `pace` is
    in times of real time. With `reconnect_after_s` a broken socket (cut, lost, or closed with 1001 or 1012)
    is followed by another one so many seconds later: while the call lasts, and once after its end if the
    server has confirmed only a part of it. `expect` is the HTTP status or close code that the call
    is to end with, if not the platform's own end.
    """

    platform: str
    url: str = field(repr=False)  # a token may be in its path
    call: str
    recording: Recording = field(repr=False)
    account: str = "acme"
    caller: str = ""
    called: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    secret: Secret | None = None
    key: str = ""
    public_url: str = field(default="", repr=False)
    burst_ms: int | None = None
    pace: float = 1.0
    reconnect_after_s: float | None = None
    expect: int | None = None
    faults: Faults = Faults()

    @property
    def signed_url(self) -> str:
        """The URL that a signature is of."""
        return self.public_url or self.url

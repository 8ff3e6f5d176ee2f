"""The platforms by name, and what fits them. Pure."""

from __future__ import annotations

from dataclasses import replace

from trio_asr.client.audio import in_encoding
from trio_asr.lab.dial.asterisk import Asterisk
from trio_asr.lab.dial.audiocodes import AudioCodes
from trio_asr.lab.dial.audiosocket import AudioSocket
from trio_asr.lab.dial.exotel import Exotel
from trio_asr.lab.dial.generic import Generic
from trio_asr.lab.dial.genesys import Genesys
from trio_asr.lab.dial.jambonz import FreeSwitch, Jambonz
from trio_asr.lab.dial.knowlarity import Knowlarity
from trio_asr.lab.dial.ozonetel import Ozonetel
from trio_asr.lab.dial.platform import Platform, Unfit
from trio_asr.lab.dial.plivo import Plivo, Vobiz
from trio_asr.lab.dial.settings import Dial
from trio_asr.lab.dial.smartflo import Smartflo
from trio_asr.lab.dial.telnyx import Telnyx
from trio_asr.lab.dial.twilio import Twilio
from trio_asr.lab.dial.vonage import Vonage

PLATFORMS: dict[str, type[Platform]] = {
    "generic": Generic,
    "twilio": Twilio,
    "telnyx": Telnyx,
    "plivo": Plivo,
    "vobiz": Vobiz,
    "smartflo": Smartflo,
    "exotel": Exotel,
    "ozonetel": Ozonetel,
    "genesys": Genesys,
    "audiocodes": AudioCodes,
    "jambonz": Jambonz,
    "freeswitch": FreeSwitch,
    "vonage": Vonage,
    "knowlarity": Knowlarity,
    "asterisk": Asterisk,
    "audiosocket": AudioSocket,
}


def fitted(dial: Dial) -> Dial:
    """Return the call with its recording as the platform has audio.

    Raises:
        Unfit: The platform has no such rate, fewer channels, no message that the fault could be done to, or
            no use for the secret.
    """
    name, traits, faults = dial.platform, PLATFORMS[dial.platform].TRAITS, dial.faults
    PLATFORMS[name](dial)
    form = dial.recording.format
    if form.rate not in traits.rates:
        raise Unfit(f"{name} has no audio of {form.rate} Hz")
    if form.channels > traits.channels:
        raise Unfit(f"{name} has one channel, the recording has {form.channels}")
    if faults.clock_jump and not traits.clocked:
        raise Unfit(f"{name} tells no times: its clock cannot jump")
    if (faults.reordered or faults.repeated) and not traits.numbered:
        raise Unfit(f"{name} does not number its messages: none can be told from another")
    if faults.late_track and (not traits.legs or form.channels == 1):
        raise Unfit(f"{name} sends one row of audio here: no leg of it can be late")
    encoding = form.encoding if form.encoding in traits.encodings else traits.encodings[0]
    return replace(dial, recording=in_encoding(dial.recording, encoding))

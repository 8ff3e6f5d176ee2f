"""Options of Deepgram's live API, and secrets, that no configuration can set here, and why."""

_TIMELINE = (
    "it would break the timeline of the call, which has one mono channel and takes results from its socket"
)
_FROM_FRAMES = "it is taken from the frames of each call"

REFUSED: dict[str, str] = {
    "deepgram.callback": _TIMELINE,
    "deepgram.callback_method": _TIMELINE,
    "deepgram.multichannel": _TIMELINE,
    "deepgram.channels": _TIMELINE,
    "deepgram.encoding": _FROM_FRAMES,
    "deepgram.sample_rate": _FROM_FRAMES,
    "deepgram.detect_language": "Deepgram does not offer it on live audio; see deepgram.language",
    "deepgram.filler_words": "Deepgram documents it for recordings only",
    "deepgram.api_key": "the key does not belong into this file; name a file that holds it in "
    "deepgram.api_key_file, or set DEEPGRAM_API_KEY",
    "http.token": "the token does not belong into this file; name a file that holds it in "
    "http.token_file, or set TRIO_ASR_HTTP_TOKEN",
}

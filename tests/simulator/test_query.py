import pytest

from trio_asr.simulator.handshake import decide, query_of
from trio_asr.simulator.query import MODELS, Refused, check, parse

RAW = "encoding=linear16&sample_rate=8000"


def refusal(query: str) -> Refused:
    with pytest.raises(Refused) as caught:
        check(parse(query))
    return caught.value


def test_defaults() -> None:
    asked = check(parse(RAW))
    assert (asked.model, asked.language, asked.encoding, asked.sample_rate) == (
        "base-general",
        "en",
        "linear16",
        8000,
    )
    assert (asked.interim_results, asked.vad_events, asked.punctuate, asked.diarize) == (False,) * 4
    assert (asked.endpointing_ms, asked.utterance_end_ms) == (10, None)


def test_values_are_unquoted_and_repeated_names_kept() -> None:
    asked = check(
        parse(RAW + "&model=nova-3&keyterm=New%20York&keyterm=a+b&extra=id:x%3Ay&extra=k:1&extra=k:2")
    )
    assert asked.keyterms == ("New York", "a b")
    assert asked.extra == {"id": "x:y", "k": "2"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("interim_results=True", "Invalid 'interim_results' value of 'True'."),
        ("vad_events=1", "Invalid 'vad_events' value of '1'."),
        ("smart_format=", "Invalid 'smart_format' value of ''."),
        ("interim_results=true&utterance_end_ms=999", "Invalid 'utterance_end_ms' value of '999'."),
        ("interim_results=true&utterance_end_ms=1e3", "Invalid 'utterance_end_ms' value of '1e3'."),
        ("utterance_end_ms=1000", "'utterance_end_ms' requires 'interim_results=true'."),
        ("endpointing=yes", "Invalid 'endpointing' value of 'yes'."),
        ("endpointing=-1", "Invalid 'endpointing' value of '-1'."),
        ("model=nova-3&keywords=a:1", "Keywords are not supported for Nova-3. Please use `keyterm` instead."),
        ("model=nova-9", "No such model/version combination found."),
        ("model=nova-3&language=klingon", "No such model/version combination found."),
        ("model=base&language=multi", "No such model/version combination found."),
        ("dictation=true", "'dictation' requires 'punctuate=true'."),
        ("diarize=true&diarize_model=v1", "'diarize' and 'diarize_model' exclude each other."),
        ("diarize_model=v2", "Invalid 'diarize_model' value of 'v2'."),
        ("multichannel=yes", "Invalid 'multichannel' value of 'yes'."),
        ("multichannel=true&channels=21", "Invalid 'channels' value of '21'."),
        ("channels=two", "Invalid 'channels' value of 'two'."),
        ("channels=0", "Invalid 'channels' value of '0'."),
        ("extra=novalue", "Invalid 'extra' value of 'novalue'."),
        ("callback=http://x/", "The simulator does not offer 'callback'."),
        ("&".join(["search=a"] * 51), "More than 50 values of 'search'."),
    ],
)
def test_bad_values_are_refused(query: str, message: str) -> None:
    refused = refusal(f"{RAW}&{query}")
    assert (refused.status, refused.message) == (400, message)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "The simulator reads raw audio only: give 'encoding' and 'sample_rate'."),
        ("encoding=linear16", "'sample_rate' is required with encoding 'linear16'."),
        ("sample_rate=8000", "'sample_rate' needs 'encoding'."),
        ("encoding=pcm&sample_rate=8000", "Invalid 'encoding' value of 'pcm'."),
        ("encoding=linear16&sample_rate=8k", "Invalid 'sample_rate' value of '8k'."),
        ("encoding=linear16&sample_rate=7", "Invalid 'sample_rate' value of '7'."),
        ("encoding=amr-nb&sample_rate=16000", "Invalid 'sample_rate' value of '16000'."),
        (
            "encoding=opus&sample_rate=48000",
            "The simulator does not offer encoding 'opus', only linear16, linear32, mulaw, alaw.",
        ),
    ],
)
def test_the_audio_must_be_named(query: str, message: str) -> None:
    refused = refusal(query)
    assert (refused.status, refused.message) == (400, message)


def test_a_model_that_cannot_stream_is_405() -> None:
    assert refusal(RAW + "&model=whisper-large").status == 405


@pytest.mark.parametrize("model", [*sorted(MODELS), "40bd3654-e622-47c4-a111-63a61b23bfe8"])
def test_known_models_are_taken(model: str) -> None:
    assert check(parse(f"{RAW}&model={model}")).model == model


@pytest.mark.parametrize(
    "query",
    [
        *("keyterms=a", "nonsense=1", "endpointing=300", "endpointing=false", "endpointing=true"),
        *("language=de-CH", "punctuate=true&dictation=true", "diarize_model=latest", "channels=1"),
        *("model=nova-2&language=multi", "model=nova-2&keywords=a:2", "redact=pci&redact=ssn"),
        "interim_results=true&utterance_end_ms=1000",
    ],
)
def test_good_and_unknown_options_are_taken(query: str) -> None:
    check(parse(f"{RAW}&{query}"))


@pytest.mark.parametrize(
    ("query", "transcripts", "mixed"),
    [
        ("", 1, False),
        ("multichannel=true", 1, False),
        ("channels=2", 1, True),
        ("channels=2&multichannel=false", 1, True),
        ("channels=2&multichannel=true", 2, False),
        ("channels=20&multichannel=true", 20, False),
    ],
)
def test_channels_are_transcribed_apart_only_if_asked_for(query: str, transcripts: int, mixed: bool) -> None:
    asked = check(parse(f"encoding=mulaw&sample_rate=8000&{query}"))
    assert (asked.transcripts, asked.mixed) == (transcripts, mixed)
    assert asked.bytes_per_s == 8000 * asked.channels
    heard = asked.for_ear()
    assert (heard.channels, heard.encoding) == (1, "linear16" if mixed else "mulaw")


def test_what_is_refused_cannot_break_the_header() -> None:
    message = refusal(RAW + "&vad_events=a%0D%0AX-Evil:%20%C3%A9" + "x" * 5000).message
    assert message.startswith("Invalid 'vad_events' value of 'a??X-Evil: ?xxx")
    assert len(message) <= 300


def test_the_path_counts_before_the_key_and_the_key_before_the_query() -> None:
    for target, headers, status in [
        ("/v1/speak?bad", [], 404),
        ("/v1/listen?bad", [], 401),
        ("/v1/listen?bad", [(b"authorization", b"Token ")], 401),
        ("/v1/listen?bad", [(b"authorization", b"Basic key")], 401),
        ("/v1/listen?bad", [(b"authorization", b"Token key")], 400),
    ]:
        with pytest.raises(Refused) as caught:
            decide(target, headers, [], api_key=None)
        assert caught.value.status == status


def test_the_query_of_a_target() -> None:
    assert query_of("/v1/listen?a=1&a=2&b=") == {"a": ("1", "2"), "b": ("",)}
    assert query_of("/v1/listen") == {}

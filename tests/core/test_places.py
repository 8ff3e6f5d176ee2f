"""Where the calls of a fleet are."""

from trio_asr.config import RedisConfig
from trio_asr.core.fleet.places import Places
from trio_asr.core.fleet.route import shard_of


def test_the_formula_is_everybody_s_crc32() -> None:
    assert shard_of("123456789", 2**32) == 0xCBF43926  # the check value of CRC-32
    assert [shard_of(name, 64) for name in ("call-001", "Grüße", "é" * 3)] == [55, 49, 24]


def test_keys_of_a_fleet_begin_with_their_shard() -> None:
    places = Places(8, "eu")
    assert places.of("call-001") == "{eu.7}:"
    assert places.prefixes == [f"{{eu.{shard}}}:" for shard in range(8)]
    config = RedisConfig(consumer_group="eu").of_shard(7)
    assert config.audio_stream == places.of("call-001") + "audio_stream"


def test_a_single_worker_s_have_no_prefix() -> None:
    assert Places().of("call-001") == Places().of("\udc80") == ""
    assert Places().prefixes == [""]

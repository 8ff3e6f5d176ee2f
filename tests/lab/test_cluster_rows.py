"""The rows of a fleet on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_asr.lab.chaos.cluster_rows import ROWS, kill_primary
from trio_asr.lab.chaos.cluster_run import cluster_row
from trio_asr.lab.chaos.running import Terms, play_row


def test_one_is_quick_and_all_are_of_a_fleet_on_a_cluster() -> None:
    assert [row.name for row in ROWS if row.quick] == ["cluster-kill"]
    for row in ROWS:
        assert row.name.startswith("cluster-")
        assert (row.places.shards, row.members, row.node_timeout_ms) == (8, "abc", 4000)


@pytest.mark.integration
@pytest.mark.soak
async def test_a_primary_is_killed_and_all_that_redis_has_is_in_a_final(
    clusters: None, tmp_path: Path
) -> None:
    row = cluster_row("kill", "a primary is killed", kill_primary, most=2, overlaps=True, gone=True)
    outcome = await play_row(row, tmp_path, Terms())
    assert outcome.broken == []
    assert outcome.samples == outcome.covered > 0

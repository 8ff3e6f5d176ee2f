"""The table: one row for each fault."""

from __future__ import annotations

from trio_asr.lab.chaos import (
    beside_rows,
    cluster_rows,
    daemon_rows,
    deepgram_rows,
    fleet_mix,
    fleet_rows,
    hostile_rows,
    ingest_rows,
    input_rows,
    leg_rows,
    peer_rows,
    redis_rows,
    version_rows,
)
from trio_asr.lab.chaos.row import ChaosRun, Row


async def _calm(run: ChaosRun) -> None:
    await run.at(1)


ROWS: tuple[Row, ...] = (
    Row("calm", "nothing at all", _calm, quick=True),
    *deepgram_rows.ROWS,
    *daemon_rows.ROWS,
    *fleet_rows.ROWS,
    *beside_rows.ROWS,
    *cluster_rows.ROWS,
    *fleet_mix.ROWS,
    *redis_rows.ROWS,
    *input_rows.ROWS,
    *hostile_rows.ROWS,
    *peer_rows.ROWS,
    *leg_rows.ROWS,
    *ingest_rows.ROWS,
    *version_rows.ROWS,
)

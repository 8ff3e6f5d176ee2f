from __future__ import annotations

import math

import pytest

from trio_asr.telemetry.counters import quantile


@pytest.mark.parametrize(
    ("counts", "q", "expected"),
    [
        ([0, 0, 0], 0.99, None),
        ([10, 0, 0], 0.5, 0.5),
        ([10, 10, 0], 0.5, 1.0),
        ([10, 10, 0], 0.75, 2.0),
        ([0, 4, 0], 1.0, 3.0),
        ([0, 0, 5], 0.99, math.inf),  # beyond the last bound
    ],
)
def test_quantile(counts: list[int], q: float, expected: float | None) -> None:
    assert quantile((1.0, 3.0), counts, q) == expected
    assert quantile((1.0, 3.0, math.inf), counts, q) == expected

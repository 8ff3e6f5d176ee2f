"""Arithmetic on stretches of samples, `(first, last)` with `last` exclusive. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the samples in any of the spans, as the fewest spans, in order."""
    out: list[Span] = []
    for first, last in sorted(span for span in spans if span[1] > span[0]):
        if out and first <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], last)
        else:
            out.append((first, last))
    return out


def size(spans: Iterable[Span]) -> int:
    """Return the number of samples in the spans; a sample in several counts several times."""
    return sum(max(0, last - first) for first, last in spans)


def minus(spans: Iterable[Span], other: Iterable[Span]) -> list[Span]:
    """Return the samples of `spans` that are not in `other`."""
    out = []
    taken = union(other)
    for first, last in union(spans):
        at = first
        for a, b in taken:
            if b <= at or a >= last:
                continue
            if a > at:
                out.append((at, a))
            at = b
        if at < last:
            out.append((at, last))
    return out


def repeated(spans: Iterable[Span]) -> int:
    """Return how many samples are in spans more than once, counted once per repetition."""
    kept = list(spans)
    return size(kept) - size(union(kept))

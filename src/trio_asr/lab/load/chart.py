"""A sweep as a page: CPU and delays over the number of calls, as drawings within the HTML. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from trio_asr.lab.load.report import Report

WIDTH, HEIGHT, MARGIN = 640, 280, 56
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; } td, th { padding: .2em .8em; text-align: right; }
th { border-bottom: 1px solid #999; } svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #ddd; } }
"""


class Line(NamedTuple):
    """A line of a drawing; a point without a value is left out."""

    name: str
    points: Sequence[tuple[float, float | None]]


def page(reports: Sequence[Report]) -> str:
    """The whole page."""
    cost = [(one.calls, one.cpu_ms_per_call_second) for one in reports]
    busy = (
        ("daemon", [(one.calls, 100 * one.daemon_cpu) for one in reports]),
        ("simulator", [(one.calls, 100 * one.simulator_cpu) for one in reports]),
        ("feeder", [(one.calls, 100 * one.feeder_cpu) for one in reports]),
        ("Redis", [(one.calls, 100 * one.redis_cpu) for one in reports]),
    )
    late = (
        ("due to socket, p50", [(one.calls, one.send_delay.p50) for one in reports]),
        ("due to socket, p99", [(one.calls, one.send_delay.p99) for one in reports]),
        ("result to Redis, p50", [(one.calls, one.commit_delay.p50) for one in reports]),
        ("result to Redis, p99", [(one.calls, one.commit_delay.p99) for one in reports]),
    )
    drawings = (
        drawing("CPU milliseconds per call and second", [Line("daemon", cost)]),
        drawing("Per cent of a core", [Line(*one) for one in busy]),
        drawing("Added delay in milliseconds", [Line(*one) for one in late]),
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>trio-asr load</title>'
        f"<style>{STYLE}</style><h1>Load</h1>{''.join(drawings)}{_table(reports)}</html>\n"
    )


def drawing(title: str, lines: Sequence[Line]) -> str:
    """One drawing with axes from 0, and the lines' names."""
    points = [(x, y) for line in lines for x, y in line.points if y is not None]
    most_x = max((x for x, _ in points), default=1) or 1
    most_y = round_up(max((y for _, y in points), default=1) or 1)

    def place(x: float, y: float) -> str:
        across = MARGIN + (WIDTH - 2 * MARGIN) * x / most_x
        return f"{across:.1f},{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * y / most_y:.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">']
    for step in range(5):
        value = most_y * step / 4
        x, y = place(0, value).split(",")
        parts.append(f'<path d="M{x},{y}H{WIDTH - MARGIN}" stroke="#8884"/>')
        parts.append(f'<text x="{float(x) - 6}" y="{float(y) + 4}" text-anchor="end">{value:g}</text>')
    for calls in sorted({x for x, _ in points}):
        x, y = place(calls, 0).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 18}" text-anchor="middle">{calls:g}</text>')
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        drawn = [place(x, y) for x, y in line.points if y is not None]
        parts.append(f'<polyline points="{" ".join(drawn)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in map(_both, drawn)]
        at = MARGIN + number * 145
        parts.append(f'<text x="{at}" y="20" style="fill:{colour}">{html.escape(line.name)}</text>')
    return f"<h2>{html.escape(title)}</h2>{''.join(parts)}</svg>"


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 ... times a power of ten."""
    step = 1.0
    while step > value:
        step /= 10
    while step * 10 < value:
        step *= 10
    return next(step * factor for factor in (1, 2, 5, 10) if step * factor >= value)


def _both(point: str) -> tuple[str, str]:
    x, _, y = point.partition(",")
    return x, y


def _table(reports: Sequence[Report]) -> str:
    heads = ("calls", "CPU ms", "calls per core", "KB per call", "due to socket", "result to Redis", "lost")
    rows = "".join(
        f"<tr><td>{one.calls}<td>{one.cpu_ms_per_call_second:.3f}<td>{one.calls_per_core}"
        f"<td>{one.memory_kb_per_call:.0f}<td>{one.send_delay}<td>{one.commit_delay}<td>{one.account.lost}"
        for one in reports
    )
    head = "".join(f"<th>{one}" for one in heads)
    return f"<h2>Figures</h2><p>Delays in ms: p50 / p95 / p99.</p><table><tr>{head}{rows}</table>"

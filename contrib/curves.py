"""Draw what `leveler demo --record FILE` recorded: arriving, waiting and completing, as one SVG.

leveler demo --record demo.json
python contrib/curves.py demo.json contrib/images/levelled.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

WIDTH, LEFT, RIGHT, TOP = 860, 150, 24, 62
PANEL, GAP, FOOT = 108, 30, 40
HEIGHT = TOP + 3 * PANEL + 2 * GAP + FOOT
INK, FAINT, LIMIT = "#24292f", "#8c959f", "#cf222e"


class Panel(NamedTuple):
    """One curve."""

    name: str
    unit: str
    values: Sequence[float]
    #: The value that fills the panel.
    top: float
    colour: str


def main(recorded: Path, target: Path) -> None:
    target.write_text(svg(json.loads(recorded.read_text())))
    print(f"{target}: {target.stat().st_size} bytes")


def svg(data: dict[str, Any]) -> str:
    curves, rate = data["curves"], data["per_second"]
    flow = 1.05 * max(curves["arriving"])
    panels = [
        Panel("arriving", "messages/s", curves["arriving"], flow, "#bf8700"),
        Panel("waiting", "messages", curves["waiting"], 1.05 * max(curves["waiting"]), "#0969da"),
        Panel("completing", "messages/s", curves["completing"], flow, "#1a7f37"),
    ]
    seconds = len(curves["arriving"]) * curves["column_seconds"]
    parts = [*head(data["summary"], rate), *axis(seconds)]
    for at, panel in enumerate(panels):
        parts += drawn(panel, TOP + at * (PANEL + GAP), rate if panel.unit == "messages/s" else None)
    return "\n".join([*parts, "</svg>"]) + "\n"


def head(summary: dict[str, Any], rate: float) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13" role="img">'
    )
    yield f"<title>{summary['sent']:,} messages arrive in bursts and are completed at a level rate</title>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff" stroke="#d0d7de"/>'
    yield text(24, 28, "A week of departures from New York, levelled", size=16, weight=600)
    yield text(
        24,
        47,
        f"{summary['sent']:,} sent, {summary['completed']:,} completed, {summary['dead']:,} dead letters, "
        f"{summary['lost']} lost; the downstream is called {rate} times a second",
        colour=FAINT,
    )


def axis(seconds: float) -> Iterator[str]:
    bottom = HEIGHT - FOOT
    for second in range(0, int(seconds) + 1, 5):
        x = LEFT + second / seconds * (WIDTH - LEFT - RIGHT)
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#eaeef2"/>'
        yield text(x, bottom + 20, f"{second} s", colour=FAINT, anchor="middle")


def drawn(panel: Panel, y: float, rate: float | None) -> Iterator[str]:
    bottom = y + PANEL
    yield text(24, y + 18, panel.name, weight=600, colour=panel.colour)
    yield text(24, y + 36, f"up to {max(panel.values):,.0f}", colour=INK)
    yield text(24, y + 53, panel.unit, colour=FAINT)
    yield f'<path d="{area(panel, bottom)}" fill="{panel.colour}" fill-opacity="0.75"/>'
    yield f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="{FAINT}"/>'
    if rate is not None:
        level = bottom - rate / panel.top * PANEL
        yield (
            f'<line x1="{LEFT}" y1="{level:.1f}" x2="{WIDTH - RIGHT}" y2="{level:.1f}" stroke="{LIMIT}" '
            f'stroke-dasharray="5 4"/>'
        )
        yield text(WIDTH - RIGHT, level - 5, f"{rate}/s", colour=LIMIT, anchor="end", size=11)


def area(panel: Panel, bottom: float) -> str:
    """Columns, as one outline."""
    step = (WIDTH - LEFT - RIGHT) / len(panel.values)
    points = [f"M{LEFT},{bottom:.1f}"]
    for at, value in enumerate(panel.values):
        y = bottom - value / panel.top * PANEL
        points += [f"L{LEFT + at * step:.1f},{y:.1f}", f"H{LEFT + (at + 1) * step:.1f}"]
    return "".join([*points, f"V{bottom:.1f}Z"])


def text(
    x: float, y: float, words: str, *, colour: str = INK, size: int = 13, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{words}</text>'
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

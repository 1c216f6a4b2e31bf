"""The screen: arriving, waiting and completing as curves, while it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leveler.demo.curve import Curves, drawn

if TYPE_CHECKING:
    from rich.text import Text

    from leveler.demo.demo import Demo
    from leveler.demo.plan import Plan

_ROWS: Final = 4
_LABEL_WIDTH: Final = 22


def screen(demo: Demo, plan: Plan, width: int) -> Text:
    """How the demo looks now, on a terminal of this width."""
    from rich.text import Text

    columns = max(20, min(100, width - _LABEL_WIDTH - 1))
    seconds = max(plan.expected_seconds, demo.elapsed_seconds)
    text = Text(f"{_title(plan)}\n\n")
    for name, colour, top, label in _parts(now := demo.curves(columns, seconds / columns)):
        values = getattr(now, name)
        labels = [name, label, *[""] * (_ROWS - 2)]
        for words, blocks in zip(labels, drawn(values, top, _ROWS), strict=True):
            text.append(f"{words:<{_LABEL_WIDTH}}")
            text.append(f"{blocks.rstrip()}\n", style=colour)
    text.append(f"{'':<{_LABEL_WIDTH}}{_axis(columns, seconds)}\n\n", style="dim")
    text.append(_counts(demo), style="bold")
    text.append(f"\n{demo.phase}\n", style="dim")
    return text


def _parts(now: Curves) -> list[tuple[str, str, float, str]]:
    # Arriving and completing have one scale: that one of them is flat is what there is to see.
    flow = max([1.0, *now.arriving, *now.completing])
    return [
        ("arriving", "yellow", flow, f"  up to {max([0.0, *now.arriving]):,.0f}/s"),
        ("waiting", "blue", max([1.0, *now.waiting]), f"  up to {max([0.0, *now.waiting]):,.0f}"),
        ("completing", "green", flow, f"  up to {max([0.0, *now.completing]):,.0f}/s"),
    ]


def _title(plan: Plan) -> str:
    return (
        f"{len(plan.arrivals):,} departures from New York, 4 to 10 February 2013: a week in {plan.seconds:g} seconds.\n"
        f"The downstream bears {plan.borne_per_second:,} calls/s and fails every fifth; leveler calls it "
        f"{plan.per_second:,} times/s."
    )


def _counts(demo: Demo) -> str:
    counts = {
        "sent": len(demo.record.sent_at),
        "waiting": demo.waiting,
        "completed": len(demo.book.shown_at),
        "dead": demo.dead,
        "calls failed": demo.book.failed,
        "calls refused": demo.book.refused,
    }
    return "   ".join(f"{name} {count:,}" for name, count in counts.items())


def _axis(columns: int, seconds: float) -> str:
    marks = "".ljust(columns)
    for second in range(0, int(seconds) + 1, 10):
        at = int(second / seconds * columns)
        label = f"{second} s"
        marks = (marks[:at] + label + marks[at + len(label) :])[:columns]
    return marks.rstrip()

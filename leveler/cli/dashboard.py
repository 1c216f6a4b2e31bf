"""Dashboard: the looks of `leveler top` as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from leveler.cli.looks import Looks
from leveler.cli.terminal import age, escaped, table
from leveler.consumer.limits import Figures
from leveler.demo.curve import drawn as blocks
from leveler.monitor.flow import QueueFlow

_HEAD: Final = (
    *("QUEUE", "ARRIVING", "WAITING", "OLDEST", "RUNNING", "LIMIT"),
    *("COMPLETING", "RETRYING", "RUN", "BREAKER", "DEAD", "WORKERS", "USEFUL"),
)


def drawn(looks: Looks) -> str:
    """All of it as tables."""
    parts = [_queues(looks.flows), _limits(looks.limits), _workers(looks)]
    return "\n\n".join(part for part in parts if part)


def _queues(flows: Mapping[str, QueueFlow]) -> str:
    rows = [
        [
            name,
            _rate(flow.arriving_per_second),
            _count(flow.depth.waiting if flow.depth else None),
            age(flow.depth.oldest_age_seconds if flow.depth else None),
            f"{flow.running:,}" if flow.workers else "-",
            _number(flow.concurrency),
            _rate(flow.completing_per_second),
            _rate(flow.retrying_per_second),
            "-" if flow.run_seconds is None else f"{flow.run_seconds * 1000:,.1f}ms",
            flow.breaker or "-",
            _count(flow.depth.dead if flow.depth else None),
            f"{flow.workers:,}",
            _count(flow.useful_workers) if flow.workers else "-",
        ]
        for name, flow in flows.items()
    ]
    return table(_HEAD, rows, right=range(1, len(_HEAD))) if rows else ""


def _limits(limits: Mapping[str, Figures]) -> str:
    rows = [
        [name, ", ".join(f"{key} {_number(value)}" for key, value in shown.items())] for name, shown in limits.items()
    ]
    return table(["LIMITS", ""], rows) if rows else ""


def _workers(looks: Looks) -> str:
    rows = [
        [url, one.process, age(one.up_seconds), "ready" if one.ready else "not ready"]
        for url, one in looks.workers.items()
    ]
    rows += [[url, "-", "-", error.why] for url, error in looks.unreadable.items()]
    return table(["WORKER", "PROCESS", "UP", ""], rows)


def curves(looks: Looks) -> str:
    """The last looks of each queue, in one row a curve."""
    lines = []
    for name, points in looks.curves.items():
        arriving, waiting, completing = (list(column) for column in zip(*points, strict=True))
        # Arriving and completing have one scale: that one of them is flat is what there is to see.
        flow = max([1.0, *arriving, *completing])
        for words, values, most in (
            ("arriving", arriving, flow),
            ("waiting", waiting, max([1.0, *waiting])),
            ("completing", completing, flow),
        ):
            lines.append(f"{escaped(name)} {words:<11}{blocks(values, most, 1)[0]}  up to {max(values):,.0f}")
    return "\n".join(lines)


def _rate(per_second: float | None) -> str:
    return "-" if per_second is None else f"{per_second:,.1f}/s"


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _number(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,.4g}" if value != int(value) else f"{int(value):,}"

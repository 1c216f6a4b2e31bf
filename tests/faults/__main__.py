"""``make faults``: see the package."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median

from tests.containers.find import Wish
from tests.faults.flight import Recovery
from tests.faults.harness import Harness, Outcome, Plan
from tests.faults.plants import PLANTS
from tests.faults.subjects import ORDERED, SUBJECTS
from tests.faults.subjects.subject import Place


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    words.add_argument("subject", choices=SUBJECTS, nargs="?", default="sqlite")
    words.add_argument("--messages", type=int, default=20_000)
    words.add_argument("--faults", type=int, default=20)
    words.add_argument("--killers", type=int, default=2)
    words.add_argument("--poison", type=float, default=0.01, help="share of messages that are poison or odd")
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--seed", type=int, action="append", help="repeat it for several runs")
    words.add_argument("--kind", action="append", default=[], help="only this kind of fault; may be repeated")
    words.add_argument("--ordered", action="store_true")
    words.add_argument("--fleet-rate", type=float, default=0.0, help="starts a second of all workers together")
    words.add_argument("--as", dest="wish", choices=("any", "container", "process"), default="any", help="its server")
    words.add_argument("--plant", choices=PLANTS, default="", help="plant this bug; the run must fail")
    words.add_argument("--json", type=Path, help="write the figures here, too")
    given = words.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background of a shell, the first would not be heard
        signal.signal(number, lambda *_: sys.exit(1))
    if given.ordered and given.subject not in ORDERED:
        words.error(f"{given.subject} has no order per key")
    failed = False
    figures = []
    for seed in given.seed or [1]:
        plan = Plan(
            messages=given.messages,
            faults=given.faults,
            seed=seed,
            workers=given.workers,
            killers=given.killers,
            poison_share=given.poison,
            ordered=given.ordered,
            fleet_per_second=given.fleet_rate,
            plant=given.plant,
            kinds=tuple(given.kind),
        )
        title, outcome = run(given.subject, plan, given.wish)
        print(report(title, plan, outcome), flush=True)
        figures.append({"subject": title, "plan": asdict(plan), **figures_of(outcome)})
        failed = failed or bool(outcome.verdict.violations())
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=1))
    return 1 if failed else 0


def run(name: str, plan: Plan, wish: Wish = "any") -> tuple[str, Outcome]:
    """One run in a folder of its own: what was tested, and what happened."""
    with folder() as (ledger, place), SUBJECTS[name](Place(place, wish)) as subject:
        return subject.title, Harness(subject, ledger, plan).run()


@contextmanager
def folder() -> Iterator[tuple[Path, Path]]:
    """A place for the ledger, and one for the broker's files: a small file system of its own where we may make one."""
    with tempfile.TemporaryDirectory(prefix="leveler-faults-") as name:
        ledger, place = Path(name) / "ledger", Path(name) / "broker"
        ledger.mkdir()
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0700", "tmpfs", str(place)]
        mounted = False
        with suppress(FileNotFoundError):
            mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        try:
            yield ledger, place
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", str(place)], check=True)


def figures_of(outcome: Outcome) -> dict[str, object]:
    """The same as the table, for programs."""
    verdict = outcome.verdict
    return {
        "violations": verdict.violations(),
        "accepted": verdict.accepted,
        "completed": verdict.completed,
        "dead": verdict.dead_by_reason,
        "lost": len(verdict.lost),
        "duplicated": verdict.duplicated,
        "hits": verdict.flight.hits,
        "at risk": verdict.bound,
        "recoveries": [one.seconds for one in verdict.flight.recoveries],
        "longest silence": verdict.flight.longest_silence,
        "sent again": verdict.sent_again,
        "faults": outcome.faults,
        "missed": outcome.missed,
        "seconds": outcome.seconds,
        "histories": outcome.histories,
    }


def report(subject: str, plan: Plan, outcome: Outcome) -> str:
    """A table for people."""
    verdict, flight = outcome.verdict, outcome.verdict.flight
    faults = ", ".join(f"{name} {count}" for name, count in sorted(outcome.faults.items()) if count)
    missed = ", ".join(f"{name} {count}" for name, count in sorted(outcome.missed.items()) if count)
    recoveries = sorted(flight.recoveries) or [Recovery(0.0, "none", 0.0)]
    worst = recoveries[-1]
    slowest = max((seconds for _, seconds in outcome.stops), default=0.0)
    rows = {
        "messages sent / accepted": f"{verdict.sent} / {verdict.accepted}",
        "completed / dead": f"{verdict.completed} / {verdict.dead} {verdict.dead_by_reason}",
        "of them good, hit each time": str(verdict.unlucky or "none"),
        "faults": f"{sum(outcome.faults.values())} ({faults}), killers {plan.killers}",
        "faults without an opportunity": missed or "none",
        "hit an operation in flight": str(flight.hits),
        "duplicated": f"{verdict.duplicated}, of up to {verdict.bound} in flight at faults ({flight.at_risk} runs, "
        f"{flight.doubtful.total() if verdict.copies else 0} copies, {verdict.sent_again} sends)",
        "recovery": f"median {median(one.seconds for one in recoveries):.2f} s, worst {worst.seconds:.2f} s after "
        f"{worst.fault}, of {len(flight.recoveries)}",
        "longest silence unnoticed": f"{flight.longest_silence:.1f} s",
        "lost / phantom / stuck": f"{len(verdict.lost)} / {len(verdict.phantom)} / {verdict.stuck}",
        "stops by SIGTERM": f"{len(outcome.stops)}, not clean {sum(code != 0 for code, _ in outcome.stops)}, "
        f"slowest {slowest:.1f} s",
        "violations": str(verdict.violations() or "none"),
        "examples": str(verdict.examples() or "none"),
        "time": f"{outcome.seconds:.0f} s",
    }
    title = f"{subject}{' ordered' if plan.ordered else ''}, seed {plan.seed}"
    if plan.fleet_per_second:
        title += f", {plan.fleet_per_second:g}/s in all"
    if plan.plant:
        title += f", planted: {plan.plant}"
    lines = [title, *(f"  {name:<30} {value}" for name, value in rows.items())]
    for id, history in outcome.histories.items():
        lines += [f"  {id}", *(f"    {line}" for line in history)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

"""``make bench``: see the package.

make bench              all suites
make bench ONLY=sqlite  one of them; ONLY=leveling is how well a downstream is used and spared
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from tests.benchmarks.figures import Figure, figures, table
from tests.benchmarks.leveling import suite as leveling
from tests.benchmarks.leveling.rows import ROWS
from tests.benchmarks.leveling.traces import TRACES
from tests.benchmarks.rounds import Plan, take
from tests.benchmarks.suites import SUITES
from tests.containers.brokers import BROKERS
from tests.containers.find import server
from tests.containers.server import NoServer

_RESULTS = Path("build/benchmarks.json")

#: The suite of `tests.benchmarks.leveling`: its rounds are seeds, and it needs no broker.
LEVELING = "leveling"


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    known = [*SUITES, LEVELING]
    words.add_argument("only", nargs="*", metavar="SUITE", help=f"of {', '.join(known)}; all by default")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--messages", type=int, help="of every measure, instead of its own number")
    words.add_argument("--uvloop", action="store_true", help="instead of the loop of asyncio, in all rows")
    words.add_argument("--measure", action="append", help="only these; may be repeated")
    words.add_argument("--json", type=Path, default=_RESULTS, help="where the figures go (%(default)s)")
    given = words.parse_args()
    if unknown := set(given.only) - set(known):
        words.error(f"no suite is called {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    if given.uvloop and importlib.util.find_spec("uvloop") is None:
        words.error("uvloop is not installed: pip install uvloop")
    suites = {name: suite.only(given.measure) for name, suite in SUITES.items() if name in (given.only or SUITES)}
    began = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    plan = Plan(given.rounds, given.messages, given.uvloop, folder=given.json.parent)
    try:
        with servers(suites):
            lines = figures(take(suites, plan, progress), suites)
    except (subprocess.CalledProcessError, NoServer) as error:
        print(f"a measurement failed: {error}", file=sys.stderr)
        return 1
    levelled: list[Figure] = []
    if LEVELING in (given.only or known):
        levelled = leveling.take(leveling.UNSEEN, ROWS, TRACES, progress)
        lines += levelled
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_bytes(msgspec.json.format(msgspec.json.encode(lines)) + b"\n")
    if suites:
        print(table([one for one in lines if one.suite != LEVELING]))
    if levelled:
        print(leveling.table(levelled), leveling.against_bars(levelled), sep="\n")
        draw_all(given.json.parent / "leveling", progress)
    return 0


def draw_all(folder: Path, progress: Callable[[str], None]) -> None:
    """A picture of every trace, where there is something to draw with."""
    if importlib.util.find_spec("matplotlib") is None:
        progress("no pictures: matplotlib is not installed (pip install --group plots)")
        return
    from tests.benchmarks.leveling.plots import draw

    for name in TRACES:
        progress(f"leveling: {', '.join(str(path) for path in draw(name, leveling.UNSEEN[0], ['adaptive'], folder))}")


@contextmanager
def servers(suites: Collection[str]) -> Iterator[None]:
    """The servers that these suites want to find in the environment; one that is there already is the user's."""
    with ExitStack() as running:
        for name in BROKERS.keys() & set(suites):
            variable = f"LEVELER_TEST_{name.upper()}_URL"
            if not os.environ.get(variable):
                os.environ[variable] = running.enter_context(server(name)).url
                os.environ.update(BROKERS[name].credentials)
        yield


if __name__ == "__main__":
    sys.exit(main())

"""python -m tests.benchmarks.leveling [--seeds 100-109] [--row ROW ...] [--trace TRACE ...] [--plots FOLDER]

The levelling benchmark alone: ``make bench ONLY=leveling`` is all of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import msgspec

from tests.benchmarks.leveling import suite
from tests.benchmarks.leveling.rows import ROWS
from tests.benchmarks.leveling.traces import TRACES


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.benchmarks.leveling")
    words.add_argument("--seeds", default="100-109", help="tune on 0-49, judge on %(default)s")
    words.add_argument("--row", action="append", choices=ROWS)
    words.add_argument("--trace", action="append", choices=TRACES)
    words.add_argument("--json", type=Path, help="where the figures go")
    words.add_argument("--plots", type=Path, help="draw every trace into this folder: needs matplotlib")
    given = words.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    rows, traces = given.row or list(ROWS), given.trace or list(TRACES)
    if given.plots is not None:
        from tests.benchmarks.leveling.plots import draw

        for name in traces:
            print(*draw(name, seeds[0], rows, given.plots), sep="\n")
        return 0
    began = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    lines = suite.take(seeds, rows, traces, progress)
    if given.json is not None:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(lines)) + b"\n")
    print(suite.table(lines))
    print(suite.against_bars(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

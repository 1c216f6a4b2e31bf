"""One measure of one row, in this process and nobody else's heap; prints its readings as JSON.

python -m tests.benchmarks.child SUITE ROW MEASURE MESSAGES FOLDER [--uvloop]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import sys
from pathlib import Path

import msgspec

from tests.benchmarks.measures import MEASURES, Bench, Reading
from tests.benchmarks.suites import SUITES


def command(suite: str, row: str, measure: str, messages: int, folder: Path, *, uvloop: bool = False) -> list[str]:
    """What starts this file in a process of its own."""
    words = [sys.executable, "-m", __spec__.name, suite, row, measure, str(messages), str(folder)]
    return [*words, "--uvloop"] if uvloop else words


async def measured(given: argparse.Namespace) -> list[Reading]:
    async def step(measure: str, messages: int) -> str:
        words = command(given.suite, given.row, measure, messages, given.folder, uvloop=given.uvloop)
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
        return out.decode()

    row = SUITES[given.suite].rows[given.row](given.folder)
    return await MEASURES[given.measure](Bench(row, given.messages, given.folder, step))


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("suite", choices=SUITES)
    words.add_argument("row")
    words.add_argument("measure", choices=MEASURES)
    words.add_argument("messages", type=int)
    words.add_argument("folder", type=Path)
    words.add_argument("--uvloop", action="store_true")
    given = words.parse_args()
    logging.basicConfig(level=logging.WARNING)
    loop_factory = importlib.import_module("uvloop").new_event_loop if given.uvloop else None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        readings = runner.run(measured(given))
    print(msgspec.json.encode(readings).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())

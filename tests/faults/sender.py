"""The process that sends, and writes down what it meant to send and what was accepted.

python -m tests.faults.sender FOLDER URL FIRST COUNT TOTAL KILLERS POISON_SHARE SEED
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TypeVar

from leveler import BatchError, BrokerError, BrokerUnavailable, Leveler, LevelerError, Message, SendUnknown, Settings
from leveler.producer import SendOptions
from leveler.settings import BrokerSettings
from tests.faults import plants
from tests.faults.ledger import ACKED, INTENT, REFUSED, UNKNOWN, Ledger
from tests.faults.load import QUEUE, body, kinds
from tests.faults.worker import queue_settings

_T = TypeVar("_T")

BATCH = 100
FAULTS_OVER = "faults-are-over"
PATIENCE = 200


async def send(folder: Path, url: str, plan: list[str], seed: int, seconds: float, *, ordered: bool) -> None:
    """Send `plan`: a quarter of it at once, as a burst, the rest evenly over `seconds`.

    The end of it waits until the faults are over, however long they take: they hit somebody who sends.
    """
    ledger = Ledger(folder, "sender")
    rng = random.Random(seed)
    pace = Pace(len(plan), seconds, folder / FAULTS_OVER)
    app = Leveler(
        settings=Settings(brokers={"default": BrokerSettings(url=url)}, queues={QUEUE: queue_settings(ordered=ordered)})
    )
    async with AsyncExitStack() as life:
        await _patiently(lambda: life.enter_async_context(app))
        producer = (await _patiently(lambda: app._started().queue(QUEUE))).producer
        for start in range(0, len(plan), BATCH):
            batch: list[Message] = []
            for number, kind in enumerate(plan[start : start + BATCH], start):
                id = f"m{number}_{kind}"
                options = SendOptions(
                    id=id,
                    type="Nobody" if kind == "unknown-type" else "Work",
                    key=f"k{number % 97}" if ordered else None,
                )
                batch.append(producer.message(body(id, kind, rng), options))
            ledger.write_many(INTENT, [message.id for message in batch])
            await _until_accepted(producer.send, batch, ledger)
            await pace.keep(start + len(batch))


class Pace:
    """How fast to send.

    Args:
        total: messages.
        seconds: about how long the faults will last.
        over: a file that is there when they are over.
    """

    def __init__(self, total: int, seconds: float, over: Path) -> None:
        self._total = total
        self._each_seconds = seconds / (0.75 * total)
        self._over = over
        self._due = time.monotonic()

    async def keep(self, sent: int) -> None:
        """Wait, if the next batch is not due."""
        left = 1 - sent / self._total
        if sent / self._total >= 0.25 and left:
            # The last tenth is spread the thinner the less of it there is.
            self._due = max(self._due, time.monotonic()) + BATCH * self._each_seconds * max(1.0, 0.1 / left)
        # Another process makes the file.
        while (early := self._due - time.monotonic()) > 0 and not self._over.exists():  # noqa: ASYNC110
            await asyncio.sleep(min(0.1, early))


async def _patiently(start: Callable[[], Awaitable[_T]]) -> _T:
    """What it comes to, however long the broker is away."""
    for _ in range(PATIENCE):
        with suppress(BrokerUnavailable):
            return await start()
        await asyncio.sleep(0.1)
    raise SystemExit("the broker never came")


async def _until_accepted(
    send: Callable[[Sequence[Message]], Awaitable[None]], batch: list[Message], ledger: Ledger
) -> None:
    """Send again, with the same ids, whatever was not accepted: that is what a careful producer does."""
    for _ in range(PATIENCE):
        failed: dict[int, LevelerError] = {}
        try:
            await send(batch)
        except BatchError as error:
            failed = error.failed
        except BrokerError as error:
            failed = dict.fromkeys(range(len(batch)), error)
        for index, why in failed.items():
            ledger.write(REFUSED, batch[index].id, UNKNOWN if isinstance(why, SendUnknown) else type(why).__name__)
        ledger.write_many(ACKED, [message.id for index, message in enumerate(batch) if index not in failed])
        batch = [message for index, message in enumerate(batch) if index in failed]
        if not batch:
            return
        await asyncio.sleep(0.1)
    raise SystemExit(f"{len(batch)} messages were never accepted")


def main() -> None:
    folder, url = Path(sys.argv[1]), sys.argv[2]
    messages, killers = (int(word) for word in sys.argv[3:5])
    share, seed, seconds = float(sys.argv[5]), int(sys.argv[6]), float(sys.argv[7])
    plants.plant(os.environ.get("FAULTS_PLANT", ""))
    plan = kinds(messages, killers, share, seed)
    ordered = os.environ.get("FAULTS_ORDERED") == "1"
    asyncio.run(send(folder, url, plan, seed, seconds, ordered=ordered))


if __name__ == "__main__":
    main()

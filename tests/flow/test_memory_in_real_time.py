"""What a process weighs that consumes a backlog under a memory budget: the same, whatever waits."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from leveler import Leveler

KIB, MIB = 1024, 1024 * 1024


async def fill(url: str, messages: int, size: int) -> None:
    """Bodies of `size` bytes."""
    body, batch = b"x" * size, max(1, min(1000, 16 * MIB // size))
    async with Leveler(url) as app:
        for start in range(0, messages, batch):
            await app.send_many("orders", [body] * min(batch, messages - start))


def consumed(url: str, messages: int, budget_bytes: int, concurrency: int = 64) -> dict[str, Any]:
    """What a process of its own saw."""
    words = [url, str(messages), str(budget_bytes), str(concurrency)]
    command = [sys.executable, "-m", "tests.flow.footprint_worker", *words]
    shown: dict[str, Any] = json.loads(subprocess.check_output(command, timeout=700))
    return shown


def measured(url: str, messages: int, size: int, budget_bytes: int, concurrency: int = 64) -> dict[str, Any]:
    asyncio.run(fill(url, messages, size))
    return consumed(url, messages, budget_bytes, concurrency)


def test_large_messages_are_held_within_the_budget_and_the_process_stays_small(tmp_path: Path) -> None:
    """Sixty-four megabytes wait, of which four may be here."""
    few = measured(f"sqlite:///{tmp_path}/few.db?max_message_bytes={MIB}", 4, MIB - KIB, 4 * MIB)
    many = measured(f"sqlite:///{tmp_path}/many.db?max_message_bytes={MIB}", 64, MIB - KIB, 4 * MIB)
    assert MIB - KIB <= many["held_bytes"] <= 4 * MIB
    assert many["rss_mib"] <= few["rss_mib"] + 16

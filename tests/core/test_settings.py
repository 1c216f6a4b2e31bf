"""Settings in code: what is no number, or no settings, is refused where it stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from leveler import ConsumerSettings, Leveler, LimitSettings, QueueSettings, RetryPolicy
from leveler.errors import ConfigError

WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "words for seconds": (
        lambda any: QueueSettings(lease_seconds=any("30s")),
        "lease_seconds is '30s': expected seconds, as a plain number",
    ),
    "a timedelta": (
        lambda any: RetryPolicy(initial_seconds=any(timedelta(seconds=1))),
        "initial_seconds is datetime.timedelta(seconds=1): expected seconds, as a plain number",
    ),
    "words for attempts": (
        lambda any: RetryPolicy(max_attempts=any("5")),
        "max_attempts is '5': expected a count, as a plain number",
    ),
    "words for bytes": (
        lambda any: ConsumerSettings(memory_bytes=any("64MiB")),
        "memory_bytes is '64MiB': expected bytes, as a plain number",
    ),
    "words for a rate": (
        lambda any: LimitSettings(rate_per_second=any("50/s")),
        "rate_per_second is '50/s': expected a number of them a second, as a plain number",
    ),
    "words for a concurrency": (
        lambda any: Leveler().consumer("orders", concurrency=any("8")),
        "consumer('orders'): concurrency is '8': expected a whole number, or Adaptive(max=...)",
    ),
    "a dict for a queue": (
        lambda any: Leveler(queues={"orders": any({"lease_seconds": 30})}),
        "queues['orders'] is a dict: expected QueueSettings(...)",
    ),
    "a number for a downstream": (
        lambda any: Leveler(downstreams={"billing": any(8)}),
        "downstreams['billing'] is a int: expected LimitSettings(...)",
    ),
}


@pytest.mark.parametrize(("make", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_number_or_no_settings_is_refused_by_name(make: Callable[[Any], object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make(lambda value: value)

    assert str(refused.value) == said


def test_a_handler_where_the_name_of_its_queue_belongs_is_told_how_it_is_written() -> None:
    def handle(order: object) -> None: ...

    decorate: Any = Leveler().consumer
    with pytest.raises(ConfigError, match=r"@app\.consumer\('new-orders'\)"):
        decorate(handle)

"""Settings in code: what is no number, or no settings, is refused where it stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from leveler import ConsumerSettings, Leveler, LimitSettings, Processes, QueueSettings, RetryPolicy, Settings
from leveler.errors import ConfigError


async def _lifespan(app: Leveler) -> AsyncIterator[None]:
    yield


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
        "max_attempts is '5': expected a whole number",
    ),
    "a number for the retries": (
        lambda any: QueueSettings(retry=any(3)),
        "retry is 3: expected RetryPolicy(...)",
    ),
    "a backoff that nobody knows": (
        lambda any: RetryPolicy(backoff=any("expo")),
        "backoff is 'expo': expected 'exponential' or 'linear' or 'constant'",
    ),
    "a wish that nobody knows": (
        lambda any: QueueSettings(when_full=any("drop")),
        "when_full is 'drop': expected 'reject' or 'block'",
    ),
    "true for a breaker": (
        lambda any: LimitSettings(breaker=any(True)),
        "breaker is True: expected BreakerPolicy(...)",
    ),
    "words for bytes": (
        lambda any: ConsumerSettings(memory_bytes=any("64MiB")),
        "memory_bytes is '64MiB': expected bytes, as a plain number",
    ),
    "words for a rate": (
        lambda any: LimitSettings(rate_per_second=any("50/s")),
        "rate_per_second is '50/s': expected a number per second",
    ),
    "a rate that is none": (
        lambda any: Leveler().consumer("orders", rate="50/sec"),
        "consumer('orders'): '50/sec': expected a rate, for example '50/s', '500/min', '3/h' or '1000/day'",
    ),
    "words for a concurrency": (
        lambda any: Leveler().consumer("orders", concurrency=any("8")),
        "consumer('orders'): concurrency is '8': expected a whole number or Adaptive(...)",
    ),
    "words for a switch": (
        lambda any: QueueSettings(ordered=any("yes")),
        "ordered is 'yes': expected True or False",
    ),
    "a token that is no text, which is not shown": (
        lambda any: Settings(listen_token=any(1234567890123456)),
        "listen_token is a int: expected text",
    ),
    "words for processes": (
        lambda any: Settings(processes=any("4")),
        "processes is '4': expected a whole number or Processes(...)",
    ),
    "no process at all": (lambda any: Settings(processes=0), "processes is 0: expected 1 or more"),
    "a range of processes the wrong way": (
        lambda any: Processes(min=3, max=2),
        "processes.min (3) is above processes.max (2): expected min <= max",
    ),
    "a range from no process": (lambda any: Processes(min=0, max=2), "processes.min is 0: expected 1 or more"),
    "a lifespan without its decorator": (
        lambda any: Leveler(lifespan=any(_lifespan)),
        "lifespan must make a context manager: write @contextlib.asynccontextmanager above it",
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

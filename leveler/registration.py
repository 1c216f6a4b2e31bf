"""Registration: what ``@app.consumer`` says about a queue: who handles its messages, and within which limits."""

from __future__ import annotations

from leveler import units
from leveler.consumer.handler import Handler
from leveler.errors import ConfigError
from leveler.settings import Adaptive, ConsumerSettings, LimitSettings


def add(handlers: dict[str, list[Handler]], queue: str, added: Handler) -> None:
    """Let one more handler take from `queue`.

    Raises:
        ConfigError: another one takes the same messages, or one of them takes batches.
    """
    others = handlers.setdefault(queue, [])
    if any(handler.in_batches or added.in_batches for handler in others):
        raise ConfigError(f"queue {queue!r} has two handlers: one that takes batches has its queue to itself")
    if any(handler.type == added.type for handler in others):
        what = "messages of any type" if added.type is None else f"messages of type {added.type!r}"
        raise ConfigError(f"two handlers take {what} from queue {queue!r}: give each a type= of its own")
    others.append(added)


def settings_of(
    queue: str,
    *,
    concurrency: int | Adaptive | None,
    rate: str | None,
    downstream: str | None,
    batch_size: int | None,
    batch_wait: str | float | None,
) -> ConsumerSettings:
    """The decorator's words as settings.

    Raises:
        ConfigError: names the consumer and the word that is wrong.
    """
    if batch_wait is not None and batch_size is None:
        raise ConfigError(f"queue {queue!r}: batch_wait is for a handler that takes batches: give batch_size, too")
    try:
        rate_per_second = units.per_second(rate) if rate is not None else None
        wait_seconds = units.seconds(batch_wait) if batch_wait is not None else None
        return ConsumerSettings(
            downstream=downstream,
            limits=LimitSettings(concurrency=concurrency, rate_per_second=rate_per_second),
            batch_size=batch_size,
            batch_wait_seconds=wait_seconds,
        )
    except ConfigError as error:
        raise ConfigError(f"consumer({queue!r}): {error}") from None

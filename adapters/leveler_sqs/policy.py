"""Policy: what a queue is made like, and what the settings of one that is there mean. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

from leveler.adapter import QueueSpec
from leveler.errors import ConfigError

KIB: Final = 1024
#: What SQS offers at most: a message, a lease, a delay, the memory of a FIFO queue.
MOST_BYTES: Final = 1024 * KIB
LONGEST_LEASE_SECONDS: Final = 43_200
LONGEST_DELAY_SECONDS: Final = 900
DEDUP_SECONDS: Final = 300.0
_LONGEST_RETENTION_SECONDS: Final = 1_209_600
_MOST_RECEIVES: Final = 1000

#: A second more than ours: the lease begins when SQS answers, and ours when the answer is here.
_MARGIN_SECONDS: Final = 1
#: A dead letter is larger than its message by a reason and an error text, escaped twice over.
RESERVE_BYTES: Final = 20 * KIB
#: Headers alone may have 16 KiB.
_LEAST_BYTES: Final = 64 * KIB

Attributes = Mapping[str, str]


def is_fifo(queue: QueueSpec) -> bool:
    return queue.ordered or queue.dedup_seconds > 0


def check(queue: QueueSpec) -> None:
    """
    Raises:
        ConfigError: SQS cannot keep such a queue.
    """
    if not 1 <= queue.lease_seconds <= LONGEST_LEASE_SECONDS:
        raise ConfigError(
            f"queue {queue.name!r}: lease is {queue.lease_seconds:g} s, and SQS keeps those of 1 s to 12 h"
        )
    if queue.dedup_seconds > DEDUP_SECONDS:
        raise ConfigError(
            f"queue {queue.name!r}: dedup is {queue.dedup_seconds:g} s, and a FIFO queue of SQS remembers for "
            f"{DEDUP_SECONDS:g} s; ask for no more"
        )
    if queue.max_depth is not None:
        raise ConfigError(f"queue {queue.name!r}: max_depth is set, but SQS bounds no queue; remove it")


def visibility_seconds(lease_seconds: float) -> int:
    """What a lease is to SQS, which counts whole seconds."""
    return min(math.floor(lease_seconds) + _MARGIN_SECONDS, LONGEST_LEASE_SECONDS)


def creation(queue: QueueSpec) -> dict[str, str]:
    """The attributes of a queue, or of its dead letters, that is to be created."""
    attributes = {
        "VisibilityTimeout": str(visibility_seconds(queue.lease_seconds)),
        "MessageRetentionPeriod": str(_LONGEST_RETENTION_SECONDS),
    }
    return {**attributes, "FifoQueue": "true"} if is_fifo(queue) else attributes


def backstop(queue: QueueSpec, dead_arn: str) -> dict[str, str]:
    """The redrive policy: far beyond our own limit, for what no worker lives long enough to look at."""
    receives = min(max(100, 2 * queue.max_deliveries), _MOST_RECEIVES)
    return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": receives})}


def has_backstop(attributes: Attributes) -> bool:
    return bool(attributes.get("RedrivePolicy"))


def check_redrive(queue: QueueSpec, name: str, attributes: Attributes) -> None:
    """
    Raises:
        ConfigError: SQS would take messages away before leveler has given them up.
    """
    receives, _ = _redrive(attributes)
    if receives is not None and receives < queue.max_deliveries:
        raise ConfigError(
            f"queue {name!r}: its redrive policy has maxReceiveCount {receives}, and leveler may receive a message "
            f"{queue.max_deliveries} times before it gives it up (max_deliveries and one more): SQS would move it "
            f"away first, without a reason; set maxReceiveCount to {queue.max_deliveries} or more, or lower "
            "max_deliveries"
        )


def weaknesses(name: str, dead: str, attributes: Attributes) -> list[str]:
    """What is weaker about the queue than one that leveler makes, a line each."""
    found: list[str] = []
    receives, target = _redrive(attributes)
    if receives is None:
        found.append(
            f"queue {name!r} has no redrive policy: a message that ends every worker before it is looked at comes "
            "again until SQS deletes it"
        )
    elif target != dead:
        found.append(f"queue {name!r}: what SQS itself gives up goes to {target!r}, and leveler's go to {dead!r}")
    return found + short_retention(name, attributes)


def short_retention(name: str, attributes: Attributes) -> list[str]:
    seconds = _number(attributes.get("MessageRetentionPeriod"), _LONGEST_RETENTION_SECONDS)
    if seconds >= _LONGEST_RETENTION_SECONDS:
        return []
    return [
        f"queue {name!r}: SQS deletes messages after {seconds / 86_400:.3g} days, handled or not "
        "(MessageRetentionPeriod; 14 days is the most)"
    ]


def most_bytes(name: str, *each: Attributes) -> int:
    """The largest message that both take, the queue and its dead letters.

    Raises:
        ConfigError: that is hardly any.
    """
    most = min(_number(attributes.get("MaximumMessageSize"), MOST_BYTES) for attributes in each)
    if most < _LEAST_BYTES:
        raise ConfigError(
            f"queue {name!r}: MaximumMessageSize is {most} bytes, there or at its dead letters; leveler needs "
            f"{_LEAST_BYTES} for headers and reasons: raise it"
        )
    return most


def _redrive(attributes: Attributes) -> tuple[int | None, str]:
    """After how many receives SQS gives up, and the name of the queue that it moves messages to."""
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "null")
        return int(policy["maxReceiveCount"]), str(policy["deadLetterTargetArn"]).rpartition(":")[2]
    except (ValueError, TypeError, KeyError):
        return None, ""


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default

"""Batch: one event. Its records, what has become of each, and the answer."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from leveler_sqs.envelope import opened

from leveler.adapter import Delivery
from leveler.errors import ConfigError

_SOURCE: Final = "aws:sqs"


class Record:
    """One message of an event."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        if raw.get("eventSource") != _SOURCE:
            raise ConfigError(
                f"a record of {raw.get('eventSource', 'nowhere')!r} has come: this handler takes those of {_SOURCE!r}"
            )
        self.message_id: str = raw["messageId"]
        self.handle: str = raw["receiptHandle"]
        #: The queue, as SQS knows it.
        self.queue: str = raw["eventSourceARN"].rpartition(":")[2]
        #: None = not yet known.
        self.done: bool | None = None
        self._raw = raw

    def delivery(self, leased_until: float, now: datetime) -> Delivery:
        message, count = opened(_as_received(self._raw), now)
        return Delivery(message, message.attempts + count, leased_until, self)


class Batch:
    """
    Args:
        event: as Lambda hands it over.
    """

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.records: Sequence[Record] = [Record(raw) for raw in event.get("Records", ())]
        self._open = len(self.records)
        #: Set when something has become of all of them.
        self.over = asyncio.Event()
        if not self._open:
            self.over.set()

    def settle(self, record: Record, *, done: bool) -> None:
        if record.done is None:
            self._open -= 1
        record.done = done
        if not self._open:
            self.over.set()

    def answer(self) -> dict[str, list[dict[str, str]]]:
        """What is to come again: all that is not done. SQS deletes the others."""
        failed = [record.message_id for record in self.records if not record.done]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _as_received(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The record as SQS itself would have answered: Lambda spells attributes in its own way."""
    attributes = {
        name: {
            "StringValue": value.get("stringValue"),
            "BinaryValue": base64.b64decode(value.get("binaryValue") or b""),
        }
        for name, value in (raw.get("messageAttributes") or {}).items()
    }
    return {
        "MessageId": raw["messageId"],
        "Body": raw["body"],
        "Attributes": raw.get("attributes", {}),
        "MessageAttributes": attributes,
    }

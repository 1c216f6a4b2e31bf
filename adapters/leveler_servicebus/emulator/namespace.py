"""Namespace: the queues of one emulator, by name, and what happens to all of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final, Protocol

from leveler_servicebus.emulator.clock import EmulatorClock
from leveler_servicebus.emulator.entity.journal import Journal
from leveler_servicebus.emulator.entity.queue import DEAD_LETTER_SUFFIX, Queue
from leveler_servicebus.emulator.entity.refusal import NOT_FOUND, SERVER_BUSY, Refused
from leveler_servicebus.emulator.entity.settings import QueueSettings
from leveler_servicebus.emulator.signature import Signatures

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,258}[A-Za-z0-9])?")


class Store(Protocol):
    """Where queues are kept, if they are."""

    def load(self, namespace: Namespace) -> None: ...
    def journals(self, name: str) -> tuple[Journal, Journal] | None: ...
    def save_queue(self, name: str, settings: QueueSettings) -> None: ...
    def drop_queue(self, name: str) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class InMemory:
    """They are not."""

    def load(self, namespace: Namespace) -> None: ...
    def journals(self, name: str) -> tuple[Journal, Journal] | None: ...
    def save_queue(self, name: str, settings: QueueSettings) -> None: ...
    def drop_queue(self, name: str) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class AlreadyThere(ValueError):
    """There is a queue of this name."""


class Namespace:
    """All queues.

    Args:
        clock: their time.
        signatures: who may do what.
        store: where they are kept.
    """

    def __init__(self, *, clock: EmulatorClock, signatures: Signatures, store: Store | None = None) -> None:
        self.clock = clock
        self.signatures = signatures
        self.store: Store = store or InMemory()
        self._queues: dict[str, Queue] = {}
        self._busy_until_ms = 0
        self.store.load(self)

    def __iter__(self) -> Iterator[Queue]:
        return iter(self._queues.values())

    def get(self, name: str) -> Queue | None:
        return self._queues.get(name.lower())

    def find(self, path: str) -> Queue:
        """The queue, or the queue of its dead letters, that a client names.

        Raises:
            Refused: there is none.
        """
        name, _, sub = path.strip("/").partition("/$")
        queue = self.get(name)
        found = queue.dead if queue and sub.lower() == DEAD_LETTER_SUFFIX[1:].lower() else queue if not sub else None
        if found is None:
            hint = "Topics are not emulated." if "/subscriptions/" in path.lower() else "Create the queue first."
            raise Refused(NOT_FOUND, f"The messaging entity '{path}' could not be found. {hint}")
        return found

    def create(self, name: str, settings: QueueSettings) -> Queue:
        """Make a queue.

        Raises:
            AlreadyThere: there is one of this name.
            ValueError: this is no name.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name for a queue: expected up to 260 letters, digits, '.', '-', '_' and '/', with a "
                "letter or digit first and last"
            )
        if self.get(name) is not None:
            raise AlreadyThere(f"there is a queue {name!r} already")
        self.store.save_queue(name, settings)
        return self.restore(name, settings)

    def ensure(self, name: str, settings: QueueSettings) -> None:
        """Make the queue if it is not there, else change it. Raises `ValueError` as `create` and `update` do."""
        queue = self.get(name)
        if queue is None:
            self.create(name, settings)
        else:
            self.update(queue, settings)

    def restore(self, name: str, settings: QueueSettings) -> Queue:
        """A queue that the store knows."""
        journal, dead_journal = self.store.journals(name) or (None, None)
        queue = Queue(name, settings, _new_token, journal=journal, dead_journal=dead_journal)
        self._queues[name.lower()] = queue
        return queue

    def update(self, queue: Queue, settings: QueueSettings) -> None:
        """Change what may be changed.

        Raises:
            ValueError: sessions and duplicate detection are decided when a queue is created.
        """
        old = queue.settings
        if old.requires_session != settings.requires_session:
            raise ValueError("whether a queue requires sessions cannot be changed: delete it and create it anew")
        if bool(old.duplicate_window_ms) != bool(settings.duplicate_window_ms):
            raise ValueError("whether a queue detects duplicates cannot be changed: delete it and create it anew")
        queue.change(settings)
        self.store.save_queue(queue.name, settings)

    def delete(self, queue: Queue) -> None:
        del self._queues[queue.name.lower()]
        self.store.drop_queue(queue.name)

    def be_busy(self, duration_ms: float) -> None:
        """Refuse to send and to be managed for so long, as the service does that is throttled."""
        self._busy_until_ms = self.clock.now_ms() + int(duration_ms)

    def check_busy(self) -> None:
        if self._busy_until_ms and self.clock.now_ms() < self._busy_until_ms:
            raise Refused(
                SERVER_BUSY,
                "The request was terminated because the entity is being throttled. Error code: 50009. Please wait 4 "
                "seconds and try again.",
            )

    def advance(self) -> None:
        now_ms = self.clock.now_ms()
        for queue in self:
            queue.advance(now_ms)

    def next_due_ms(self) -> int | None:
        return min((due for queue in self if (due := queue.next_due_ms()) is not None), default=None)


def _new_token() -> bytes:
    """A random GUID (version 4), in the order of bytes that the client expects."""
    token = bytearray(os.urandom(16))
    token[7] = token[7] & 0x0F | 0x40
    token[8] = token[8] & 0x3F | 0x80
    return bytes(token)

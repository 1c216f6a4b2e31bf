"""Broker: the service's verbs on queues and tasks, without the wire."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, Final

import grpc

from leveler_cloudtasks.emulator import rules, settings
from leveler_cloudtasks.emulator.clock import ScaledClock
from leveler_cloudtasks.emulator.dispatcher import Dispatcher
from leveler_cloudtasks.emulator.entry import Entry, Facts
from leveler_cloudtasks.emulator.protos import RUNNING, seconds, timestamp
from leveler_cloudtasks.emulator.protos import Queue as QueueProto
from leveler_cloudtasks.emulator.queue import Queue
from leveler_cloudtasks.emulator.refusal import Refused, invalid, not_found
from leveler_cloudtasks.emulator.store import Store

#: How long the name of a queue that was deleted cannot be used again.
QUEUE_NAME_SECONDS: Final = 7 * 86_400.0


class Broker:
    """Everything that there is. Starts with what `store` remembers."""

    def __init__(self, store: Store, dispatcher: Dispatcher, clock: ScaledClock, task_rules: rules.TaskRules) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._rules = task_rules
        self.queues: dict[str, Queue] = {}
        self._deleted: dict[str, float] = {}

    def recall(self) -> None:
        """Go on where the store's last user stopped: what was running then is due."""
        now = self._now()
        self._store.forget(now)
        for proto in self._store.queues():
            queue = Queue(proto, now)
            self.queues[queue.name] = queue
        for name, entry in self._store.tasks():
            self.queues[name].add(entry)
        for name, queue_name, until in self._store.gone():
            known = self.queues[queue_name].tombstones if queue_name else self._deleted
            known[name] = until
        for queue in self.queues.values():
            self._dispatcher.pump(queue)

    # -- queues

    def queue(self, name: str) -> Queue:
        queue = self.queues.get(rules.check_queue(name))
        if queue is None:
            raise not_found(f"The queue {name}")
        return queue

    def create_queue(self, parent: str, proto: Any) -> Any:
        name = rules.check_queue(proto.name)
        if not name.startswith(f"{rules.check_parent(parent)}/queues/"):
            raise invalid(f"The queue name {name!r} must begin with its parent, {parent!r}.")
        if name in self.queues:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"The queue {name} exists already.")
        if self._deleted.get(name, 0.0) > self._now():
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                "The queue cannot be created because a queue with this name existed too recently.",
            )
        made = QueueProto()
        made.CopyFrom(proto)
        made.ClearField("purge_time")
        made.state = RUNNING
        settings.complete(made)
        self.queues[name] = Queue(made, self._now())
        self._store.put_queue(made)
        return made

    def update_queue(self, proto: Any, paths: Iterable[str]) -> Any:
        """Make the fields of `paths`, or all, as they are in `proto`; a queue that is not there is made."""
        name = rules.check_queue(proto.name)
        if name not in self.queues:
            return self.create_queue(name.partition("/queues/")[0], proto)
        queue = self.queues[name]
        changed = QueueProto()
        changed.CopyFrom(queue.proto)
        for path in list(paths) or ["rate_limits", "retry_config", "stackdriver_logging_config"]:
            _copy(proto, changed, path)
        settings.complete(changed)
        queue.configure(changed, self._now())
        self._changed(queue)
        return changed

    def delete_queue(self, name: str) -> None:
        queue = self.queue(name)
        del self.queues[name]
        self._deleted[name] = self._now() + QUEUE_NAME_SECONDS
        queue.clear()
        self._dispatcher.forget(queue)
        self._store.drop_queue(name, self._deleted[name])

    def purge_queue(self, name: str) -> Any:
        queue, now = self.queue(name), self._now()
        for entry in [*queue.tasks.values()]:
            self._remove(queue, entry)
        queue.proto.purge_time.CopyFrom(timestamp(now))
        self._changed(queue)
        return queue.proto

    def pause_queue(self, name: str, paused: bool) -> Any:
        queue = self.queue(name)
        queue.set_paused(paused)
        self._changed(queue)
        return queue.proto

    # -- tasks

    def task(self, name: str) -> tuple[Queue, Entry]:
        queue = self.queue(rules.queue_of(name))
        return queue, queue.task(name)

    def create_task(self, parent: str, task: Any) -> Entry:
        queue, now = self.queue(parent), self._now()
        self._rules.check(parent, task)
        due_at = now
        if task.HasField("schedule_time"):
            due_at = max(now, self._clock.moment_of(seconds(task.schedule_time)))
        if due_at > now + rules.MAX_AHEAD_SECONDS:
            raise invalid("Task.schedule_time is more than 30 days ahead.")
        named = bool(task.name)
        if named:
            queue.check_free(task.name, now)
        else:
            task.name = f"{parent}/tasks/{random.getrandbits(63)}"
        for field in ("dispatch_count", "response_count", "first_attempt", "last_attempt", "view"):
            task.ClearField(field)
        task.create_time.CopyFrom(timestamp(int(now)))
        entry = Entry(task, Facts(due_at=due_at, named=named))
        entry.due(due_at)
        queue.add(entry)
        self._store.put_task(queue.name, entry)
        self._dispatcher.pump(queue)
        return entry

    def delete_task(self, name: str) -> None:
        self._remove(*self.task(name))

    def run_task(self, name: str) -> Entry:
        """Dispatch it now, whatever the queue's limits and state say."""
        queue, entry = self.task(name)
        if not entry.running:
            entry.due(self._now())
            self._dispatcher.begin(queue, entry)
        return entry

    def _remove(self, queue: Queue, entry: Entry) -> None:
        self._store.drop_task(queue.name, entry.name, queue.remove(entry, self._now()))

    def _changed(self, queue: Queue) -> None:
        self._store.put_queue(queue.proto)
        self._dispatcher.pump(queue)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _copy(source: Any, target: Any, path: str) -> None:
    """The field at a path such as ``retry_config.max_attempts``; one that is not set is cleared, and filled in anew."""
    *parents, name = path.split(".")
    for parent in parents:
        _check_field(source, parent, path)
        source, target = getattr(source, parent), getattr(target, parent)
    _check_field(source, name, path)
    target.ClearField(name)
    if any(field.name == name for field, _ in source.ListFields()):
        only = type(source)()
        only.CopyFrom(source)
        for field, _ in source.ListFields():
            if field.name != name:
                only.ClearField(field.name)
        target.MergeFrom(only)


def _check_field(message: Any, name: str, path: str) -> None:
    if name not in message.DESCRIPTOR.fields_by_name:
        raise invalid(f"update_mask: a queue has no field {path!r}.")

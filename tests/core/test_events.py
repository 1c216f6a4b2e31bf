"""Events and observers: frozen values, told in order, by a teller that nothing can stop."""

from __future__ import annotations

import dataclasses
import logging
from datetime import UTC, datetime

import pytest

import leveler.events as events
from leveler.events import Event, MessageEvent, MessageStarted, Observers, ReceiverReady
from leveler.message import Message

MESSAGE = Message(id="42", body=b"secret body", time=datetime(2030, 1, 1, tzinfo=UTC))
KINDS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind not in (Event, MessageEvent)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_is_a_frozen_value_that_says_when_it_happens(kind: type[Event]) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert next(field.name for field in dataclasses.fields(kind)) == "queue"
    assert kind.__doc__
    assert not hasattr(kind("orders", *([None] * (len(dataclasses.fields(kind)) - 1))), "__dict__")


def test_observers_are_told_in_the_order_in_which_they_came() -> None:
    told: list[str] = []
    observers = Observers([lambda event: told.append("first")])
    observers.add(lambda event: told.append("second"))
    observers.tell(ReceiverReady("orders"))
    assert told == ["first", "second"]


def test_one_that_raises_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("metrics are away")

    event = MessageStarted("orders", MESSAGE, 1)
    with caplog.at_level(logging.ERROR, "leveler"):
        Observers([broken, told.append]).tell(event)
    assert told == [event]
    assert "failed on MessageStarted" in caplog.text
    assert "metrics are away" in caplog.text
    assert "secret body" not in caplog.text


def test_nobody_is_nobody() -> None:
    observers = Observers()
    assert not observers.present
    observer = observers.tell
    observers.add(observer)
    assert observers.present
    observers.remove(observer)
    assert not observers.present
    observers.tell(ReceiverReady("orders"))


def test_an_observer_may_leave_while_it_is_told() -> None:
    told: list[str] = []

    def once(event: Event) -> None:
        told.append("once")
        observers.remove(once)

    observers = Observers([once])
    observers.add(lambda event: told.append("always"))
    for _ in range(2):
        observers.tell(ReceiverReady("orders"))
    assert told == ["once", "always", "always"]

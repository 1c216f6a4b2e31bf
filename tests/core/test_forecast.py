"""The forecast of a wait: right on a queue that is known, whoever else sends to it."""

from __future__ import annotations

import random

import pytest

from leveler.adapter import Depth
from leveler.forecast import Forecast


class Queue:
    """A queue that is served at a known rate, and looked at once a second."""

    def __init__(self, per_second: float, *, hides: bool = False) -> None:
        self.per_second = per_second
        self.forecast = Forecast()
        self.now = 0.0
        self.ready = 0
        self._done = 0.0
        self._hides = hides

    def send(self, count: int, *, ours: bool = True) -> None:
        if ours:
            self.forecast.begin(count)
            self.forecast.end(count, 0)
        self.ready += count

    def pass_time(self, seconds: float) -> None:
        self._done += self.per_second * seconds
        done = min(self.ready, int(self._done))
        self.ready -= done
        self._done = self._done - done if self.ready else 0.0
        self.now += seconds

    def look(self) -> None:
        self.forecast.before_look()
        unknown = None if self._hides else 0
        self.forecast.look(self.now, Depth(self.ready, unknown, unknown, unknown, None))

    def run(self, seconds: int, sent_per_second: int, others_per_second: int = 0) -> None:
        for _ in range(seconds):
            self.look()
            self.send(sent_per_second)
            self.send(others_per_second, ours=False)
            self.pass_time(1.0)
        self.look()


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("per_second", [5.0, 100.0, 5000.0])
def test_the_pace_of_a_queue_with_a_backlog_is_found_within_two_seconds(per_second: float, hides: bool) -> None:
    queue = Queue(per_second, hides=hides)
    queue.send(int(per_second * 100))
    queue.run(2, int(per_second))
    assert queue.forecast.per_second == pytest.approx(per_second, rel=0.05, abs=1.1)
    assert queue.forecast.wait_seconds() == pytest.approx(queue.ready / per_second, rel=0.25)


def test_as_long_as_nobody_knows_there_is_room() -> None:
    assert Forecast().room(1.0) == float("inf")
    queue = Queue(100.0)
    queue.look()
    queue.send(10**6)
    assert queue.forecast.room(1.0) == float("inf")


def test_what_a_quiet_queue_does_is_not_taken_for_all_that_it_could() -> None:
    queue = Queue(1000.0)
    queue.run(60, 3)
    assert queue.forecast.room(1.0) == float("inf")
    queue.send(10_000)
    queue.run(3, 0)
    assert queue.forecast.per_second == pytest.approx(1000.0, rel=0.05)
    queue.run(60, 3)  # quiet again: what was seen is remembered
    assert queue.forecast.per_second == pytest.approx(1000.0, rel=0.05)


def test_a_queue_that_nobody_serves_has_room_for_few() -> None:
    queue = Queue(0.0)
    queue.run(40, 1)
    assert queue.forecast.room(60.0) <= 60.0
    assert queue.forecast.wait_seconds() >= 40.0


def test_a_slower_service_is_believed_when_it_has_lasted_for_half_a_minute() -> None:
    queue = Queue(1000.0)
    queue.send(10**6)
    queue.run(10, 0)
    queue.per_second = 100.0
    queue.run(45, 0)
    assert queue.forecast.per_second == pytest.approx(100.0, rel=0.05)


def test_what_others_send_makes_it_careful_and_never_bold() -> None:
    queue = Queue(1000.0)
    queue.send(50_000)
    queue.run(20, 200, others_per_second=600)
    pace = queue.forecast.per_second
    assert pace is not None
    assert pace <= 1001
    queue.run(6, 0)  # as soon as nobody sends it is exact
    assert queue.forecast.per_second == pytest.approx(1000.0, rel=0.05)


def test_what_is_being_sent_is_never_counted_as_done() -> None:
    """Whether a message that is under way is in the depth nobody knows."""
    rng, forecast, total, now, under_way = random.Random(1), Forecast(), 1000, 0.0, 0
    for _ in range(2000):
        forecast.before_look()
        forecast.begin(50)
        total += rng.choice((0, 50)) if under_way == 0 else 50 - under_way  # before the answer, or after it
        under_way = 50
        forecast.look(now, Depth(total, 0, 0, 0, None))
        forecast.end(50, 0)
        under_way, now = 0, now + 1.0
        if (pace := forecast.per_second) is not None:
            assert pace <= 1.0 + 50.0 / 1.0


def test_between_two_looks_our_own_are_counted() -> None:
    queue = Queue(10.0)
    queue.send(100)
    queue.run(3, 10)
    before = queue.forecast.room(60.0)
    queue.send(50)
    assert queue.forecast.room(60.0) == pytest.approx(before - 50)
    queue.forecast.begin(20)
    queue.forecast.end(5, 15)  # fifteen were refused
    assert queue.forecast.room(60.0) == pytest.approx(before - 55)

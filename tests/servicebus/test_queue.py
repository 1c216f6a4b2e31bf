"""The queue alone: no client, no loop, and a time that is only a number."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from leveler_servicebus.emulator import QueueSettings
from leveler_servicebus.emulator.amqp.encoder import encode
from leveler_servicebus.emulator.amqp.message import Content
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.refusal import Refused

LOCK_MS = 1000


def made(**options: object) -> Queue:
    numbers = itertools.count(1)
    return Queue("q", QueueSettings(lock_ms=LOCK_MS, **options), lambda: next(numbers).to_bytes(16, "big"))  # type: ignore[arg-type]


def content(name: str = "m", **fields: object) -> Content:
    return Content(message_id=encode(name), body=name.encode(), **fields)  # type: ignore[arg-type]


def test_a_send_of_several_is_all_or_nothing() -> None:
    queue = made(max_size_bytes=10)

    with pytest.raises(Refused, match="resource-limit"):
        queue.send([content("12345"), content("67890"), content("1")], 0)

    assert queue.counts().active == 0
    assert queue.send([content("12345"), content("67890")], 0) == [1, 2]


def test_a_lock_ends_at_its_time_and_not_before() -> None:
    queue = made()
    queue.send([content()], 0)
    [held] = queue.take(1, 0)
    token = held.token

    assert queue.next_due_ms() == LOCK_MS
    queue.advance(LOCK_MS - 1)
    assert queue.take(1, LOCK_MS - 1) == []
    queue.advance(LOCK_MS)

    with pytest.raises(Refused, match="lock-lost"):
        queue.complete(token, LOCK_MS)
    [again] = queue.take(1, LOCK_MS)
    assert again.delivery_count == 1


def test_a_lock_that_has_ended_is_lost_though_nobody_has_looked_yet() -> None:
    queue = made()
    queue.send([content()], 0)
    [held] = queue.take(1, 0)

    for verb in (queue.complete, queue.abandon, queue.release, queue.defer, queue.dead_letter, queue.renew):
        with pytest.raises(Refused, match="lock-lost"):
            verb(held.token, LOCK_MS)


def test_what_is_locked_does_not_expire_until_it_is_given_back() -> None:
    queue = made(dead_letter_on_expiration=True)
    queue.send([content(ttl_ms=500)], 0)
    [held] = queue.take(1, 0)

    queue.advance(600)
    assert queue.counts() == (1, 0, 0, 1)
    queue.release(held.token, 600)
    assert queue.take(1, 600) == []
    queue.advance(600)

    assert queue.counts().active == 0
    assert queue.dead is not None
    assert queue.dead.counts().active == 1


@pytest.mark.parametrize("verb", ["release", "abandon", "defer"])
def test_what_has_been_given_back_expires_at_its_time(verb: str) -> None:
    queue = made()
    queue.send([content(ttl_ms=500)], 0)
    [held] = queue.take(1, 0)
    assert queue.next_due_ms() == LOCK_MS
    getattr(queue, verb)(held.token, 100)

    assert queue.next_due_ms() == 500
    queue.advance(500)

    assert queue.counts() == (0, 0, 0, 0)


def test_a_queue_limits_how_long_its_messages_live() -> None:
    queue = made(default_ttl_ms=2000)
    queue.send([content(ttl_ms=9000), content("short", ttl_ms=1000), content("none")], 0)

    queue.advance(1999)
    assert queue.counts().active == 2
    queue.advance(2000)
    assert queue.counts().active == 0


def test_dead_letters_keep_their_number_and_do_not_expire() -> None:
    queue = made()
    queue.send([content("a"), content("b", ttl_ms=500)], 0)
    _, held = queue.take(2, 0)
    queue.dead_letter(held.token, 0, reason="r", detail="d")

    queue.advance(10_000)

    assert queue.dead is not None
    [letter] = queue.dead.take(1, 10_000)
    assert letter.sequence == 2
    with pytest.raises(Refused, match="not-allowed"):
        queue.dead.dead_letter(letter.token, 10_000)


def test_nothing_is_due_once_everything_is_done() -> None:
    queue = made()
    queue.send([content(str(number), ttl_ms=5000) for number in range(10)], 0)
    for message in queue.take(10, 0):
        queue.complete(message.token, 0)

    assert queue.next_due_ms() is None
    assert queue.size_bytes == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"lock_ms": 0},
        {"lock_ms": 300_001},
        {"max_delivery_count": 0},
        {"default_ttl_ms": 0},
        {"duplicate_window_ms": -1},
        {"max_message_bytes": 1},
        {"max_size_bytes": 0},
        {"status": "active"},
    ],
)
def test_settings_that_the_service_would_refuse_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"lock|max_|live|remembered|status"):
        QueueSettings(**wrong)  # type: ignore[arg-type]


class Model(RuleBasedStateMachine):
    """Whatever is done in whatever order: every message is in one place, and locked by one at most."""

    @initialize(sessions=st.booleans(), most=st.integers(2, 4))
    def begin(self, sessions: bool, most: int) -> None:
        self.queue = made(requires_session=sessions, max_delivery_count=most)
        self.has_sessions = sessions
        self.now_ms = 0
        self.sent: set[int] = set()
        self.done: set[int] = set()
        self.held: dict[bytes, tuple[int, int, object]] = {}
        self.most = most

    @rule(count=st.integers(1, 3), session=st.sampled_from("ab"))
    def send(self, count: int, session: str) -> None:
        self.sent.update(self.queue.send([content(session_id=session) for _ in range(count)], self.now_ms))

    @rule(limit=st.integers(1, 3), session=st.sampled_from("ab"))
    def take(self, limit: int, session: str) -> None:
        owner, locked = None, None
        if self.has_sessions:
            owner = object()
            try:
                locked = self.queue.accept_session(session, owner, self.now_ms)
            except Refused:
                locked = self.queue.sessions.get(session)
                owner = locked.owner
        taken = self.queue.take(limit, self.now_ms, locked)
        numbers = [message.sequence for message in taken]
        assert numbers == sorted(numbers)
        for message in taken:
            assert message.token not in self.held
            assert message.delivery_count < self.most
            self.held[message.token] = (message.sequence, message.locked_until_ms, owner)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), verb=st.sampled_from(["complete", "abandon", "release", "defer", "dead_letter"]))
    def settle(self, data: st.DataObject, verb: str) -> None:
        token = data.draw(st.sampled_from(sorted(self.held)))
        number, until_ms, owner = self.held.pop(token)
        try:
            getattr(self.queue, verb)(token, self.now_ms, owner)
        except Refused:
            assert until_ms <= self.now_ms
        else:
            assert until_ms > self.now_ms
            if verb == "complete":
                self.done.add(number)

    @rule(passed_ms=st.sampled_from([1, LOCK_MS // 2, LOCK_MS]))
    def pass_time(self, passed_ms: int) -> None:
        self.now_ms += passed_ms
        self.queue.advance(self.now_ms)
        due_ms = self.queue.next_due_ms()
        assert due_ms is None or due_ms > self.now_ms

    @invariant()
    def nothing_is_lost_and_nothing_is_twice(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert self.queue.dead is not None
        there = [message.sequence for message in self.queue.peek(1, 10_000)]
        buried = [message.sequence for message in self.queue.dead.peek(1, 10_000)]
        assert sorted([*there, *buried, *self.done]) == sorted(self.sent)


Model.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase

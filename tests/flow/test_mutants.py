"""The stories see: each bug that is planted here fails the story that is there to catch it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import pytest

from leveler.adapter import Abandon, Capabilities, Delivery
from leveler.consumer import decision, handler, settlement
from leveler.consumer.buffer import Buffer
from leveler.consumer.consumer import Consumer
from leveler.consumer.decision import Rules
from leveler.consumer.held import TIMEOUT, Held
from leveler.consumer.intake import Intake
from leveler.consumer.lease import Leases
from leveler.consumer.limits import Gate, Limits, Memory
from leveler.consumer.returns import Returns
from leveler.downstreams import Downstreams
from leveler.errors import LeaseLost, LevelerError, QueueFull
from leveler.forecast import Forecast
from leveler.message import Death, Message
from leveler.outcome import Outcome, Retry, Snooze, Throttled
from leveler.pressure import Pressure
from leveler.settings import ConsumerSettings
from tests.flow import test_broken_broker as broken_broker
from tests.flow import test_drain as drain
from tests.flow import test_leases as leases
from tests.flow import test_memory_limit as memory_limit
from tests.flow import test_order_and_limits as order_and_limits
from tests.flow import test_outage as outage
from tests.flow import test_outcomes as outcomes
from tests.flow import test_pressure as pressure
from tests.flow import test_quarantine as quarantine
from tests.flow.conftest import Stage, tell

Plant = Callable[[pytest.MonkeyPatch], None]
Story = Callable[..., Coroutine[Any, Any, None]]

_failures = settlement._failures
_sort = settlement.sort
_handle = Consumer._handle
_stop = Consumer.stop
_keep = Consumer._keep
_cut = handler._cut
_limits = Downstreams.limits
_give = Memory.give


def acknowledges_before_the_handler(patch: pytest.MonkeyPatch) -> None:
    async def handle(self: Consumer, held: Held) -> Outcome:
        await held.receiver.complete([held.delivery])
        outcome = await _handle(self, held)
        held.lost = True  # there is nothing left to settle
        self._leases.forget([held])
        return outcome

    patch.setattr(Consumer, "_handle", handle)


def does_not_notice_that_a_settlement_is_refused(patch: pytest.MonkeyPatch) -> None:
    async def failures(verb: Any, items: list[Any]) -> dict[int, LevelerError]:
        failed = await _failures(verb, items)
        return {index: error for index, error in failed.items() if not isinstance(error, LeaseLost)}

    def sort(pending: Sequence[Held], now: float, max_batch: int) -> settlement.Sorted:
        return _sort(pending, -math.inf, max_batch)

    patch.setattr(settlement, "_failures", failures)
    patch.setattr(settlement, "sort", sort)


def sleeps_a_delay_in_the_worker(patch: pytest.MonkeyPatch) -> None:
    async def handle(self: Consumer, held: Held) -> Outcome:
        outcome = await _handle(self, held)
        if isinstance(outcome, Retry | Throttled | Snooze):
            await self._clock.sleep(outcome.after_seconds or 1.0)
            outcome.after_seconds = 0.1
        return outcome

    patch.setattr(Consumer, "_handle", handle)


def a_stop_gives_nothing_back(patch: pytest.MonkeyPatch) -> None:
    async def stop(self: Consumer, drain_seconds: float) -> int:
        patch.setattr(self._returns, "give_back", lambda unstarted: None)
        return await _stop(self, drain_seconds)

    patch.setattr(Consumer, "stop", stop)


def has_no_quarantine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decision, "starts_alone", lambda delivery, rules: False)


def one_failed_item_fails_its_batch(patch: pytest.MonkeyPatch) -> None:
    async def failures(verb: Any, items: list[Any]) -> dict[int, LevelerError]:
        failed = await _failures(verb, items)
        return dict.fromkeys(range(len(items)), next(iter(failed.values()))) if failed else {}

    patch.setattr(settlement, "_failures", failures)


def counts_attempts_in_the_memory_of_the_process(patch: pytest.MonkeyPatch) -> None:
    def keep(self: Consumer, arrived: Any) -> None:
        counts: Counter[str] = self.__dict__.setdefault("counts", Counter())
        for held in arrived:
            counts[held.delivery.message.id] += 1
            held.delivery.attempt = counts[held.delivery.message.id]
        _keep(self, arrived)

    patch.setattr(Consumer, "_keep", keep)


def does_not_count_a_timeout(patch: pytest.MonkeyPatch) -> None:
    def cut(held: Held, name: str) -> Outcome:
        return Snooze(after=1) if held.cut == TIMEOUT else _cut(held, name)

    patch.setattr(handler, "_cut", cut)


def renews_no_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "_renew", lambda self, due: None)


def does_not_stop_the_flow(patch: pytest.MonkeyPatch) -> None:
    async def stop(self: Intake) -> None:
        await self._resting.wait()

    patch.setattr(Intake, "stop", stop)


def loses_the_headers_of_the_dead(patch: pytest.MonkeyPatch) -> None:
    def dead(self: Message, death: Death) -> Message:
        return msgspec.structs.replace(self, generation=self.generation + 1, not_before=None, death=death, headers={})

    patch.setattr(Message, "dead", dead)


def counts_what_is_not_the_fault_of_the_message(patch: pytest.MonkeyPatch) -> None:
    def give_back(self: Rules, delivery: Delivery, delay_seconds: float) -> Abandon:
        return Abandon(delivery, delay_seconds, counted=True)

    patch.setattr(Rules, "give_back", give_back)


def shares_no_downstream(patch: pytest.MonkeyPatch) -> None:
    def limits(self: Downstreams, queue: str, consumer: ConsumerSettings, can: Capabilities) -> tuple[Limits, int]:
        return _limits(Downstreams(self._settings, self._clock, self._rng), queue, consumer, can)

    patch.setattr(Downstreams, "limits", limits)


def keeps_no_lanes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Buffer, "line_up", lambda self, arrived: None)


def stands_by_with_full_hands(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Returns, "give_back_uncounted", lambda self: None)


def goes_on_receiving_for_a_downstream_that_is_gone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "credit", lambda self, horizon_seconds: 16.0)
    patch.setattr(Gate, "shut_seconds", lambda self: 0.0)


def spends_the_last_attempt_on_an_outage(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Limits, "down_seconds", lambda self: None)


def asks_for_more_than_it_may_hold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Memory, "room", lambda self: self.most_bytes)


def forgets_what_it_holds_when_a_run_fails(patch: pytest.MonkeyPatch) -> None:
    def give(self: Memory, gone: Sequence[Held]) -> None:
        _give(self, [held for held in gone if held.decision is held.delivery])

    patch.setattr(Memory, "give", give)


def foresees_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Forecast, "room", lambda self, max_wait_seconds: math.inf)


def drops_what_there_is_no_room_for(patch: pytest.MonkeyPatch) -> None:
    async def send(self: Pressure, messages: Sequence[Message], block_seconds: float | None, deliver: Any) -> Any:
        return {index: e for index, e in (await deliver(messages)).items() if not isinstance(e, QueueFull)}

    patch.setattr(Pressure, "send", send)


MUTANTS: list[tuple[Plant, Story, tuple[Any, ...]]] = [
    (
        acknowledges_before_the_handler,
        broken_broker.test_a_receiver_lost_while_handlers_run_costs_an_attempt_and_no_message,
        (),
    ),
    (
        does_not_notice_that_a_settlement_is_refused,
        leases.test_a_completion_that_the_broker_only_hears_after_the_lease_is_counted_as_a_run_for_nothing,
        (),
    ),
    (sleeps_a_delay_in_the_worker, order_and_limits.test_what_waits_to_be_tried_again_takes_no_slot, ()),
    (a_stop_gives_nothing_back, drain.test_what_waits_for_a_limit_goes_back_uncounted_at_once, ()),
    (has_no_quarantine, quarantine.test_a_killer_among_63_neighbours_is_the_only_dead_letter, (False,)),
    (one_failed_item_fails_its_batch, broken_broker.test_one_failed_item_of_a_batch_does_not_fail_the_others, ()),
    (
        counts_attempts_in_the_memory_of_the_process,
        outcomes.test_a_failed_attempt_is_counted_although_another_process_takes_over,
        (),
    ),
    (
        does_not_count_a_timeout,
        leases.test_a_run_longer_than_its_timeout_is_cancelled_and_counts_as_failed,
        (),
    ),
    (renews_no_lease, leases.test_a_handler_five_times_longer_than_its_lease_runs_once, ()),
    (does_not_stop_the_flow, drain.test_a_stop_with_nothing_to_do_takes_no_time, ()),
    (
        loses_the_headers_of_the_dead,
        outcomes.test_a_failing_message_is_started_max_attempts_times_and_dead_lettered_once,
        (2,),
    ),
    (
        counts_what_is_not_the_fault_of_the_message,
        outcomes.test_what_is_not_the_fault_of_the_message_costs_no_attempt,
        (Throttled(after=40),),
    ),
    (shares_no_downstream, order_and_limits.test_two_queues_share_the_concurrency_of_their_downstream, ()),
    (stands_by_with_full_hands, outage.test_what_the_broker_shows_is_that_nothing_is_leased, ()),
    (
        goes_on_receiving_for_a_downstream_that_is_gone,
        outage.test_an_outage_of_20_seconds_loses_nothing_and_kills_nothing,
        ("is_gone",),
    ),
    (
        spends_the_last_attempt_on_an_outage,
        outage.test_the_last_attempt_is_not_spent_on_a_downstream_that_is_down,
        (),
    ),
    (
        asks_for_more_than_it_may_hold,
        memory_limit.test_never_more_bytes_are_held_than_allowed_whatever_comes,
        (),
    ),
    (
        forgets_what_it_holds_when_a_run_fails,
        memory_limit.test_failures_retries_and_dead_letters_give_their_bytes_back,
        (),
    ),
    (foresees_nothing, pressure.test_no_message_waits_much_longer_than_it_may, ()),
    (drops_what_there_is_no_room_for, pressure.test_who_waits_too_long_is_told_which_were_not_sent, ()),
    (keeps_no_lanes, order_and_limits.test_an_ordered_queue_keeps_the_order_of_each_key_though_runs_fail, ()),
]


@pytest.mark.parametrize(("plant", "story", "words"), MUTANTS, ids=[plant.__name__ for plant, _, _ in MUTANTS])
def test_a_planted_bug_fails_its_story(
    plant: Plant, story: Story, words: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(story(Stage("plain"), *words))
    plant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        tell(story(Stage("plain"), *words))

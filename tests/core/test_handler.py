"""Handlers: which functions may be one, how each is called, and what its end means."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

from leveler.adapter import Delivery, Receiver
from leveler.consumer.handler import Handler, Middleware, Router, forget_cancellations
from leveler.consumer.held import LEASE_LOST, RUNNING, STOPPED, TIMEOUT, Context, Held
from leveler.consumer.threads import Threads
from leveler.errors import ConfigError, DecodeError, UnknownType
from leveler.message import Message
from leveler.outcome import Completed, Failed, Outcome, Reject, Retry, Snooze, Stopped, Throttled, Undecodable
from leveler.testing.clock import quiet


class Order(msgspec.Struct):
    number: int


class Later(Snooze):
    """A user's own outcome."""


def held(body: bytes = b"7", type: str = "int") -> Held:
    message = Message(id="1", body=body, type=type, time=datetime(2030, 1, 1, tzinfo=UTC))
    return Held(Delivery(message, 2, 30.0, None), cast(Receiver, None))


def outcome_of(function: Callable[..., Any], value: Any = 7, *middleware: Middleware) -> Outcome:
    """What one run of `function` on `value` ends with."""

    async def story() -> Outcome:
        threads = Threads("test")
        one = held()
        one.value = value
        try:
            return await Handler(function).bind(middleware, threads.run, "orders", "state").run(one)
        finally:
            threads.close()

    return asyncio.run(asyncio.wait_for(story(), 10))


def error_of(outcome: Outcome) -> BaseException:
    assert isinstance(outcome, Failed)
    return outcome.error


async def wait_for_ever(value: Any) -> None:
    await asyncio.get_running_loop().create_future()


# Signatures.


class Method:
    async def handle(self, value: Order) -> None: ...

    async def __call__(self, value: Order, ctx: Context) -> None: ...


def plain(value: Order) -> None: ...


async def with_context(value: Order, ctx: Context) -> None: ...


async def with_a_context_of_any_name(value: Order, whatever) -> None: ...  # type: ignore[no-untyped-def]


async def with_defaults(value: Order, retries: int = 3, *rest: int, loud: bool = False, **more: int) -> None: ...


@functools.wraps(with_context)
async def wrapped(*args: Any) -> None: ...


async def with_a_pool(pool: str, value: Order) -> None: ...


@pytest.mark.parametrize(
    ("function", "is_async", "takes_context"),
    [
        (plain, False, False),
        (with_context, True, True),
        (with_a_context_of_any_name, True, True),
        (with_defaults, True, False),
        (wrapped, True, True),
        (Method().handle, True, False),
        (Method(), True, True),
        (functools.partial(with_a_pool, "pool"), True, False),
    ],
)
def test_a_function_of_the_value_or_of_value_and_context_is_a_handler(
    function: Callable[..., Any], is_async: bool, takes_context: bool
) -> None:
    handler = Handler(function)
    assert (handler.is_async, handler.takes_context, handler.value_type) == (is_async, takes_context, Order)


def test_without_an_annotation_the_value_is_whatever_the_body_holds() -> None:
    assert Handler(lambda value: None).value_type is Any


def test_who_asks_for_the_message_gets_it_undecoded() -> None:
    async def handle(message: Message) -> None: ...

    one = held(b"\xff not JSON")
    assert Router([Handler(handle).bind((), no_thread, "orders", None)]).prepare(one) is None
    assert one.value is one.delivery.message


def nothing() -> None: ...


def three(value: int, ctx: Context, more: int) -> None: ...


def by_keyword(value: int, *, ctx: Context) -> None: ...


def only_stars(*values: int) -> None: ...


def context_first(ctx: Context, value: int) -> None: ...


def second_is_no_context(value: int, other: str) -> None: ...


def unknown_annotation(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def generator(value: int) -> Any:
    yield value


async def async_generator(value: int) -> Any:
    yield value


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (nothing, "got () -> 'None'"),
        (three, "got (value: 'int', ctx: 'Context', more: 'int')"),
        (by_keyword, "each of them positional"),
        (only_stars, "got (*values: 'int')"),
        (context_first, "the first parameter 'ctx' is the value, not the context"),
        (second_is_no_context, "the second parameter 'other' must be a leveler.Context"),
        (unknown_annotation, "its annotations cannot be read: name 'Nowhere' is not defined"),
        (generator, "it is a generator: handle one message and return"),
        (async_generator, "it is a generator: handle one message and return"),
    ],
)
def test_any_other_signature_is_refused_with_the_handlers_name_and_the_reason(
    function: Callable[..., Any], why: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        Handler(function)
    assert why in str(refused.value)
    assert f"handler {function.__qualname__}: " in str(refused.value)


def test_a_value_type_that_no_body_can_become_is_refused() -> None:
    def handle(value: threading.Thread) -> None: ...

    with pytest.raises(ConfigError, match="cannot decode messages into"):
        Handler(handle)


# Calls.


async def no_thread(call: Callable[[], Any]) -> Any:
    raise AssertionError("an async handler needs no thread")


def test_an_async_handler_runs_in_the_loop_and_a_def_handler_in_a_thread() -> None:
    ran_in = list[threading.Thread]()

    async def in_loop(value: int) -> None:
        ran_in.append(threading.current_thread())

    def in_thread(value: int) -> None:
        ran_in.append(threading.current_thread())

    assert isinstance(outcome_of(in_loop), Completed)
    assert isinstance(outcome_of(in_thread), Completed)
    assert [thread is threading.main_thread() for thread in ran_in] == [True, False]


class Recorder:
    """Each of its methods is a handler of another kind."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def in_thread(self, value: Any) -> None:
        self.got.append(value)

    async def in_loop(self, value: Any) -> None:
        self.got.append(value)

    def hidden(self, value: Any) -> Any:
        return self.in_loop(value)

    async def of_two(self, pool: str, value: Any) -> None:
        self.got.append(value)

    async def __call__(self, value: Any) -> None:
        self.got.append(value)

    def context_in_thread(self, value: Any, ctx: Context) -> None:
        self.got.append((value, ctx.queue, ctx.state, ctx.attempt, ctx.message.id, ctx.cancelled, ctx.lease_lost))

    async def context_in_loop(self, value: Any, ctx: Context) -> None:
        self.context_in_thread(value, ctx)


@pytest.mark.parametrize("kind", ["in_thread", "in_loop", "hidden", "__call__"])
def test_a_handler_of_any_kind_gets_the_value_once(kind: str) -> None:
    recorder = Recorder()
    assert isinstance(outcome_of(recorder if kind == "__call__" else getattr(recorder, kind), 42), Completed)
    assert recorder.got == [42]


def test_a_partial_gets_the_value_after_what_it_holds() -> None:
    recorder = Recorder()
    outcome_of(functools.partial(recorder.of_two, "pool"), 42)
    assert recorder.got == [42]


@pytest.mark.parametrize("kind", ["context_in_thread", "context_in_loop"])
def test_a_context_tells_what_is_known_of_the_run(kind: str) -> None:
    recorder = Recorder()
    outcome_of(getattr(recorder, kind), 42)
    assert recorder.got == [(42, "orders", "state", 2, "1", False, False)]


@pytest.mark.parametrize("kind", ["in_thread", "in_loop"])
def test_middleware_wraps_every_handler_the_first_outermost(kind: str) -> None:
    recorder = Recorder()

    def layer(name: str) -> Middleware:
        async def middleware(value: Any, ctx: Context, call_next: Any) -> Any:
            recorder.got.append(f"{name} in")
            try:
                return await call_next(value + 1, ctx)
            finally:
                recorder.got.append(f"{name} out")

        return middleware

    assert isinstance(outcome_of(getattr(recorder, kind), 1, layer("outer"), layer("inner")), Completed)
    assert recorder.got == ["outer in", "inner in", 3, "inner out", "outer out"]


def test_middleware_may_decide_without_the_handler_and_see_what_it_returns_or_raises() -> None:
    recorder, seen = Recorder(), list[str]()

    async def decide(value: Any, ctx: Context, call_next: Any) -> Any:
        return Reject("not today")

    async def watch(value: Any, ctx: Context, call_next: Any) -> Any:
        try:
            seen.append(repr(await call_next(value, ctx)))
        except ValueError as error:
            seen.append(repr(error))
            return Retry(5)

    async def answer(value: int) -> int:
        if value:
            raise ValueError("no")
        return 41

    assert isinstance(outcome_of(recorder.in_loop, 1, decide), Reject)
    assert recorder.got == []
    assert isinstance(outcome_of(answer, 0, watch), Completed)
    assert isinstance(outcome_of(answer, 1, watch), Retry)
    assert seen == ["41", "ValueError('no')"]


# Ends.


@pytest.mark.parametrize("returned", [None, 0, False, "x", ValueError("returned, not raised")])
def test_whatever_a_handler_returns_completes_the_message(returned: object) -> None:
    async def handle(value: int) -> object:
        return returned

    assert isinstance(outcome_of(handle), Completed)


@pytest.mark.parametrize(
    "outcome", [Completed(), Retry(after=3), Throttled(after=3), Snooze(3), Reject("never"), Later(9)]
)
@pytest.mark.parametrize("in_thread", [True, False])
def test_an_outcome_may_be_returned_or_raised(outcome: Outcome, in_thread: bool) -> None:
    def give(value: int) -> Outcome:
        return outcome

    def throw(value: int) -> Outcome:
        raise outcome

    async def give_async(value: int) -> Outcome:
        return outcome

    async def throw_async(value: int) -> Outcome:
        raise outcome

    for function in (give, throw) if in_thread else (give_async, throw_async):
        assert outcome_of(function) is outcome


@pytest.mark.parametrize("kind", [Completed, Retry, Throttled])
def test_the_class_of_an_outcome_may_be_returned_as_it_may_be_raised(kind: type[Outcome]) -> None:
    async def handle(value: int) -> object:
        return kind

    assert type(outcome_of(handle)) is kind


def test_the_class_of_an_outcome_that_needs_more_fails_the_run_and_does_not_complete_it() -> None:
    async def handle(value: int) -> object:
        return Reject

    assert "handle returned the class Reject" in str(error_of(outcome_of(handle)))


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), KeyboardInterrupt(), StopAsyncIteration(), TimeoutError()],
)
def test_any_error_in_a_thread_fails_this_run_and_ends_nothing_else(error: BaseException) -> None:
    def handle(value: int) -> None:
        raise error

    assert error_of(outcome_of(handle)) is error


def test_an_error_that_no_coroutine_may_raise_fails_this_run_too() -> None:
    def handle(value: int) -> None:
        next(iter(()))

    assert isinstance(error_of(outcome_of(handle)).__cause__, StopIteration)


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError(), LookupError()])
def test_any_error_in_the_loop_fails_this_run(error: BaseException) -> None:
    async def handle(value: int) -> None:
        raise error

    assert error_of(outcome_of(handle)) is error


def test_a_handler_that_wants_to_exit_fails_its_message_and_not_the_worker() -> None:
    async def handle(value: int) -> None:
        raise SystemExit(3)

    assert isinstance(error_of(outcome_of(handle)), SystemExit)


def test_a_group_of_one_is_that_one_however_deep() -> None:
    async def of_tasks(value: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(reject())

    async def reject() -> None:
        raise Reject("no such order")

    async def nested(value: int) -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError("id")])])

    outcome = outcome_of(of_tasks)
    assert isinstance(outcome, Reject)
    assert outcome.reason == "no such order"
    assert isinstance(error_of(outcome_of(nested)), KeyError)


def test_a_group_of_several_stays_a_group() -> None:
    async def handle(value: int) -> None:
        raise ExceptionGroup("both", [Reject("no"), KeyError("id")])

    assert isinstance(error_of(outcome_of(handle)), ExceptionGroup)


def test_a_cancellation_that_the_handler_made_itself_is_a_failure() -> None:
    async def handle(value: int) -> None:
        task = asyncio.ensure_future(wait_for_ever(value))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    assert isinstance(error_of(outcome_of(handle)), asyncio.CancelledError)


# Runs that are cut.


async def _cut(function: Callable[..., Any], why: str) -> Outcome:
    """The outcome of a run that is cut while it waits, in a worker that goes on afterwards."""
    one = held()
    runner = Handler(function).bind((), no_thread, "orders", None)

    async def work() -> None:
        outcomes.append(await runner.run(one))
        await forget_cancellations(worker)
        await asyncio.sleep(0)
        assert not worker.cancelling()

    outcomes = list[Outcome]()
    one.state = RUNNING
    one.task = worker = asyncio.create_task(work())
    await quiet()
    one.interrupt(why)
    one.interrupt("for another reason that comes too late")
    await worker
    return outcomes[0]


def cut(function: Callable[..., Any], why: str) -> Outcome:
    return asyncio.run(asyncio.wait_for(_cut(function, why), 10))


def test_a_run_past_its_timeout_failed_by_its_timeout() -> None:
    assert str(error_of(cut(wait_for_ever, TIMEOUT))) == "handler wait_for_ever ran longer than its timeout"


def test_a_run_without_a_lease_failed_by_that() -> None:
    assert "lease was lost" in str(error_of(cut(wait_for_ever, LEASE_LOST)))


def test_a_run_that_a_stop_cut_was_stopped() -> None:
    assert isinstance(cut(wait_for_ever, STOPPED), Stopped)


def test_a_run_that_was_cut_cannot_claim_another_end() -> None:
    async def swallow(value: int) -> None:
        try:
            await wait_for_ever(value)
        except asyncio.CancelledError:
            return

    async def reject(value: int) -> None:
        try:
            await wait_for_ever(value)
        finally:
            raise Reject("never")

    assert isinstance(error_of(cut(swallow, TIMEOUT)), TimeoutError)
    assert isinstance(error_of(cut(reject, TIMEOUT)), TimeoutError)
    assert isinstance(cut(swallow, STOPPED), Stopped)


# The choice by type.


async def take_int(value: int) -> None: ...


async def take_order(value: Order) -> None: ...


async def take_any(value: Any) -> None: ...


def router(**handlers: Callable[..., Any]) -> Router:
    made = [Handler(function, None if type == "any" else type) for type, function in handlers.items()]
    return Router([handler.bind((), no_thread, "orders", None) for handler in made])


def test_the_handler_is_chosen_by_the_type_of_the_message_and_the_value_is_decoded_for_it() -> None:
    choice, one, other = router(Order=take_order, int=take_int), held(b'{"number":7}', "Order"), held(b"7", "int")
    assert (choice.prepare(one), choice.prepare(other)) == (None, None)
    assert (one.value, one.handler.handler.function) == (Order(7), take_order)
    assert (other.value, other.handler.handler.function) == (7, take_int)


def test_what_no_other_takes_goes_to_the_handler_of_any_type() -> None:
    choice, one = router(int=take_int, any=take_any), held(b"[1]", "list")
    assert choice.prepare(one) is None
    assert one.handler.handler.function is take_any


def test_a_type_that_nobody_takes_is_a_failure_that_names_those_that_are_taken() -> None:
    prepared = router(Order=take_order, int=take_int).prepare(held(type="Refund"))
    assert prepared is not None
    error = error_of(prepared)
    assert isinstance(error, UnknownType)
    assert str(error) == "no handler takes messages of type 'Refund'; this worker knows 'Order', 'int'"


def test_a_body_that_is_not_what_the_handler_takes_is_undecodable() -> None:
    prepared = router(any=take_order).prepare(held(b"{"))
    assert isinstance(prepared, Undecodable)
    assert isinstance(prepared.error, DecodeError)


def test_a_decoder_that_runs_out_of_memory_is_no_fault_of_the_message() -> None:
    choice, one = router(any=take_int), held()

    def exhausted(body: bytes, content_type: str) -> Any:
        raise MemoryError

    cast(Any, choice)._any.decode = exhausted
    prepared = choice.prepare(one)
    assert prepared is not None
    assert isinstance(error_of(prepared), MemoryError)

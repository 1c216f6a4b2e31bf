"""Handler: a user's function, made ready once; running it turns its return or its exception into an outcome."""

from __future__ import annotations

import asyncio
import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from leveler.codec import decoder_for
from leveler.consumer.batch import BatchContext
from leveler.consumer.held import LEASE_LOST, TIMEOUT, Context, Held, Run
from leveler.errors import ConfigError, DecodeError, UnknownType
from leveler.message import Message
from leveler.outcome import Completed, Failed, Outcome, Stopped, Undecodable

#: What a middleware calls to go on: the next middleware, at last the handler.
Next = Callable[[Any, Context], Awaitable[Any]]
#: ``async def middleware(value, ctx, call_next)``: wraps every run; returns what `call_next` returned.
Middleware = Callable[[Any, Context, Next], Awaitable[Any]]
#: Calls a function in a thread.
InThread = Callable[[Callable[[], Any]], Awaitable[Any]]

COMPLETED: Final = Completed()


class Handler:
    """One handler function, its signature read and its calls compiled.

    Args:
        function: ``def`` or ``async def``, taking the value, or the value and a `Context`. The value's annotation
            says what the body is decoded to.
        type: the message type that it takes; None = any.
        in_batches: it takes a list of values, and a `BatchContext`.

    Raises:
        ConfigError: the signature is not one that can be called; says which are.
    """

    def __init__(self, function: Callable[..., Any], type: str | None = None, *, in_batches: bool = False) -> None:
        self.function = function
        self.type = type
        self.in_batches = in_batches
        self.name = getattr(function, "__qualname__", repr(function))
        context = BatchContext if in_batches else Context
        self._context: Callable[[Any, str, Any], Context] = context
        annotation, self.takes_context = _signature(function, self.name, context)
        #: Of one message.
        self.value_type = _item(annotation, self.name) if in_batches else annotation
        self.is_async = _is_async(function)
        #: (body, content type) -> what it is called with; None = with the message itself.
        self.decode = None if self.value_type is Message else decoder_for(self.value_type)

    def bind(self, middleware: Sequence[Middleware], in_thread: InThread, queue: str, state: Any) -> Runner:
        """What runs it in one consumer. Middleware is composed here, once; without any there is nothing to pay."""
        if not middleware and self.is_async and not self.takes_context:
            return Runner(self, self.function, None)
        call = self._call(in_thread)
        for layer in reversed(middleware):
            call = functools.partial(_layer, layer, call)
        return Runner(self, call, lambda run: self._context(run, queue, state))

    def _call(self, in_thread: InThread) -> Next:
        function = self.function
        arguments = 2 if self.takes_context else 1

        async def threaded(*args: Any) -> Any:
            result = await in_thread(functools.partial(function, *args[:arguments]))
            # A def function may hide an async one: what it returns is the work, still to be done.
            return await result if inspect.isawaitable(result) else result

        if not self.is_async:
            return threaded
        if self.takes_context:
            return function
        return lambda value, ctx: function(value)


async def _layer(middleware: Middleware, call_next: Next, value: Any, ctx: Context) -> Any:
    return await middleware(value, ctx, call_next)


class Runner:
    """Runs one handler for one consumer.

    Args:
        handler: whose function it is.
        call: runs it, with the value and the context, or with the value alone where there is no `context`.
        context: makes what a call is told besides the value.
    """

    def __init__(
        self, handler: Handler, call: Callable[..., Awaitable[Any]], context: Callable[[Run], Context] | None
    ) -> None:
        self.handler = handler
        self.decode = handler.decode
        self.is_async = handler.is_async
        self._call = call
        self._context = context

    async def run(self, run: Run) -> Outcome:
        """Run the handler on one delivery, or on a batch, to its end. Whatever it does, it comes back as an outcome."""
        try:
            context = self._context
            result = await (self._call(run.value, context(run)) if context else self._call(run.value))
        except GeneratorExit:
            raise
        except BaseException as error:  # even a SystemExit ends its message, never its worker
            outcome = _only(error)
            if run.cut is None:
                return outcome if isinstance(outcome, Outcome) else Failed(outcome)
        else:
            if run.cut is None:
                return COMPLETED if result is None else _returned(result, self.handler.name)
        return _cut(run, self.handler.name)


class Router:
    """The handlers of one queue, by message type."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._by_type = {runner.handler.type: runner for runner in runners if runner.handler.type is not None}
        self._any = next((runner for runner in runners if runner.handler.type is None), None)

    def prepare(self, held: Held) -> Outcome | None:
        """Choose the handler and decode the value. An outcome if that alone decides; then there is no handler."""
        message = held.delivery.message
        runner = self._by_type.get(message.type, self._any) if self._by_type else self._any
        if runner is None:
            held.handler = None
            known = ", ".join(sorted(map(repr, self._by_type)))
            # A rolling deploy may know the type elsewhere, or soon: it is tried again before it is given up.
            return Failed(UnknownType(f"no handler takes messages of type {message.type!r}; this worker knows {known}"))
        decode = runner.decode
        held.handler = runner
        try:
            held.value = message if decode is None else decode(message.body, message.content_type)
        except DecodeError as error:
            held.handler = None
            return Undecodable(error)
        except Exception as error:  # this process is at fault, not the message: out of memory, for example
            held.handler = None
            return Failed(error)
        return None


def _returned(result: object, name: str) -> Outcome:
    """The outcome of a run that returned `result`; the class of an outcome is as good as one made of it."""
    if isinstance(result, Outcome):
        return result
    if not isinstance(result, type) or not issubclass(result, Outcome):
        return COMPLETED
    try:
        return result()
    except Exception as error:
        return Failed(TypeError(f"handler {name} returned the class {result.__name__}, not one made of it: {error}"))


def _cut(run: Run, name: str) -> Outcome:
    """The outcome of a run that was cut short, whatever the handler made of it."""
    if run.cut == TIMEOUT:
        return Failed(TimeoutError(f"handler {name} ran longer than its timeout"))
    if run.cut == LEASE_LOST:
        return Failed(TimeoutError(f"handler {name} ran on after its lease was lost"))
    return Stopped()


async def forget_cancellations(worker: asyncio.Task[Any]) -> None:
    """Whatever was cancelled meant the run that has ended, not the worker, which goes on. Some of it may be left over
    from a `TaskGroup` of the handler's, which does not always take its own back; and a task that is cancelled while it
    does not wait hears of it only when it waits next."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    while worker.cancelling():
        worker.uncancel()


def _only(error: BaseException) -> BaseException:
    """The one error inside groups of one: a handler's TaskGroup wraps what its child decided."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to be awaited: itself, or what it wraps, is ``async def``."""
    while True:
        called = getattr(function, "__call__", None)  # noqa: B004  # the method itself is looked at
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):
            return True
        inner = function.func if isinstance(function, functools.partial) else getattr(function, "__wrapped__", None)
        if inner is None:
            return False
        function = inner


def _item(annotation: Any, name: str) -> Any:
    """The type of one message of a batch handler."""
    if annotation is Any or annotation is list:
        return Any
    if typing.get_origin(annotation) is list:
        return typing.get_args(annotation)[0]
    raise ConfigError(
        f"handler {name}: it takes batches, so its first parameter must be a list, such as list[Order]; "
        f"it is annotated as {annotation}"
    )


def _signature(function: Callable[..., Any], name: str, context: type[Context]) -> tuple[Any, bool]:
    """The type of the value and whether a context is wanted."""
    expected = f"handler {name}: expected (value), or (value, ctx: {context.__name__}), each of them positional"
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigError(f"{expected}; it is a generator: handle one message and return")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{expected}; its signature cannot be read: {error}") from error
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if any(p.kind is p.KEYWORD_ONLY for p in required) or not 1 <= len(required) <= 2:
        raise ConfigError(f"{expected}; got {inspect.signature(function)}")
    hints = _hints(function, name)
    value = hints.get(required[0].name, Any)
    if value in (Context, BatchContext):
        raise ConfigError(f"{expected}; the first parameter {required[0].name!r} is the value, not the context")
    if len(required) == 2 and hints.get(required[1].name, context) is not context:
        raise ConfigError(f"{expected}; the second parameter {required[1].name!r} must be a leveler.{context.__name__}")
    return value, len(required) == 2


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:  # annotations are code: they may fail in any way
        raise ConfigError(f"handler {name}: its annotations cannot be read: {error}") from error

"""A delivery state from a client -> what is done to the message, and the state that is answered."""

from __future__ import annotations

from typing import Any

from leveler_servicebus.emulator.amqp.performatives import Outcome
from leveler_servicebus.emulator.amqp.values import Described, Encoded
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.refusal import Refused
from leveler_servicebus.emulator.terminus import ACCEPTED, DEAD_LETTER, REJECTED, RELEASED, modified, rejected


def settle(queue: Queue, token: bytes, state: Any, now_ms: int, owner: object = None) -> Encoded:
    """Do what `state` says; the answer is the same state, or a rejection with the reason."""
    try:
        return _settle(queue, token, state, now_ms, owner)
    except Refused as refused:
        return rejected(refused.condition, refused.description)


def _settle(queue: Queue, token: bytes, state: Any, now_ms: int, owner: object) -> Encoded:
    kind = state.descriptor if isinstance(state, Described) else Outcome.ACCEPTED
    fields = state.value if isinstance(state, Described) and isinstance(state.value, list) else []
    if kind == Outcome.ACCEPTED:
        queue.complete(token, now_ms, owner)
        return ACCEPTED
    if kind == Outcome.REJECTED:
        reason, detail = _dead_letter_info(fields[0] if fields else None)
        queue.dead_letter(token, now_ms, owner, reason=reason, detail=detail)
        return REJECTED
    if kind == Outcome.MODIFIED:
        failed, undeliverable = (bool(field) for field in [*fields, None, None][:2])
        _modify(queue, token, now_ms, owner, failed=failed, undeliverable=undeliverable)
        return modified(failed=failed, undeliverable_here=undeliverable)
    queue.release(token, now_ms, owner)
    return RELEASED


def _modify(queue: Queue, token: bytes, now_ms: int, owner: object, *, failed: bool, undeliverable: bool) -> None:
    if undeliverable:
        queue.defer(token, now_ms, owner)
    elif failed:
        queue.abandon(token, now_ms, owner)
    else:
        queue.release(token, now_ms, owner)


def _dead_letter_info(error: Any) -> tuple[str | None, str | None]:
    """Reason and description, as the client has put them into the error's info."""
    fields = error.value if isinstance(error, Described) and isinstance(error.value, list) else []
    condition, description, info = [*fields, None, None, None][:3]
    if condition == DEAD_LETTER and isinstance(info, dict):
        return info.get("DeadLetterReason"), info.get("DeadLetterErrorDescription")
    return (str(condition) if condition else None), description

"""`/$emulator/..`: what only an emulator can be told, for tests: JSON over POST."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from leveler_servicebus.emulator.entity.queue import Queue


class Controlled(Protocol):
    """What can be told."""

    def move_clock(self, seconds: float) -> None: ...
    def be_busy(self, seconds: float) -> None: ...
    def detach(self, entity: str | None = None) -> int: ...
    def cut(self) -> int: ...
    def gone(self, queue: Queue) -> None: ...


class Controls:
    """Turns requests into calls.

    Args:
        emulator: what is told.
    """

    def __init__(self, emulator: Controlled) -> None:
        self._emulator = emulator

    def act(self, name: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Do what is asked; what came of it.

        Raises:
            LookupError: there is no such control.
            ValueError: the body is not what it takes.
        """
        if not headers.get("content-type", "").startswith("application/json"):
            # A page in a browser cannot say so to another site unasked.
            raise ValueError("expected a body of the type application/json")
        control = _CONTROLS.get(name)
        if control is None:
            raise LookupError(f"there is no control {name!r}: expected one of {', '.join(_CONTROLS)}")
        said = json.loads(body or b"{}")
        if not isinstance(said, dict):
            raise ValueError("expected a JSON object")
        try:
            return control(self._emulator, **said) or {}
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from error

    def gone(self, queue: Queue) -> None:
        """It has been deleted."""
        self._emulator.gone(queue)


def _clock(emulator: Controlled, *, forward_seconds: float) -> None:
    emulator.move_clock(float(forward_seconds))


def _busy(emulator: Controlled, *, seconds: float) -> None:
    emulator.be_busy(float(seconds))


def _detach(emulator: Controlled, *, queue: str | None = None) -> dict[str, Any]:
    return {"links": emulator.detach(queue)}


def _cut(emulator: Controlled) -> dict[str, Any]:
    return {"connections": emulator.cut()}


_CONTROLS: Final[Mapping[str, Callable[..., dict[str, Any] | None]]] = {
    "clock": _clock,
    "busy": _busy,
    "detach": _detach,
    "cut": _cut,
}

"""One case: a sentence that is true of every adapter, and the code that checks it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from leveler.testing.contract.rig import Rig


class Need(NamedTuple):
    """What an adapter must be able to do for a case to mean anything on it."""

    name: str
    holds: Callable[[Rig], bool]


class Gated(Exception):
    """This case does not apply here; `why` names the capability that is not claimed."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


@dataclass(frozen=True)
class Case:
    """A named check. The name is the promise; the docstring says where it stands in the contract."""

    topic: str
    name: str
    promise: str
    play: Callable[[Rig], Awaitable[None]] = field(repr=False)
    needs: tuple[Need, ...] = ()
    #: Fields of `QueueSpec` that the case's queue must have.
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id(self) -> str:
        return f"{self.topic}-{self.name}"

    def __str__(self) -> str:
        return self.id


def case(*needs: Need, **spec: Any) -> Callable[[Callable[[Rig], Awaitable[None]]], Case]:
    """Make the function below it a `Case` of its module's topic.

    Args:
        needs: what must be claimed for it to be run; else it is reported as gated by the first that is not.
        spec: fields of the `QueueSpec` that `Rig.queue` is declared with.
    """

    def made(play: Callable[[Rig], Awaitable[None]]) -> Case:
        if not play.__doc__:
            raise TypeError(f"case {play.__name__}: its docstring must say which promise it checks")
        topic = play.__module__.rpartition(".")[2]
        return Case(topic, play.__name__, inspect.cleandoc(play.__doc__), play, needs, spec)

    return made

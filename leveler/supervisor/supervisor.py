"""Supervisor: keeps the workers that there are to be, passes signals on to them, and looks how many are useful."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from leveler.events import log
from leveler.monitor.figures import AppFigures
from leveler.monitor.flow import flows
from leveler.monitor.watcher import Watcher
from leveler.settings import Processes
from leveler.supervisor.child import Child
from leveler.supervisor.crew import Crew, RestartPolicy, Start, Stop
from leveler.supervisor.line import BEGUN, READY
from leveler.supervisor.scaling import Scaling, ScalingPolicy

_FAILED: Final = 1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a worker is started."""

    #: For worker 1, 2, 3 ...
    command: Callable[[int], Sequence[str]]
    environment: Mapping[str, str] = field(repr=False)
    folder: str
    #: Who shows it may read their figures.
    token: str | None = field(default=None, repr=False)


class Supervisor:
    """
    Args:
        processes: how many there are to be.
        recipe: how one is started. Where `processes` is a range, they show their figures.
        on_ready: called once, when the least that there are to be are ready.
        scaling: how quickly the number follows what is useful.
        restart: when a worker that ended by itself is started again.
    """

    def __init__(
        self,
        processes: Processes,
        recipe: Recipe,
        *,
        on_ready: Callable[[], object],
        scaling: ScalingPolicy | None = None,
        restart: RestartPolicy | None = None,
    ) -> None:
        self._processes = processes
        self._recipe = recipe
        self._on_ready = on_ready
        self._policy = scaling or ScalingPolicy()
        self._crew = Crew(processes.min, restart or RestartPolicy())
        self._scaling = Scaling(processes.min, processes.max, self._policy)
        self._children: dict[int, Child] = {}
        self._news = asyncio.Event()

    async def run(self) -> int:
        """Until all of them have ended because they were told to.

        Returns:
            The exit code: 0; 1 if one of them had to leave deliveries to the end of their leases, or was killed
            meanwhile; 2 if there is something wrong with what they were given.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(self._follow())
                code = await self._direct(tasks)
                looking.cancel()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        return code

    def stop(self) -> None:
        """All of them drain; the second time they give everything back at once."""
        if self._crew.is_stopping:
            log.info("a second signal is passed on to %s", _workers(len(self._children)))
        else:
            log.info("stopping %s; a second signal is passed on, too", _workers(len(self._children)))
        self._crew.stop()
        self._news.set()

    async def _direct(self, tasks: asyncio.TaskGroup) -> int:
        """Carry out what the crew orders, until it is over."""
        while (code := self._crew.code) is None:
            self._news.clear()
            now = time.monotonic()
            for order in self._crew.orders(now):
                if isinstance(order, Start):
                    tasks.create_task(self._keep(order.number))
                elif (child := self._children.get(order.number)) is not None:
                    child.stop() if isinstance(order, Stop) else child.hurry()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(_in_loop_time(self._crew.next_at())):
                    await self._news.wait()
        return code

    async def _keep(self, number: int) -> None:
        """One process, from its start to its end."""
        recipe = self._recipe
        try:
            hear = partial(self._hear, number)
            child = await Child.start(number, recipe.command(number), recipe.environment, recipe.folder, hear)
        except OSError as error:
            self._ended(number, _FAILED, f"could not be started: {error}")
            return
        self._children[number] = child
        log.info("worker %d: process %d", number, child.pid)
        if self._crew.is_told(number):  # while it was started
            child.stop()
        code = await child.ended()
        del self._children[number]
        self._ended(number, code, _how(code))

    def _hear(self, number: int, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == BEGUN:
            self._children[number].url = rest or None
            self._crew.began(number)
        elif word == READY:
            was_ready = self._crew.was_ready
            self._crew.ready(number, time.monotonic())
            if self._crew.was_ready and not was_ready:
                self._on_ready()
        self._news.set()

    def _ended(self, number: int, code: int, how: str) -> None:
        pause_seconds = self._crew.ended(number, code, time.monotonic())
        if pause_seconds is not None:
            log.warning("worker %d %s; it is started again in %g s", number, how, pause_seconds)
        else:
            log.log(logging.WARNING if code else logging.INFO, "worker %d %s", number, how)
        self._news.set()

    # How many

    async def _follow(self) -> None:
        """What is useful, where there is a choice."""
        while self._processes.min < self._processes.max:
            await asyncio.sleep(self._policy.look_seconds)
            there = self._crew.wanted
            useful = await self._useful(there)
            if self._crew.is_stopping:
                return
            self._crew.wanted = wanted = self._scaling.wanted(time.monotonic(), [*useful.values()], there=there)
            if wanted != there:
                told = ", ".join(f"{count} for {name}" for name, count in useful.items() if count is not None)
                lately = f" for {self._policy.fall_seconds:g} s" if wanted < there else ""
                log.info("%s instead of %d: useful are %s%s", _workers(wanted), there, told or "none", lately)
            self._news.set()

    async def _useful(self, there: int) -> dict[str, int | None]:
        """How many workers would be useful, by queue; of a queue without a name as well where somebody says nothing."""
        urls = [child.url for number, child in self._children.items() if child.url is not None and number <= there]
        found = await asyncio.to_thread(Watcher(urls, self._recipe.token).look) if urls else {}
        read = {url: figures for url, figures in found.items() if isinstance(figures, AppFigures)}
        useful = {name: flow.useful_workers for name, flow in flows({}, read).items() if flow.workers}
        return useful if len(read) == there else {**useful, "": None}


def _in_loop_time(at: float) -> float | None:
    return None if at == float("inf") else asyncio.get_running_loop().time() + at - time.monotonic()


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}" if code else "has ended"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"

"""Gate: the limits of one downstream together, and the queue of those who wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from leveler.clock import Clock, Timer
from leveler.consumer.limits.breaker import Breaker, State
from leveler.consumer.limits.fleet import FleetRate
from leveler.consumer.limits.limit import Figures, Finding, Limit, Refusal, Shown, Verdict, Weighing
from leveler.consumer.limits.memory import Memory

_Waiter = tuple["asyncio.Future[bool]", int, object]

#: What was received may well wait so long; what is to wait longer had better wait at the broker. So much before the end
#: of a pause everybody gets ready again, and nobody is first because he noticed first.
SHORT_PAUSE_SECONDS: Final = 1.0


class Gate:
    """All limits of what it protects. Consumers may share it; whoever came first starts first.

    A run starts only when every limit allows it, and then starts in all of them at once.

    Args:
        name: the downstream's, or the queue's where the limits stand at the consumer.
        limits: checked together.
        clock: monotonic time, and one timer at most.
    """

    def __init__(self, name: str, limits: Sequence[Limit], clock: Clock) -> None:
        self.name = name
        self.limits = tuple(limits)
        self._weighing = [limit for limit in self.limits if isinstance(limit, Weighing)]
        self._clock = clock
        self._waiters: deque[_Waiter] = deque()
        self._timer: Timer | None = None
        self._paused_until = float("-inf")
        self._listeners: list[Callable[[], object]] = []
        self._watchers: list[Callable[[], object]] = []
        self._breaker = next((limit for limit in self.limits if isinstance(limit, Breaker)), None)
        self._down_since: float | None = None
        self._held_back_at = clock.monotonic()  # nothing is known yet
        if self._breaker is not None:
            self._breaker.listen(self._turn)
        #: What it shares with the gates of other processes.
        self.fleet_rate = next((limit for limit in self.limits if isinstance(limit, FleetRate)), None)
        if self.fleet_rate is not None:
            self.fleet_rate.feed(self._let_others)

    def listen(self, changed: Callable[[], object]) -> None:
        """Call `changed` whenever more runs than before might start."""
        self._listeners.append(changed)

    def unlisten(self, changed: Callable[[], object]) -> None:
        self._listeners.remove(changed)

    def watch(self, turned: Callable[[], object]) -> None:
        """Call `turned` whenever `shut_seconds` may have become something else than time makes of it."""
        self._watchers.append(turned)

    def unwatch(self, turned: Callable[[], object]) -> None:
        self._watchers.remove(turned)

    def down_seconds(self) -> float | None:
        """For how long the downstream has not done its work, so that a failure says nothing about its message; None: it
        does."""
        return None if self._down_since is None else self._clock.monotonic() - self._down_since

    def shut_seconds(self) -> float:
        """For how long surely nothing starts, so that nothing need be held here; infinity while a probe decides."""
        now = self._clock.monotonic()
        broken = self._breaker.wait(now) if self._breaker is not None else 0.0
        return max(0.0, broken, self._paused_until - now - SHORT_PAUSE_SECONDS)

    def calm_seconds(self) -> float:
        """For how long the downstream has held nothing back: no refusal, no pause, no outage, no limit that it set."""
        now = self._clock.monotonic()
        if self._down_since is not None or self._paused_until > now:
            return 0.0
        found = [limit.held_back_at for limit in self.limits if isinstance(limit, Finding)]
        return now - max(self._held_back_at, self._paused_until, *found)

    def credit(self, horizon_seconds: float, batch_size: int = 1) -> float:
        """How many messages could start within the horizon, beyond those that wait already.

        Args:
            horizon_seconds: how far to look ahead.
            batch_size: a run takes as many. Where messages are counted, one more run may start before it has paid.
        """
        now = self._clock.monotonic()
        if self._paused_until > now + horizon_seconds:
            return 0.0
        waiting = sum(runs for _, runs, _ in self._waiters) if self._waiters else 0
        runs = min((limit.credit(now, horizon_seconds) for limit in self.limits), default=float("inf")) - waiting
        if batch_size == 1 or self._down_since is not None:  # one looks whether it is back
            return runs
        paid = min((limit.credit(now, horizon_seconds) for limit in self._weighing), default=float("inf"))
        return min(runs * batch_size, max(paid, batch_size))

    def wait(self) -> float:
        """Seconds until one more run may start; infinity if another one must end first."""
        return self._wait(self._clock.monotonic())

    def series(self, most: int) -> int:
        """How many of `most` runs may start now, each when the one before has ended."""
        now = self._clock.monotonic()
        if self._waiters or self._paused_until > now:
            return 0
        for limit in self.limits:
            most = limit.series(now, most)
        return most

    def try_start(self, runs: int) -> bool:
        """Start `runs` if nobody waits and every limit allows it."""
        if self._waiters:
            return False
        now = self._clock.monotonic()
        if self._wait(now) > 0:
            return False
        for limit in self.limits:
            limit.start(now, runs)
        return True

    async def start(self, runs: int, owner: object) -> bool:
        """Wait until `runs` may start, and start them. False if `refuse` came first: nothing was started."""
        if self.try_start(runs):
            return True
        waiter: _Waiter = (asyncio.get_running_loop().create_future(), runs, owner)
        self._waiters.append(waiter)
        self._wake()
        try:
            return await waiter[0]
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def finish(self, runs: int, latency_seconds: float, verdict: Verdict) -> None:
        """`runs` have ended: let others start."""
        now = self._clock.monotonic()
        for limit in self.limits:
            limit.finish(now, runs, latency_seconds, verdict)
        self._let_others()

    def take_back(self, runs: int) -> None:
        """`runs` were started here and nowhere else: let others start in their place."""
        for limit in self.limits:
            limit.take_back(runs)
        self._let_others()
        if self._down_since is not None:  # it may have been the probe
            self._tell_watchers()

    def charge(self, messages: int) -> None:
        """A run that was started here takes so many messages more than one."""
        for limit in self._weighing:
            limit.charge(messages)

    def refuse(self, owner: object) -> None:
        """Send everyone of `owner` who waits away: it stops."""
        mine = [waiter for waiter in self._waiters if waiter[2] is owner]
        for waiter in mine:
            self._waiters.remove(waiter)
            if not waiter[0].done():
                waiter[0].set_result(False)
        self._wake()

    def pause(self, seconds: float) -> None:
        """Start nothing for so long: the downstream asked for it."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        self._wake_after(seconds)
        if seconds > SHORT_PAUSE_SECONDS:
            self._tell_watchers()

    def be_refused(self) -> None:
        """The downstream said that it has too much to do; see `calm_seconds`."""
        self._held_back_at = self._clock.monotonic()

    def hear(self, verdict: Verdict) -> None:
        """A run that was let in elsewhere has met this downstream too, and that is how it went."""
        now = self._clock.monotonic()
        for limit in self.limits:
            limit.start(now, 1)
            limit.finish(now, 1, 0.0, verdict)

    def _turn(self, now: float, state: State) -> None:
        if state is State.CLOSED:
            self._down_since, self._held_back_at = None, now
        elif self._down_since is None:
            self._down_since = now
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for turned in self._watchers:
            turned()

    def figures(self) -> Figures:
        """What its limits show of themselves, who waits for them, and how long they are paused yet."""
        shown: dict[str, float | str] = {
            "waiting": sum(runs for _, runs, _ in self._waiters),
            "paused_seconds": max(0.0, self._paused_until - self._clock.monotonic()),
        }
        for limit in self.limits:
            if isinstance(limit, Shown):
                shown |= limit.figures()
        return shown

    def _let_others(self) -> None:
        if self._waiters:
            self._wake()
        for changed in self._listeners:
            changed()

    def _wait(self, now: float) -> float:
        wait = self._paused_until - now if self._paused_until > now else 0.0
        for limit in self.limits:
            if (more := limit.wait(now)) > wait:
                wait = more
        return wait

    def _wake(self) -> None:
        while self._waiters:
            future, runs, _ = self._waiters[0]
            if not future.done():
                now = self._clock.monotonic()
                if (wait := self._wait(now)) > 0:
                    return self._wake_after(wait if self.fleet_rate is None else self._want(self.fleet_rate, now, wait))
                for limit in self.limits:
                    limit.start(now, runs)
                future.set_result(True)
            self._waiters.popleft()
        return None

    def _want(self, fleet: FleetRate, now: float, wait: float) -> float:
        """When to look again. Nothing is reserved for what could not start here anyway: it is asked for afterwards."""
        others = max(self._paused_until - now, 0.0, *(one.wait(now) for one in self.limits if one is not fleet))
        if not others:
            fleet.want()
        return others or wait

    def _wake_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds == float("inf") else self._clock.call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._wake()
        for changed in self._listeners:
            changed()

    def _forget(self, waiter: _Waiter) -> None:
        future, runs, _ = waiter
        if future.done() and not future.cancelled() and future.result():
            # It had been let in before the cancellation arrived: the start is taken back.
            self.take_back(runs)
        elif waiter in self._waiters:
            self._waiters.remove(waiter)
            self._wake()


class Limits:
    """The gates that a consumer's runs pass: its own first, then its downstream's, always in this order.

    Args:
        gates: those.
        downstreams: all that there are, by name: a handler may meet others besides.
        memory: what may be held.
        batch_size: most messages that one run takes.
    """

    def __init__(
        self,
        gates: Sequence[Gate],
        downstreams: Mapping[str, Gate] = MappingProxyType({}),
        memory: Memory | None = None,
        batch_size: int = 1,
    ) -> None:
        self.gates = tuple(gates)
        self.memory = memory
        self.batch_size = batch_size
        self._downstreams = downstreams
        self._refusals = 0

    def listen(self, changed: Callable[[], object], turned: Callable[[], object]) -> None:
        """See `Gate.listen` and `Gate.watch`."""
        for gate in self.gates:
            gate.listen(changed)
            gate.watch(turned)

    def unlisten(self, changed: Callable[[], object], turned: Callable[[], object]) -> None:
        for gate in self.gates:
            gate.unlisten(changed)
            gate.unwatch(turned)

    def credit(self, horizon_seconds: float) -> float:
        """How many messages could start within the horizon."""
        return min(gate.credit(horizon_seconds, self.batch_size) for gate in self.gates)

    def wait(self) -> float:
        return max(gate.wait() for gate in self.gates)

    def series(self, most: int) -> int:
        """How many of `most` runs may start now, each when the one before has ended."""
        for gate in self.gates:
            most = gate.series(most)
        return most

    def try_acquire(self, runs: int) -> bool:
        """Start `runs` if nobody waits and every limit allows it."""
        return self._blocking(runs, None) is None

    async def acquire(self, runs: int) -> bool:
        """Wait until `runs` may start. False if `refuse` came first: nothing is held then.

        One that waits holds no place anywhere: a token of a rate that was taken early would be spent late, together
        with others. So it waits where it is blocked, and takes all places at once when it is not blocked any more.
        """
        refusals = self._refusals
        blocking = self._blocking(runs, None)
        while blocking is not None:
            if not await blocking.start(runs, self):
                return False
            if refusals != self._refusals:  # it came when the gate had let us in and we did not know it yet
                blocking.take_back(runs)
                return False
            blocking = self._blocking(runs, blocking)
        return True

    def _blocking(self, runs: int, passed: Gate | None) -> Gate | None:
        """Start `runs` at all gates, of which one may have been `passed`; or at none, and tell which one blocks."""
        started = [] if passed is None else [passed]
        for gate in self.gates:
            if gate is passed:
                continue
            if not gate.try_start(runs):
                for before in started:
                    before.take_back(runs)
                return gate
            started.append(gate)
        return None

    def charge(self, messages: int) -> None:
        """A run that was acquired takes so many messages more than one."""
        for gate in self.gates:
            gate.charge(messages)

    def release(self, runs: int, latency_seconds: float, verdict: Verdict, refusal: Refusal | None = None) -> None:
        """`runs` have ended, after `latency_seconds` each.

        Args:
            runs: how many.
            latency_seconds: of each.
            verdict: on all of these downstreams, unless the refusal names one.
            refusal: what one of them asked for; it is paused for all who use it.
        """
        if refusal is None:
            for gate in self.gates:
                gate.finish(runs, latency_seconds, verdict)
            return
        refused = self._met(refusal.downstream)
        refused.be_refused()
        if refusal.pause_seconds > 0:  # before anybody starts because of this end
            refused.pause(refusal.pause_seconds)
        for gate in self.gates:
            is_meant = refusal.downstream is None or gate is refused
            gate.finish(runs, latency_seconds, verdict if is_meant else Verdict.NOTHING)
        if refused not in self.gates:
            refused.hear(verdict)

    def take_back(self, runs: int) -> None:
        """`runs` that were acquired do not start after all."""
        for gate in self.gates:
            gate.take_back(runs)

    def refuse(self) -> None:
        """Send all away who wait in `acquire` now."""
        self._refusals += 1
        for gate in self.gates:
            gate.refuse(self)

    def down_seconds(self) -> float | None:
        """For how long one of them has been down, see `Gate.down_seconds`; None: none is."""
        down = [seconds for gate in self.gates if (seconds := gate.down_seconds()) is not None]
        return max(down, default=None)

    def shut_seconds(self) -> float:
        """For how long surely nothing starts; see `Gate.shut_seconds`."""
        return max(gate.shut_seconds() for gate in self.gates)

    def pause(self, seconds: float, downstream: str | None) -> None:
        """Pause `downstream` for all who use it, or the one nearest to the downstream where none is named."""
        self._met(downstream).pause(seconds)

    def _met(self, downstream: str | None) -> Gate:
        named = [gate for gate in self.gates if gate.name == downstream]
        return named[0] if named else self._downstreams.get(downstream or "", self.gates[-1])

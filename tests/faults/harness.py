"""The harness: starts everything, makes faults happen, waits until all is drained, and hands the evidence over."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from leveler import Leveler, Settings
from leveler.adapter import Delivery
from leveler.errors import BrokerError
from leveler.settings import BrokerSettings
from tests.faults.checker import Verdict, check
from tests.faults.histories import history, pause
from tests.faults.ledger import ACKED, BACK, DEAD, DEAF, EFFECT, FAULT, OVER, READY, Ledger, read
from tests.faults.load import QUEUE
from tests.faults.patience import Patience
from tests.faults.sender import FAULTS_OVER
from tests.faults.subjects.subject import Fault, Subject
from tests.faults.worker import DRAIN_SECONDS, FLEET_RATE, LEASE, MAX_ATTEMPTS, TIMEOUT, queue_settings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run."""

    messages: int
    faults: int
    seed: int
    workers: int = 2
    killers: int = 2
    poison_share: float = 0.01
    ordered: bool = False
    #: Of all workers together, kept by the broker itself; 0: none.
    fleet_per_second: float = 0.0
    plant: str = ""
    #: Only these kinds of faults; all that there are by default, but for those that lose messages.
    kinds: tuple[str, ...] = ()
    #: How long nothing may move after the last fault, while there is something to send or to drain.
    patience_seconds: float = 120.0


@dataclass
class Outcome:
    """What happened."""

    verdict: Verdict
    faults: Counter[str]
    #: Faults that found no opportunity.
    missed: Counter[str]
    #: Exits of workers that were told to stop: (exit code, seconds it took).
    stops: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    seconds: float = 0.0
    #: What the ledger says of the first message of each violation, of good ones that are dead, and of slow recoveries.
    histories: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


#: About how long the pause before a fault is.
_PAUSE_SECONDS = 0.35
#: How soon the end of a worker is noticed while a fault is on.
_REVIVE_SECONDS = 0.1


class Harness:
    """Runs one plan against one subject.

    Args:
        subject: the broker.
        folder: for the ledger.
        plan: what to do.
    """

    def __init__(self, subject: Subject, folder: Path, plan: Plan) -> None:
        self._subject = subject
        self._folder = folder
        self._plan = plan
        self._ledger = Ledger(folder, "harness")
        self._rng = random.Random(plan.seed)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._ready: set[subprocess.Popen[bytes]] = set()
        self._done: Counter[str] = Counter()
        self._missed: Counter[str] = Counter()
        self._dead: defaultdict[str, list[str]] = defaultdict(list)
        self._stops: list[tuple[int, float]] = []
        self._environment = {
            **os.environ,
            "FAULTS_PLANT": plan.plant,
            "FAULTS_ORDERED": "1" if plan.ordered else "0",
            FLEET_RATE: str(plan.fleet_per_second),
            LEASE: str(subject.lease_seconds),
            TIMEOUT: str(subject.timeout_seconds),
        }

    def run(self) -> Outcome:
        began = time.monotonic()
        asyncio.run(self._declare())
        with self._processes():
            faults = self._schedule()
            may_lose = any(fault.loses for fault in faults)
            over = self._folder / FAULTS_OVER
            self._until_ready(self._plan.workers if faults else 0)
            lasting = self._subject.calm_seconds + sum(fault.seconds + _PAUSE_SECONDS for fault in faults)
            sender = self._start_sender(lasting)
            self._until(lambda: self._has_told(sender, "sender", ACKED))
            if faults:
                calm_until = time.monotonic() + self._subject.calm_seconds
                self._until(lambda: time.monotonic() >= calm_until)
            while faults or sender.poll() is None:
                self._revive()
                if faults:
                    self._make(faults.pop())
                elif not over.exists():
                    over.touch()
                    patience = Patience(self._plan.patience_seconds)
                elif patience.is_over(self._written("sender", sender)):
                    sender.kill()
                time.sleep(self._rng.uniform(0.05, 0.6))
            if sender.returncode == -signal.SIGKILL:
                raise RuntimeError("the sender hangs")
            if sender.returncode:
                raise RuntimeError(f"the sender ended with {sender.returncode}")
            remaining = self._drain(may_lose=may_lose)
            self._stop_all()
        asyncio.run(self._collect_dead())
        entries = read(self._folder)
        verdict = check(
            entries,
            self._dead,
            remaining,
            max_attempts=MAX_ATTEMPTS,
            max_deliveries=MAX_ATTEMPTS + 3,
            ordered=self._plan.ordered,
            may_lose=may_lose,
            doubt=self._subject.doubt,
            fleet_per_second=self._plan.fleet_per_second,
        )
        first = [ids[0] for ids in verdict.examples().values()]
        histories = {id: history(entries, id) for id in (*first, *verdict.unlucky[:3])}
        histories |= {f"after {one.fault}": pause(entries, one) for one in verdict.slow}
        return Outcome(verdict, self._done, self._missed, self._stops, time.monotonic() - began, histories)

    # Faults

    def _schedule(self) -> list[Fault]:
        """So many faults, every kind about as often, in an order that the seed decides."""
        kinds = [
            Fault("SIGKILL", lambda notes: self._kill()),
            Fault("SIGSTOP beyond the lease", lambda notes: self._freeze(), self._subject.lease_seconds * 1.5),
            Fault("SIGTERM", lambda notes: self._terminate()),
            *self._subject.faults,
        ]
        wanted = self._plan.kinds or [kind.name for kind in kinds if not kind.loses]
        if unknown := set(wanted) - {kind.name for kind in kinds}:
            raise SystemExit(
                f"{self._subject.name} knows no such faults: {unknown}; it knows {[kind.name for kind in kinds]}"
            )
        kinds = [kind for kind in kinds if kind.name in wanted]
        out = [kinds[number % len(kinds)] for number in range(self._plan.faults)]
        self._rng.shuffle(out)
        return out

    def _make(self, fault: Fault) -> None:
        """Make it happen, where somebody consumes, and count how often it did."""
        self._until_ready(1)
        notes = _Notes(self._ledger, fault.name)
        own = fault not in self._subject.faults
        if own:
            fault.make(notes)
        else:
            self._meanwhile(lambda: fault.make(notes))
        if notes.strikes:
            self._ledger.write(OVER, "broker", fault.name)
        self._done[fault.name] += own or notes.strikes
        self._missed[fault.name] += not own and not notes.strikes

    def _meanwhile(self, act: Callable[[], None]) -> None:
        """Do it. Whoever a killer ends meanwhile is started again: only then a broker that is back finds anybody."""
        with ThreadPoolExecutor(1) as beside:
            acting = beside.submit(act)
            while not acting.done():
                self._revive()
                wait([acting], _REVIVE_SECONDS)
        acting.result()

    def _kill(self) -> None:
        worker = self._pick("SIGKILL")
        worker.kill()
        worker.wait()

    def _freeze(self) -> None:
        worker = self._pick("SIGSTOP")
        worker.send_signal(signal.SIGSTOP)
        self._meanwhile(lambda: time.sleep(self._subject.lease_seconds * 1.5))
        worker.send_signal(signal.SIGCONT)

    def _terminate(self) -> None:
        self._stop(self._pick("SIGTERM"))

    def _stop(self, worker: subprocess.Popen[bytes]) -> None:
        told = time.monotonic()
        worker.send_signal(signal.SIGUSR1)  # the worker writes the moment down
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(timeout=DRAIN_SECONDS + 20)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        if worker.returncode in (0, 1):  # else a killer message was faster
            self._stops.append((worker.returncode, time.monotonic() - told))

    def _pick(self, fault: str) -> subprocess.Popen[bytes]:
        """One that consumes: a process that only starts has nothing to lose."""
        self._until_ready(1)
        worker = self._rng.choice([worker for worker in self._workers if self._is_ready(worker)] or self._workers)
        self._ledger.write(FAULT, str(worker.pid), fault)
        return worker

    def _until_ready(self, count: int) -> None:
        """Until so many workers have begun to consume, which takes a second or two; not for ever."""
        self._until(lambda: sum(map(self._is_ready, self._workers)) >= count)

    def _until(self, done: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + 30
        while not done() and time.monotonic() < give_up_at:
            time.sleep(0.02)
            self._revive()

    def _is_ready(self, worker: subprocess.Popen[bytes]) -> bool:
        """Whether it lives, and has consumed."""
        if worker not in self._ready and self._has_told(worker, "worker", READY):
            self._ready.add(worker)
        return worker in self._ready and worker.poll() is None

    def _has_told(self, process: subprocess.Popen[bytes], name: str, kind: str) -> bool:
        log = self._log(name, process)
        return log.exists() and f" {kind} ".encode() in log.read_bytes()

    def _written(self, name: str, process: subprocess.Popen[bytes]) -> int:
        """How many bytes it has told."""
        log = self._log(name, process)
        return log.stat().st_size if log.exists() else 0

    def _log(self, name: str, process: subprocess.Popen[bytes]) -> Path:
        return self._folder / f"{name}-{process.pid}.log"

    # Processes

    @contextmanager
    def _processes(self) -> Iterator[None]:
        try:
            self._revive()
            yield
        finally:
            for worker in self._workers:
                worker.kill()
                worker.wait()

    def _revive(self) -> None:
        """As a supervisor does: whoever ended is started again."""
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        while len(self._workers) < self._plan.workers:
            self._workers.append(self._start("tests.faults.worker"))

    def _start_sender(self, seconds: float) -> subprocess.Popen[bytes]:
        """For as long as the faults last, so that they hit somebody at work."""
        plan = self._plan
        words = (plan.messages, plan.killers, plan.poison_share, plan.seed, seconds)
        return self._start("tests.faults.sender", *map(str, words))

    def _start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, str(self._folder), self._subject.url, *words]
        return subprocess.Popen(command, env=self._environment, cwd=Path(__file__).parents[2])

    def _stop_all(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                self._stop(worker)

    # The queue

    def _drain(self, *, may_lose: bool) -> int:
        """Until the queue is empty and stays so, and no message is missing; how many are left if that never is."""
        patience = Patience(self._plan.patience_seconds)
        empty = 0
        left = -1
        least = float("inf")
        while not patience.is_over(least):
            self._revive()
            left = asyncio.run(self._left())
            least = min(least, left) if left >= 0 else least
            empty = empty + 1 if left == 0 else 0
            # Not every broker counts what is on its way from one of its queues to another.
            if empty >= 3 and (may_lose or not self._missing()):
                return 0
            time.sleep(0.3)
        return left

    def _missing(self) -> set[str]:
        """Accepted, and at no end yet."""
        asyncio.run(self._collect_dead())
        entries = read(self._folder)
        ended = {entry.id for entry in entries if entry.kind == EFFECT} | set(self._dead)
        return {entry.id for entry in entries if entry.kind == ACKED} - ended

    def _app(self) -> Leveler:
        brokers = {"default": BrokerSettings(url=self._subject.direct_url)}
        queue = queue_settings(ordered=self._plan.ordered, environment=self._environment)
        return Leveler(settings=Settings(brokers=brokers, queues={QUEUE: queue}))

    async def _declare(self) -> None:
        async with self._app() as app:
            await app.depth(QUEUE)

    async def _left(self) -> int:
        try:
            async with self._app() as app:
                depth = await app.depth(QUEUE)
        except BrokerError:
            return -1
        return sum(count or 0 for count in (depth.ready, depth.leased, depth.delayed))

    async def _collect_dead(self) -> None:
        """The reasons of every dead letter, by id, taken out of the queue itself."""
        async with self._app() as app:
            queue = await app._started().queue(QUEUE)
            receiver = queue.adapter.receiver(queue.spec, capacity=1000, dead=True)
            await receiver.hold(1000)
            while deliveries := list(await receiver.receive(500, 1.0)):
                for delivery in deliveries:
                    reason = _reason(delivery)
                    self._dead[delivery.message.id].append(reason)
                    self._ledger.write(DEAD, delivery.message.id, reason)
                await receiver.complete(deliveries)
            await receiver.close()


class _Notes:
    """What a fault tells, written down."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger = ledger
        self._name = name
        self.strikes = 0

    def strike(self, where: Literal["broker", "wire"] = "broker") -> None:
        self.strikes += 1
        self._ledger.write(FAULT, where, self._name)

    def back(self) -> None:
        self._ledger.write(BACK, "broker", self._name)

    def deaf(self) -> None:
        self._ledger.write(DEAF, "wire", self._name)


def _reason(delivery: Delivery) -> str:
    return delivery.message.death.reason if delivery.message.death else "no reason"

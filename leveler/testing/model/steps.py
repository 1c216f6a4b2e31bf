"""Steps: what may be done to a queue. Whatever cannot be done at the moment does nothing."""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec.structs import replace

from leveler.adapter import Abandon
from leveler.testing.model.item import Hands, Hold
from leveler.testing.model.run import Draft, Name, Pause, Run, Span


class Send(NamedTuple):
    drafts: list[Draft]

    async def play(self, run: Run) -> None:
        await run.bench.send(run.messages(self.drafts))


class SendAgain(NamedTuple):
    """As after an answer that was lost; with another body, so that one can tell which was kept."""

    back: int

    async def play(self, run: Run) -> None:
        first = run.sent[-1 - self.back % len(run.sent)]
        again = replace(first, body=b"%b again %d" % (first.body, len(run.sent)), not_before=None)
        if run.bench.reference.is_certain(again, run.bench.moment()):
            run.sent.append(again)
            await run.bench.send([again])


class Receive(NamedTuple):
    by: Name
    credit: int
    wait: Span

    async def play(self, run: Run) -> None:
        hands = run.hands[self.by]
        if not run.bench.asking.is_asking(hands):
            await run.bench.receive(hands, self.credit, run.wait_seconds(self.wait))


class Complete(NamedTuple):
    by: Name
    picks: list[int]

    async def play(self, run: Run) -> None:
        if hands := run.busy(self.by):
            await run.bench.complete(hands, run.picked(hands, self.picks))


class Return(NamedTuple):
    """A delivery to be given back: the `pick`-th."""

    pick: int
    delay: Span
    counted: bool


class GiveBack(NamedTuple):
    by: Name
    returns: list[Return]

    async def play(self, run: Run) -> None:
        if hands := run.busy(self.by):
            holds = run.picked(hands, [item.pick for item in self.returns])
            items = [self._item(run, hold, item) for hold, item in zip(holds, self.returns, strict=False)]
            await run.bench.abandon(hands, holds, items)

    @staticmethod
    def _item(run: Run, hold: Hold, item: Return) -> Abandon:
        delay = min(run.delay_seconds(item.delay), run.can.max_abandon_seconds)
        return Abandon(hold.delivery, 0.0 if hold.item.dead else delay, item.counted)


class Bury(NamedTuple):
    by: Name
    picks: list[int]

    async def play(self, run: Run) -> None:
        if hands := run.busy(self.by):
            await run.bench.dead_letter(hands, run.picked(hands, self.picks), "rejected")


class Extend(NamedTuple):
    by: Name
    picks: list[int]

    async def play(self, run: Run) -> None:
        if hands := run.busy(self.by):
            holds = run.picked(hands, self.picks)
            await run.bench.extend(hands, [hold for hold in holds if run.may_extend(hold)])


class Replay(NamedTuple):
    """A dead letter that somebody has goes back to its queue."""

    async def play(self, run: Run) -> None:
        if hold := next(run.held(run.hands["dead"]), None):
            await run.bench.replay(hold)


class HoldAtMost(NamedTuple):
    by: Name
    limit: int

    async def play(self, run: Run) -> None:
        await run.bench.hold(run.hands[self.by], self.limit)


class Close(NamedTuple):
    """And open another one."""

    by: Name
    capacity: int

    async def play(self, run: Run) -> None:
        await run.bench.close(run.hands[self.by])
        run.closed.append(run.hands[self.by])
        run.open(self.by, self.capacity)


class Crash(NamedTuple):
    """Nobody closes it, nobody settles what it has, and another one is opened."""

    by: Name
    capacity: int

    async def play(self, run: Run) -> None:
        run.bench.note(f"{self.by} crashes")
        run.crashed.append(run.hands[self.by])
        run.open(self.by, self.capacity)


class SettleAfterClosing(NamedTuple):
    verb: Literal["complete", "give back", "bury", "extend"]

    async def play(self, run: Run) -> None:
        if hands := next((hands for hands in reversed(run.closed) if hands.holds), None):
            await self._settle(run, hands, run.picked(hands, [0, 1]))

    async def _settle(self, run: Run, hands: Hands, holds: list[Hold]) -> None:
        match self.verb:
            case "complete":
                await run.bench.complete(hands, holds)
            case "give back":
                await run.bench.abandon(hands, holds, [Abandon(hold.delivery) for hold in holds])
            case "bury":
                await run.bench.dead_letter(hands, holds, "rejected")
            case "extend":
                await run.bench.extend(hands, holds)


class Peek(NamedTuple):
    limit: int
    dead: bool

    async def play(self, run: Run) -> None:
        await run.bench.peek(self.limit, dead=self.dead)


class Purge(NamedTuple):
    dead: bool

    async def play(self, run: Run) -> None:
        await run.bench.purge(dead=self.dead)


class Elapse(NamedTuple):
    pause: Pause

    async def play(self, run: Run) -> None:
        await run.bench.elapse(run.pause_seconds(self.pause))

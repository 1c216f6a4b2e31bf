"""The checker: what became of every message, in the sense of Jepsen's total-queue, after a complete drain.

lost             accepted, and neither completed nor dead
phantom          seen, and never sent
stuck            still in the queue when nothing happened any more
duplicated       effects beyond the first; each must be explained by a run whose completion nobody confirmed, or by a
                 send whose outcome nobody knew; and there must not be more of them than were in flight at faults
not noticed      a connection that says nothing any more, of which a client still expects an answer
slow to recover  nothing started for so long after the broker was back
unreported       a loss that no worker has spoken of
over-delivered   started more often than max_deliveries
innocent dead    a good message among the dead letters, though not every run that it had alone was hit by a fault
wrong end        poison that did not end as it must, or with another reason
above the rate   more starts than the fleet's rate allows, or than a share of it while the store is away
out of order     in an ordered queue: first effects of one key not in the order of sending, or runs that overlap
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.doubt import NO_DOUBT, Doubt
from tests.faults.fleet import excesses
from tests.faults.flight import Flight, Recovery, flight_of
from tests.faults.ledger import (
    ACKED,
    COMPLETED,
    EFFECT,
    GONE,
    INTENT,
    LOG,
    REFUSED,
    SETTLED,
    SETTLING,
    SIGNAL,
    START,
    UNKNOWN,
    UNSETTLED,
    Entry,
)
from tests.faults.load import BLOCK_SECONDS, POISON, kind_of

#: After the broker's return, work goes on within so many seconds.
RECOVERY_SECONDS: Final = 10.0


@dataclass
class Verdict:
    """What the ledger and the queue say together. Empty lists are what we want."""

    sent: int = 0
    accepted: int = 0
    completed: int = 0
    dead: int = 0
    flight: Flight = field(default_factory=Flight)
    #: Messages that were sent again because nobody knew whether they were queued.
    sent_again: int = 0
    dead_by_reason: dict[str, int] = field(default_factory=dict[str, int])
    lost: list[str] = field(default_factory=list[str])
    phantom: list[str] = field(default_factory=list[str])
    stuck: int = 0
    duplicated: int = 0
    unexplained: list[str] = field(default_factory=list[str])
    over_delivered: list[str] = field(default_factory=list[str])
    innocent_dead: list[str] = field(default_factory=list[str])
    #: Good ones that are dead because faults from outside cut every run that they had alone.
    unlucky: list[str] = field(default_factory=list[str])
    wrong_end: list[str] = field(default_factory=list[str])
    out_of_order: list[str] = field(default_factory=list[str])
    above_rate: list[str] = field(default_factory=list[str])
    started_after_signal: list[str] = field(default_factory=list[str])
    #: Settlements of what was not started that began, and of whose end nobody has told.
    cut_short: int = 0
    #: What workers said loudly, in their words.
    said: list[str] = field(default_factory=list[str])
    #: Whether a loss is only to be reported, since the fault took the messages along.
    may_lose: bool = False
    #: Whether settlements other than a completion are made of copies.
    copies: bool = False

    @property
    def bound(self) -> int:
        """There must not be more duplicates."""
        doubtful = self.flight.doubtful.total() + self.cut_short if self.copies else 0
        return self.flight.at_risk + doubtful + self.sent_again

    @property
    def slow(self) -> list[Recovery]:
        """Recoveries that took too long."""
        return [one for one in self.flight.recoveries if one.seconds > RECOVERY_SECONDS]

    def violations(self) -> dict[str, int]:
        """What must not be, by name; empty if all is well."""
        counts = {
            "lost": 0 if self.may_lose else len(self.lost),
            "unreported": len(self.lost) if self.may_lose and not self.said else 0,
            "phantom": len(self.phantom),
            "stuck": self.stuck,
            "duplicated without a cause": len(self.unexplained),
            "duplicated beyond what was in flight": max(0, self.duplicated - self.bound),
            "silence not noticed": self.flight.deaf,
            "slow to recover": len(self.slow),
            "over-delivered": len(self.over_delivered),
            "innocent dead": len(self.innocent_dead),
            "wrong end": len(self.wrong_end),
            "out of order": len(self.out_of_order),
            "above the fleet's rate": len(self.above_rate),
            "started after the signal": len(self.started_after_signal),
        }
        return {name: count for name, count in counts.items() if count}

    def examples(self) -> dict[str, list[str]]:
        """Some of the messages concerned, by the name of the violation."""
        lists = {
            "lost": self.lost,
            "phantom": self.phantom,
            "duplicated without a cause": self.unexplained,
            "over-delivered": self.over_delivered,
            "innocent dead": self.innocent_dead,
            "wrong end": self.wrong_end,
            "out of order": self.out_of_order,
            "above the fleet's rate": self.above_rate,
            "started after the signal": self.started_after_signal,
        }
        return {name: ids[:5] for name, ids in lists.items() if ids}


def check(
    entries: Sequence[Entry],
    dead: Mapping[str, Sequence[str]],
    remaining: int,
    *,
    max_attempts: int,
    max_deliveries: int,
    ordered: bool,
    may_lose: bool = False,
    doubt: Doubt = NO_DOUBT,
    fleet_per_second: float = 0.0,
) -> Verdict:
    """Judge.

    Args:
        entries: the whole ledger.
        dead: reasons of the dead letters, by message id.
        remaining: messages still in the queue after the drain.
        max_attempts: a message that is started more often runs alone.
        max_deliveries: no message may be started more often.
        ordered: check the order per key.
        may_lose: a fault took messages along; that they are gone must have been said.
        doubt: which settlements a fault may undo.
        fleet_per_second: the rate of all workers together; 0: there is none.
    """
    ids: dict[str, set[str]] = defaultdict(set)
    effects: Counter[str] = Counter()
    starts: Counter[str] = Counter()
    unconfirmed: Counter[str] = Counter()
    unsettled: Counter[str] = Counter()
    runs: Counter[tuple[str, str]] = Counter()
    begun: Counter[tuple[str, str]] = Counter()
    attempts: dict[str, list[int]] = defaultdict(list)
    for entry in entries:
        ids[entry.kind].add(entry.id)
        if entry.kind == EFFECT:
            effects[entry.id] += 1
            unconfirmed[entry.id] += 1
        elif entry.kind == START:
            starts[entry.id] += 1
            attempts[entry.id].append(int(entry.detail or 0))
            unsettled[entry.id] += 1
            runs[entry.process, entry.id] += 1
        elif entry.kind == COMPLETED:
            unconfirmed[entry.id] -= 1
        elif entry.kind == UNSETTLED:
            unsettled[entry.id] += 1
        elif entry.kind == SETTLING and not runs[entry.process, entry.id]:
            begun[entry.process, entry.id] += 1  # its copy may be there, even if nobody comes to tell
        elif entry.kind == SETTLED and begun[entry.process, entry.id]:
            begun[entry.process, entry.id] -= 1
        # What is given back unstarted is the end of no run; what is lost ends one that nobody has settled.
        if entry.kind in (COMPLETED, SETTLED, GONE) and runs[entry.process, entry.id]:
            runs[entry.process, entry.id] -= 1
            unsettled[entry.id] -= entry.kind != GONE
    done = set(effects)
    verdict = Verdict(
        sent=len(ids[INTENT]),
        accepted=len(ids[ACKED]),
        completed=len(done),
        dead=sum(map(len, dead.values())),
        dead_by_reason=dict(Counter(reason for reasons in dead.values() for reason in reasons)),
        stuck=remaining,
        duplicated=sum(count - 1 for count in effects.values()),
    )
    verdict.flight = flight_of(entries, doubt)
    verdict.may_lose = may_lose
    verdict.copies = doubt.copies
    verdict.said = sorted({entry.detail for entry in entries if entry.kind == LOG})
    verdict.lost = sorted(ids[ACKED] - done - set(dead))
    verdict.phantom = sorted((done | set(starts) | set(dead)) - ids[INTENT])
    # A run that had its effect and whose completion was confirmed is the last one. Another one needs a run before
    # whose completion was not confirmed: it was cut off, or its lease was lost. A message sent twice, because the
    # sender was not answered, needs none. Where copies are made, a settlement that was cut off has left the message
    # behind as well as its copy, whether there was a run or not.
    resent = Counter(entry.id for entry in entries if entry.kind == REFUSED and entry.detail == UNKNOWN)
    verdict.sent_again = resent.total()
    cut_short = Counter[str]()
    for (_, id), count in begun.items():
        cut_short[id] += count
    verdict.cut_short = cut_short.total()
    cut = unsettled + cut_short + verdict.flight.doubtful if doubt.copies else unconfirmed
    if doubt.answers_seconds:
        cut += Counter({id: _given_up(numbers) for id, numbers in attempts.items()})
    verdict.unexplained = sorted(id for id, count in effects.items() if count - 1 > cut[id] + resent[id])
    # A copy whose source was not answered goes its own way beside it; so may one that was under way when a fault hit.
    twins = verdict.flight.doubtful + Counter(id for id, _ in verdict.flight.struck) if doubt.copies else Counter[str]()
    lives = Counter(dict.fromkeys(starts, 1)) + resent + twins
    verdict.over_delivered = sorted(id for id, count in starts.items() if count > max_deliveries * lives[id])
    # A long run may be hit every time, and then nobody can tell it from a killer.
    good = {id for id in dead if kind_of(id) not in POISON}
    alone = {
        (entry.id, int(entry.detail))
        for entry in entries
        if entry.kind == START and entry.id in good and int(entry.detail) > max_attempts
    }
    verdict.unlucky = sorted({id for id, _ in alone} - {id for id, _ in alone - verdict.flight.struck})
    if doubt.answers_seconds:  # a try that reaches nobody cannot be told from a crash, and is no run
        verdict.unlucky = sorted({*verdict.unlucky, *(id for id in good if starts[id] < max_deliveries)})
    verdict.innocent_dead = sorted(good.difference(verdict.unlucky))
    verdict.wrong_end = sorted(_wrong_ends(ids[ACKED], done, dead))
    if ordered:
        verdict.out_of_order = _disorder(entries)
    if fleet_per_second:
        verdict.above_rate = excesses(entries, fleet_per_second)
    verdict.started_after_signal = _late_starts(entries)
    return verdict


def _given_up(attempts: Sequence[int]) -> int:
    """How many of a message's tries, by the numbers of those that were started, their sender may have given up while
    they were on their way: those that nobody started by then, and those that the next one has overtaken."""
    overtaken = sum(number < max(attempts[:place]) for place, number in enumerate(attempts) if place)
    return max(attempts) - len(set(attempts)) + overtaken


def _wrong_ends(accepted: set[str], done: set[str], dead: Mapping[str, Sequence[str]]) -> list[str]:
    wrong = []
    for id in accepted:
        expected = POISON.get(kind_of(id))
        if expected is None:
            continue
        # A crash beside it may have spent its attempts: then it ends as a crash loop, like a killer.
        reasons = set(dead.get(id, ()))
        if id in done or not reasons or reasons - {expected, "crash-loop", "exhausted"}:
            wrong.append(f"{id}: {sorted(reasons) or 'no dead letter'}")
    return wrong


def _disorder(entries: Sequence[Entry]) -> list[str]:
    first: dict[str, None] = {}
    last_of_key: dict[str, int] = {}
    wrong = []
    for entry in entries:
        if entry.kind != EFFECT or entry.id in first:
            continue
        first[entry.id] = None
        number = int(entry.id[1:].partition("_")[0])
        if number < last_of_key.get(entry.detail, -1):
            wrong.append(entry.id)
        last_of_key[entry.detail] = max(number, last_of_key.get(entry.detail, -1))
    return wrong


def _late_starts(entries: Sequence[Entry]) -> list[str]:
    """Runs that a process began although it had been told to stop, with half a second for the signal to arrive.

    The loop hears of nothing while handlers block it: that time does not count.
    """
    told: dict[str, float] = {entry.process: entry.at for entry in entries if entry.kind == SIGNAL}
    late: list[str] = []
    for entry in entries:
        if entry.kind == START and entry.process in told:
            if entry.at > told[entry.process] + 0.5:
                late.append(entry.id)
            if kind_of(entry.id) == "block-loop" and entry.at > told[entry.process] - BLOCK_SECONDS:
                told[entry.process] += BLOCK_SECONDS
    return late

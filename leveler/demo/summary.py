"""What became of every departure, by three witnesses: who sent, the board's book, and the dead-letter queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from leveler.demo.book import Book
from leveler.demo.curve import peak_per_second

if TYPE_CHECKING:
    from leveler.demo.plan import Plan


@dataclass(frozen=True)
class Summary:
    """The demo in numbers."""

    sent: int
    completed: int
    #: Runs that failed and were tried again.
    retried: int
    dead: int
    dead_by_reason: Mapping[str, int]
    #: Dead letters that were sent back, to be tried from the start.
    replayed: int
    #: Sent, and neither completed nor dead.
    lost: int
    peak_in_per_s: int
    peak_out_per_s: int
    max_depth: int
    #: The longest time from being accepted to the first call of the board.
    max_wait_s: float

    @property
    def ok(self) -> bool:
        """Every departure ended once, and in one way."""
        return self.lost == 0 and self.completed + self.dead == self.sent

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self, plan: Plan) -> str:
        """What there was to see."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.dead_by_reason.items()) or "none"
        facts = {
            "sent": f"{self.sent:,} in {plan.seconds:g} s, up to {self.peak_in_per_s:,} in one second",
            "completed": f"{self.completed:,}, never more than {self.peak_out_per_s:,} in one second",
            "retried": f"{self.retried:,} failed runs were tried again",
            "dead": f"{self.dead:,} dead letters ({reasons})",
            "replayed": f"{self.replayed:,} dead letters got a second life",
            "waited": f"up to {self.max_depth:,} messages, up to {self.max_wait_s:.1f} s",
            "lost": f"{self.lost:,}",
        }
        lines = [f"{name:<10} {text}" for name, text in facts.items()]
        sum_ = f"{self.completed:,} completed + {self.dead:,} dead"
        verdict = f"= {self.sent:,} sent" if self.ok else f"is NOT {self.sent:,} sent: this must not happen"
        return "\n".join([*lines, "", f"{sum_} {verdict}"])


@dataclass
class Record:
    """What the demo saw happen. Times are seconds of the wall clock, as in the board's book."""

    #: When each departure was accepted by the broker.
    sent_at: dict[str, float] = field(default_factory=dict[str, float])
    #: How many messages were in the queue at some moments, the delayed ones included.
    depths: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    #: Ids of the dead letters that were replayed.
    replayed: list[str] = field(default_factory=list[str])
    #: Why each departure that is dead at the end is dead.
    dead: dict[str, str] = field(default_factory=dict[str, str])

    def summary(self, book: Book) -> Summary:
        ended = book.shown_at.keys() | self.dead.keys()
        waits = [book.called_at[id] - at for id, at in self.sent_at.items() if id in book.called_at]
        return Summary(
            sent=len(self.sent_at),
            completed=len(book.shown_at),
            # Each life of a message begins with one call: all the other calls are retries.
            retried=book.calls.total() - len(book.calls) - len(self.replayed),
            dead=len(self.dead),
            dead_by_reason=dict(sorted(Counter(self.dead.values()).items())),
            replayed=len(self.replayed),
            lost=len(self.sent_at.keys() - ended),
            peak_in_per_s=peak_per_second(sorted(self.sent_at.values())),
            peak_out_per_s=peak_per_second(sorted(book.shown_at.values())),
            max_depth=max((depth for _, depth in self.depths), default=0),
            max_wait_s=round(max([0.0, *waits]), 2),
        )

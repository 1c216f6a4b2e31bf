"""Returns: what goes back to the broker unstarted, uncounted where it can do that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leveler.adapter import Abandon, DeadLetter, Delivery
from leveler.consumer.buffer import Buffer
from leveler.consumer.held import Held
from leveler.consumer.limits import Limits


class Returns:
    """One consumer's.

    Args:
        limits: where some wait to be started.
        buffer: where the others do.
        counts: going back uses up an attempt here.
        send: sends one back.
        be_careful: told for how many seconds what comes back must come alone, because going back counts.
    """

    def __init__(
        self,
        limits: Limits,
        buffer: Buffer,
        *,
        counts: bool,
        send: Callable[[Held], object],
        be_careful: Callable[[float], object],
    ) -> None:
        self._limits = limits
        self._buffer = buffer
        self._counts = counts
        self._send = send
        self._be_careful = be_careful

    def give_back(self, unstarted: Sequence[Held]) -> None:
        """These."""
        for held in unstarted:
            self._send(held)

    def give_back_unstarted(self) -> None:
        """Everything that nobody has started, but for what is parked."""
        self._limits.refuse()  # those that wait for a limit give theirs back themselves
        self.give_back(self._buffer.empty())

    def give_back_uncounted(self) -> None:
        """The same, if that costs no attempt; else it stays, and its lease is renewed for as long as may be."""
        if not self._counts:
            self.give_back_unstarted()

    def follow(self, held: Held, decision: Delivery | Abandon | DeadLetter | None) -> None:
        """`held` was settled so, or is lost: the next one of its key may start, or must go back too."""
        back = decision is None or isinstance(decision, Abandon)
        self.give_back(self._buffer.follow(held, done=not back))
        if back and self._counts:
            # What comes with it would have to go back with it, and count: when it comes again, it is to come alone.
            self._be_careful(decision.delay_seconds if isinstance(decision, Abandon) else 0.0)

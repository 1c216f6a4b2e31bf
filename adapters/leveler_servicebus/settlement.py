"""Settlement: what becomes of locked messages, as many in one request as can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from leveler.errors import BrokerUnavailable, LeaseLost, LevelerError
from leveler_servicebus.links import MOST_TOKENS
from leveler_servicebus.receipt import Receipt

#: Does it to so many at once.
Act = Callable[[Sequence[Receipt]], Awaitable[object]]


async def settle(receipts: Mapping[int, Receipt], act: Act) -> dict[int, LevelerError]:
    """Do it to all of them; the error of each that failed.

    One that is lost fails the request that it is in, and the rest of that is done again, one by one. Those in doubt,
    whose last settlement was not answered, go alone at once: what is not there any more has been settled then. When
    nobody answers the rest is not tried: it would only wait for it as well.
    """
    failed: dict[int, LevelerError] = {}
    left = deque(_portions(receipts))
    while left:
        places = left.popleft()
        wrong = await _act([receipts[place] for place in places], act)
        if isinstance(wrong, LeaseLost) and len(places) > 1:
            left.extendleft([place] for place in reversed(places))
        elif wrong is not None:
            failed |= dict.fromkeys(places, wrong)
        if isinstance(wrong, BrokerUnavailable):
            return failed | {place: BrokerUnavailable(str(wrong)) for places in left for place in places}
    return failed


async def _act(portion: Sequence[Receipt], act: Act) -> LevelerError | None:
    """What was wrong with it, if anything."""
    try:
        await act(portion)
    except LeaseLost as error:
        return None if len(portion) == 1 and portion[0].in_doubt else error
    except BrokerUnavailable as error:
        for receipt in portion:
            receipt.in_doubt = True
        return error
    except LevelerError as error:
        return error
    return None


def _portions(receipts: Mapping[int, Receipt]) -> Iterator[Sequence[int]]:
    sure = [place for place, receipt in receipts.items() if not receipt.in_doubt]
    for start in range(0, len(sure), MOST_TOKENS):
        yield sure[start : start + MOST_TOKENS]
    for place, receipt in receipts.items():
        if receipt.in_doubt:
            yield [place]

"""Settlement: what becomes of locked messages, as many in one request as can be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from leveler.errors import BrokerUnavailable, LeaseLost, LevelerError
from leveler_servicebus.holdings import Receipt
from leveler_servicebus.links import MOST_TOKENS

#: Does it to so many at once.
Act = Callable[[Sequence[Receipt]], Awaitable[object]]


async def settle(receipts: Mapping[int, Receipt], act: Act) -> dict[int, LevelerError]:
    """Do it to all of them; the error of each that failed.

    One that is lost fails the request that it is in, and the rest of that is done again, one by one. Those in doubt,
    whose last settlement was not answered, go alone at once: what is not there any more has been settled then.
    """
    failed: dict[int, LevelerError] = {}
    for places in _portions(receipts):
        failed |= await _together({place: receipts[place] for place in places}, act)
    return failed


async def _together(portion: Mapping[int, Receipt], act: Act) -> dict[int, LevelerError]:
    try:
        await act([*portion.values()])
        return {}
    except LeaseLost as error:
        if len(portion) == 1:
            [(place, receipt)] = portion.items()
            return {} if receipt.in_doubt else {place: error}
        failed: dict[int, LevelerError] = {}
        for place, receipt in portion.items():
            failed |= await _together({place: receipt}, act)
        return failed
    except BrokerUnavailable as error:
        for receipt in portion.values():
            receipt.in_doubt = True
        return dict.fromkeys(portion, error)
    except LevelerError as error:
        return dict.fromkeys(portion, error)


def _portions(receipts: Mapping[int, Receipt]) -> Iterator[Sequence[int]]:
    sure = [place for place, receipt in receipts.items() if not receipt.in_doubt]
    for start in range(0, len(sure), MOST_TOKENS):
        yield sure[start : start + MOST_TOKENS]
    for place, receipt in receipts.items():
        if receipt.in_doubt:
            yield [place]

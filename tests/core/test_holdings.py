"""Holdings: held until removed, or until the lease ends; never more than the limit."""

from __future__ import annotations

from dataclasses import dataclass

from leveler.holdings import Holdings


@dataclass(eq=False)
class Receipt:
    leased_until: float


def holding(*ends: float, capacity: int = 10) -> tuple[Holdings[Receipt], list[Receipt]]:
    holdings: Holdings[Receipt] = Holdings(capacity)
    receipts = [Receipt(end) for end in ends]
    holdings.add(receipts)
    return holdings, receipts


def test_there_is_room_up_to_the_limit_and_never_above_the_capacity() -> None:
    holdings, _ = holding(100.0, 100.0, capacity=5)
    assert holdings.room(2, 0.0) == 2
    assert holdings.room(9, 0.0) == 3
    holdings.limit(3)
    assert holdings.room(9, 0.0) == 1
    holdings.limit(50)
    assert holdings.room(9, 0.0) == 3
    assert not holdings.stopped


def test_a_limit_of_none_stops() -> None:
    holdings, _ = holding(100.0)
    holdings.limit(0)
    assert holdings.stopped
    assert holdings.room(9, 0.0) == 0


def test_what_nobody_settled_in_time_makes_room() -> None:
    holdings, _ = holding(10.0, 20.0, capacity=2)
    assert holdings.room(5, 9.9) == 0
    assert holdings.first_end() == 10.0
    assert holdings.room(5, 10.0) == 1
    assert holdings.first_end() == 20.0


def test_it_is_crowded_until_somebody_has_found_room() -> None:
    holdings, receipts = holding(10.0, capacity=1)
    seen = [holdings.crowded]
    for _ in range(2):
        holdings.room(1, 0.0)
        seen.append(holdings.crowded)
        holdings.remove(receipts)
    assert seen == [False, True, False]


def test_only_what_is_held_and_leased_is_ours_to_settle() -> None:
    holdings, [over, removed, ours] = holding(10.0, 100.0, 100.0)
    holdings.remove([removed])
    stranger = Receipt(100.0)
    assert holdings.sift([over, ours, removed, stranger], 10.0) == ([1], [0, 2, 3])
    assert [holdings.has(one, 10.0) for one in (over, ours, removed, stranger)] == [False, True, False, False]


def test_all_of_them_are_ours_nearly_always() -> None:
    holdings, receipts = holding(10.0, 20.0)
    places, lost = holdings.sift(receipts, 5.0)
    assert (list(places), lost) == ([0, 1], [])
    assert holdings.sift([], 5.0) == (range(0), [])


def test_an_extended_lease_counts_from_then_on() -> None:
    holdings, [receipt] = holding(10.0)
    receipt.leased_until = 30.0
    assert holdings.has(receipt, 20.0)
    assert holdings.first_end() == 30.0


def test_nothing_is_held_at_first_and_after_all_is_settled() -> None:
    holdings, receipts = holding(10.0)
    assert list(holdings) == receipts
    seen = [holdings.empty]
    holdings.remove(receipts)
    assert [*seen, holdings.empty] == [False, True]
    assert holdings.first_end() == float("inf")

"""Payload: envelopes and bodies, in rows of `message` or in bundles, and when they go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from leveler_sqlite.bundles import Payload, envelopes_of, lengths_of
from leveler_sqlite.runs import Run
from leveler_sqlite.transaction import MESSAGE, Transaction

_to_pairs: Final = msgspec.json.Decoder(list[tuple[int, int]]).decode

_LISTED: Final = "IN (SELECT value FROM json_each(?))"
#: How many messages each bundle has left.
_LEFT: Final = """SELECT json_group_array(json_array(b.id, coalesce(r.size, b.size)))
    FROM json_each(?) e CROSS JOIN bundle b ON b.id = e.value LEFT JOIN rest r ON r.bundle = b.id"""
_REDUCE: Final = """INSERT OR REPLACE INTO rest (bundle, size)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)"""


def discard(transaction: Transaction, runs: Iterable[Run]) -> None:
    """The messages of `runs` are gone."""
    alone: list[int] = []
    bundled = Counter[int]()
    for first, size, bundle in runs:
        if bundle is None:
            alone.append(first)
        else:
            bundled[bundle] += size
    if alone:
        transaction.sql(f"DELETE FROM message WHERE id {_LISTED}", (json.dumps(alone),))
    if bundled:
        _reduce(transaction, bundled)


def extract(transaction: Transaction, bundle: int, numbers: Collection[int]) -> None:
    """Give these messages of a bundle rows of their own."""
    columns = "SELECT envelopes, bodies, lengths, ids, size FROM bundle WHERE id = ?"
    payload = Payload(*transaction.sql(columns, (bundle,)).fetchone())
    envelopes, at = envelopes_of(payload), 0
    for place, length in enumerate(lengths_of(payload)):
        if bundle + place in numbers:
            transaction.put(MESSAGE, bundle + place, envelopes[place], payload.body[at : at + length])
        at += length
    transaction.flush()
    _reduce(transaction, {bundle: len(numbers)})


def _reduce(transaction: Transaction, counts: Mapping[int, int]) -> None:
    """Bundles have so many messages less. The last one takes its bundle along."""
    [found] = transaction.sql(_LEFT, (json.dumps(list(counts)),)).fetchone()
    left = {bundle: size - counts[bundle] for bundle, size in _to_pairs(found)}
    if empty := [bundle for bundle, size in left.items() if not size]:
        listed = (json.dumps(empty),)
        transaction.sql(f"DELETE FROM bundle WHERE id {_LISTED}", listed)
        transaction.sql(f"DELETE FROM rest WHERE bundle {_LISTED}", listed)
    if some := [(bundle, size) for bundle, size in left.items() if size]:
        transaction.sql(_REDUCE, (json.dumps(some),))

"""Histories: what the ledger says of a message that something is wrong with, or of a time in which nothing was done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tests.faults.flight import Recovery
from tests.faults.ledger import BACK, FAULT, LOG, OVER, READY, SIGNAL, Entry

#: What happens to all messages.
_AROUND: Final = (FAULT, BACK, OVER, SIGNAL)
#: Faults so long before its first line and after its last one may have to do with it.
_MARGIN_SECONDS: Final = 2.0


def history(entries: Sequence[Entry], id: str) -> list[str]:
    """One line for each of its entries and for each fault meanwhile, with the seconds since its first one.

    Args:
        entries: the whole ledger, in the order of time.
        id: of the message; an example may be a sentence that begins with it.
    """
    id = id.partition(":")[0]
    own = [entry.at for entry in entries if entry.id == id]
    if not own:
        return []
    first, last = own[0] - _MARGIN_SECONDS, own[-1] + _MARGIN_SECONDS
    return [_line(entry, own[0]) for entry in _about(entries, id) if first <= entry.at <= last]


def pause(entries: Sequence[Entry], recovery: Recovery) -> list[str]:
    """What happened meanwhile, but for single messages."""
    first, last = recovery.at - _MARGIN_SECONDS, recovery.at + recovery.seconds
    told = [entry for entry in entries if entry.kind in (*_AROUND, READY, LOG) and first <= entry.at <= last]
    return [_line(entry, recovery.at) for entry in told]


def _about(entries: Sequence[Entry], id: str) -> Iterator[Entry]:
    yield from (entry for entry in entries if entry.id == id or entry.kind in _AROUND)


def _line(entry: Entry, began_at: float) -> str:
    what = f"{entry.kind} {entry.id}" if entry.kind in (*_AROUND, LOG) else entry.kind
    return f"{entry.at - began_at:9.3f} s  {entry.process:<16} {what} {entry.detail}".rstrip()

"""Served: what can happen to any broker that is a server, and to the way to it.

All processes under test reach it through the proxy, which knows its protocol.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Final, get_args

from tests.containers.broker import Options
from tests.containers.find import server
from tests.containers.port import free_ports
from tests.containers.server import Server
from tests.faults.doubt import NO_DOUBT, Doubt
from tests.faults.subjects.subject import Fault, Notes, Place, Subject
from tests.faults.wire.proxy import Proxy
from tests.faults.wire.unit import NewConversation
from tests.faults.wire.weather import CLEAR, Cut, Slow
from tests.faults.wire.weather import Place as CutPlace

#: How long a cut waits for the operation that it is to hit.
_OPPORTUNITY_SECONDS: Final = 8.0
#: Longer than the lease of the runs (see worker.py).
_AWAY_SECONDS: Final = 3.0
_RESTART_EVERY_SECONDS: Final = 10.0
#: The longest that a client is given to notice that nobody answers.
_PATIENCE_SECONDS: Final = 20.0

Alarm = Callable[[Server, bool], None]


@contextmanager
def served(
    name: str,
    place: Place,
    *,
    conversation: NewConversation,
    operations: Mapping[str, str],
    delete: Callable[[Server], None],
    options: Options,
    alarm: Alarm | None = None,
    lasting: bool = True,
    also: Mapping[str, Callable[[Server], None]] | None = None,
    ends: bool = True,
    more: Callable[[Proxy], Sequence[Fault]] = lambda proxy: (),
    query: str = "",
    doubt: Doubt = NO_DOUBT,
    calm_seconds: float = 0.0,
) -> Iterator[Subject]:
    """The broker, running behind a proxy.

    Args:
        name: of the broker.
        place: how it shall run.
        conversation: its protocol.
        operations: what can be cut, in words for people, and as the protocol's module calls it.
        delete: removes the queue from under everybody.
        options: its own.
        alarm: makes it run out of memory, or ends that; None if nobody can.
        lasting: whether what it has accepted survives its SIGKILL. Else it is told to end, unless asked for.
        also: what else can be done to it, by the words for it.
        ends: whether it may be ended at all: one that keeps nothing must not.
        more: faults that only it can have.
        query: of the URL of the processes under test.
        calm_seconds: how long it runs in peace before the first fault.
        doubt: which settlements a fault may undo.
    """
    with (
        server(name, place.wish, options) as running,
        Proxy(free_ports(), port := _port(running.url), conversation) as proxy,
    ):
        url = running.url.replace(f":{port}", f":{proxy.port}", 1)
        faults = [
            *(_of_the_server(running, alarm, delete, lasting=lasting) if ends else [_stopped(running)]),
            *[Fault(word, partial(_struck, partial(act, running))) for word, act in (also or {}).items()],
            *_of_the_way(proxy),
            *_cuts(proxy, operations),
            *more(proxy),
        ]
        yield Subject(name, running.label, _with_query(url, query), running.url, faults, calm_seconds, doubt)


def _port(url: str) -> int:
    """Where a server of ours listens, wherever in its URL that stands."""
    return int(url.partition("127.0.0.1:")[2].partition("/")[0].partition("?")[0])


def _with_query(url: str, query: str) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def _of_the_server(
    running: Server, alarm: Alarm | None, delete: Callable[[Server], None], *, lasting: bool
) -> Iterator[Fault]:
    end = running.kill if lasting else running.stop
    yield Fault("broker SIGKILLed", partial(_ended, running, running.kill), 8.0, loses=not lasting)
    if not lasting:
        yield Fault("broker SIGTERMed", partial(_ended, running, running.stop), 8.0)
    yield Fault("broker restarted every 10 s", partial(_restarted, running, end), 3 * _RESTART_EVERY_SECONDS)
    if alarm:
        yield Fault("broker out of memory", partial(_alarmed, running, alarm), 5.0)
    yield _stopped(running)
    yield Fault("queue deleted", partial(_struck, partial(delete, running)), 2.0, loses=True)


def _stopped(running: Server) -> Fault:
    return Fault("broker SIGSTOPped", partial(_frozen, running), _AWAY_SECONDS)


def _ended(running: Server, end: Callable[[], None], notes: Notes) -> None:
    notes.strike()
    end()
    running.start()
    notes.back()


def _restarted(running: Server, end: Callable[[], None], notes: Notes) -> None:
    for _ in range(3):
        again_at = time.monotonic() + _RESTART_EVERY_SECONDS
        _ended(running, end, notes)
        time.sleep(max(0.0, again_at - time.monotonic()))


def _frozen(running: Server, notes: Notes) -> None:
    notes.strike()
    running.freeze()
    try:
        time.sleep(_AWAY_SECONDS)
    finally:
        running.thaw()
        notes.back()


def _alarmed(running: Server, alarm: Alarm, notes: Notes) -> None:
    notes.strike()
    alarm(running, True)
    try:
        time.sleep(_AWAY_SECONDS)
    finally:
        alarm(running, False)
        notes.back()


def _struck(act: Callable[[], None], notes: Notes) -> None:
    notes.strike()
    act()
    notes.back()


def _of_the_way(proxy: Proxy) -> Sequence[Fault]:
    return [
        Fault("half-open connections", partial(_half_open, proxy), _AWAY_SECONDS),
        Fault("black hole", partial(_black_hole, proxy), _AWAY_SECONDS),
        Fault("latency of 200 ms", partial(_slowed, proxy, Slow(latency_seconds=0.2)), _AWAY_SECONDS),
        Fault(
            "8 KB/s",
            partial(_slowed, proxy, Slow(bytes_per_second=8192, piece_bytes=256)),
            _AWAY_SECONDS,
        ),
        Fault("one byte at a time", partial(_slowed, proxy, Slow(piece_bytes=1)), _AWAY_SECONDS),
        Fault("all connections reset", partial(_all_cut, proxy), 0.1),
    ]


def _half_open(proxy: Proxy, notes: Notes) -> None:
    notes.strike("wire" if proxy.connections else "broker")
    proxy.half_open()
    _noticed(proxy, notes)


def _black_hole(proxy: Proxy, notes: Notes) -> None:
    notes.strike()
    proxy.swallow(True)
    try:
        time.sleep(_AWAY_SECONDS)
    finally:
        proxy.swallow(False)
        notes.back()


def _slowed(proxy: Proxy, slow: Slow, notes: Notes) -> None:
    notes.strike()
    proxy.slow(slow)
    try:
        time.sleep(_AWAY_SECONDS)
    finally:
        proxy.slow(CLEAR)
        notes.back()


def _all_cut(proxy: Proxy, notes: Notes) -> None:
    notes.strike()
    proxy.cut_all(reset=True)
    notes.back()


def _cuts(proxy: Proxy, operations: Mapping[str, str]) -> Sequence[Fault]:
    ends = cycle([False, True])
    return [
        Fault(f"{_WORDS[place]} {word}", partial(_cut, proxy, name, place, ends), 2.0)
        for place in get_args(CutPlace)
        for word, name in operations.items()
    ]


_WORDS: Final[Mapping[str, str]] = {
    "before": "cut before",
    "during": "cut during",
    "after": "cut after",
    "mute": "silent from",
}


def _cut(proxy: Proxy, name: str, place: CutPlace, ends: Iterator[bool], notes: Notes) -> None:
    cut = proxy.cut(Cut(name, place, reset=next(ends)))
    if cut.done.wait(_OPPORTUNITY_SECONDS):
        notes.strike("wire")
        _noticed(proxy, notes)
    else:
        proxy.forget(cut)


def _noticed(proxy: Proxy, notes: Notes) -> None:
    """Until no client waits any more for an answer that will never come."""
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while proxy.silent and time.monotonic() < give_up_at:
        time.sleep(0.1)
    if proxy.silent:
        notes.deaf()
    notes.back()

"""SessionEnd: our end of an AMQP session: windows, handles, and what the client has not settled yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from leveler_servicebus.emulator.amqp.encoder import FALSE, TRUE, encode_list, section, uint
from leveler_servicebus.emulator.amqp.frames import frame_of
from leveler_servicebus.emulator.amqp.performatives import (
    Attach,
    Begin,
    Detach,
    Disposition,
    Flow,
    Performative,
    Transfer,
)
from leveler_servicebus.emulator.amqp.values import DecodeError, Encoded, UInt, UShort
from leveler_servicebus.emulator.attaching import attach
from leveler_servicebus.emulator.terminus import error

if TYPE_CHECKING:
    from leveler_servicebus.emulator.connection import Connection
    from leveler_servicebus.emulator.links import Link
    from leveler_servicebus.emulator.outgoing import Outgoing

#: Frames that a client may send before it hears from us.
WINDOW: Final = 5000

#: More deliveries than a session may have unsettled: a range beyond it is nonsense.
_MOST_SETTLED: Final = 100_000


class Run(NamedTuple):
    """Deliveries one after the other with the same outcome: one frame says it of all."""

    first: int
    last: int
    outcome: Encoded


def _runs(outcomes: Iterable[tuple[int, Encoded]]) -> list[Run]:
    runs: list[Run] = []
    for delivery_id, outcome in outcomes:
        if runs and runs[-1].last == delivery_id - 1 and runs[-1].outcome == outcome:
            runs[-1] = runs[-1]._replace(last=delivery_id)
        else:
            runs.append(Run(delivery_id, delivery_id, outcome))
    return runs


class SessionEnd:
    """One session of a connection.

    Args:
        connection: which.
        channel: its number, the same in both directions.
        begin: what the client said.
    """

    def __init__(self, connection: Connection, channel: int, begin: Begin) -> None:
        self.connection = connection
        self.service = connection.service
        self.links: dict[int, Link] = {}
        #: Links that wait until they can be attached.
        self.wanted: dict[int, Attach] = {}
        self.window = begin.incoming_window or 0
        #: Deliveries that the client has to settle: the link, and the token of the lock.
        self.unsettled: dict[int, tuple[Outgoing, bytes]] = {}
        self.channel = channel
        self._next_incoming_id = begin.next_outgoing_id or 0
        self._received = 0
        self._next_outgoing_id = 0
        self._next_delivery_id = 0

    def begin(self) -> Begin:
        return Begin(UShort(self.channel), UInt(0), UInt(WINDOW), UInt(WINDOW), UInt(255))

    # ---- from the client

    def act(self, performative: Any, payload: bytes) -> None:
        """Do what the frame says."""
        _ACTS.get(type(performative), SessionEnd._unexpected)(self, performative, payload)

    def closed(self) -> None:
        """The client has ended it."""
        self._end_links(orderly=True)

    def lost(self) -> None:
        """The connection is gone."""
        self._end_links(orderly=False)

    def _attach(self, wanted: Attach, payload: bytes) -> None:
        if wanted.handle in self.links or wanted.handle in self.wanted:
            raise DecodeError(f"handle {wanted.handle} is in use")
        attach(self, wanted)

    def _flow(self, flow: Flow, payload: bytes) -> None:
        self.window = (flow.next_incoming_id or 0) + flow.incoming_window - self._next_outgoing_id
        if flow.handle is None:
            for link in list(self.links.values()):
                link.flow(None)
            if flow.echo:
                self.flow()
        elif flow.handle in self.links:
            self.links[flow.handle].flow(flow)

    def _transfer(self, transfer: Transfer, payload: bytes) -> None:
        self._next_incoming_id += 1
        self._received += 1
        if self._received % (WINDOW // 2) == 0:
            self.flow()
        link = self.links.get(transfer.handle)
        if link is not None:
            link.transfer(transfer, payload)

    def _disposition(self, disposition: Disposition, payload: bytes) -> None:
        """Answer runs of deliveries that had the same outcome with one frame."""
        first = disposition.first
        last = disposition.last if disposition.last is not None else first
        if not disposition.role or last - first > _MOST_SETTLED:
            return
        for run in _runs(self._settle(range(first, last + 1), disposition.state)):
            if not disposition.settled:
                self.settled(run.first, run.last, run.outcome, sender=True)

    def _settle(self, delivery_ids: range, state: Any) -> Iterator[tuple[int, Encoded]]:
        """What is not known is passed over: its link has been detached, and nobody waits for an answer there."""
        for delivery_id in delivery_ids:
            if delivery_id in self.unsettled:
                link, token = self.unsettled.pop(delivery_id)
                yield delivery_id, link.settle(token, state)

    def _detach(self, detach: Detach, payload: bytes) -> None:
        link = self.links.pop(detach.handle, None)
        if link is not None:
            self._end_link(link, orderly=True)
        if link is not None or self.wanted.pop(detach.handle, None) is not None:
            self.send(Detach(UInt(detach.handle), True))

    def _unexpected(self, performative: Any, payload: bytes) -> None:
        raise DecodeError(f"{type(performative).__name__} has no place in a session")

    def _end_links(self, *, orderly: bool) -> None:
        links, self.links = self.links, {}
        self.wanted.clear()
        for link in links.values():
            self._end_link(link, orderly=orderly)

    def _end_link(self, link: Link, *, orderly: bool) -> None:
        self.unsettled = {number: one for number, one in self.unsettled.items() if one[0] is not link}
        link.end(orderly=orderly)

    # ---- to the client

    def send(self, performative: Performative, payload: bytes = b"") -> None:
        self.connection.reply(self.channel, performative, payload)

    def flow(self, **link: Any) -> None:
        """Say how much we take: of the session, and of a link."""
        self.send(Flow(UInt(self._next_incoming_id), UInt(WINDOW), UInt(self._next_outgoing_id), UInt(WINDOW), **link))

    def deliver(self, payload: bytes, frame: Callable[[int, int, bytes, bool], bytes], head_bytes: int) -> int:
        """Send one delivery in as many frames as the client's size of a frame asks for.

        Args:
            payload: the message.
            frame: channel, delivery id, a part of the payload, whether more follows -> the bytes of a frame.
            head_bytes: how many of them stand before the payload.

        Returns:
            Its delivery id.
        """
        delivery_id = self._next_delivery_id
        self._next_delivery_id += 1
        part_bytes = self.connection.remote_max_frame_bytes - head_bytes
        for at in range(0, max(1, len(payload)), part_bytes):
            part = payload[at : at + part_bytes]
            self.connection.send(frame(self.channel, delivery_id, part, at + part_bytes < len(payload)))
            self._next_outgoing_id += 1
            self.window -= 1
        return delivery_id

    def settled(self, first: int, last: int, state: Encoded, *, sender: bool) -> None:
        """Say what became of deliveries: of ours to the client (`sender`), or of the client's."""
        fields = (FALSE if sender else TRUE, uint(first), uint(last), TRUE, state)
        self.connection.send(frame_of(self.channel, section(0x15, encode_list(fields))))

    def detach(self, handle: int, condition: str, description: str) -> None:
        """Take a link away from the client, and say why."""
        link = self.links.pop(handle, None)
        if link is not None:
            self._end_link(link, orderly=True)
        self.send(Detach(UInt(handle), True, error(condition, description)))


_ACTS: Final[dict[type, Callable[[SessionEnd, Any, bytes], None]]] = {
    Attach: SessionEnd._attach,
    Flow: SessionEnd._flow,
    Transfer: SessionEnd._transfer,
    Disposition: SessionEnd._disposition,
    Detach: SessionEnd._detach,
}

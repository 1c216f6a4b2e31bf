"""Queues: declaring them, dropping them, and making them again when the server has lost them."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Final, Literal

from leveler.adapter import QueueSpec
from leveler.errors import ConfigError, QueueNotFound
from leveler_redis.command import pack
from leveler_redis.keys import Keys
from leveler_redis.script import Scripts
from leveler_redis.wire import Wire

log: Final = logging.getLogger("leveler.redis")

_GONE: Final = {
    "stream": "was gone from the server (FLUSHALL, DEL, a restart without appendonly, a failover): what waited in it "
    "is lost; it has been made again",
    "group": "had lost its consumer group: it has been made again from the start of the stream, so what was being "
    "worked on comes once more",
    "queue": "had lost its settings: they have been written again",
}


class Queues:
    """The queues of one adapter.

    Args:
        wire: to the server.
        scripts: to run there.
        prefix: of all keys.
        server: for messages.
    """

    def __init__(self, wire: Wire, scripts: Scripts, prefix: str, server: str) -> None:
        self._wire = wire
        self._scripts = scripts
        self._prefix = prefix
        self._server = server
        self._ours: set[str] = set()
        #: How often each queue had to be made again.
        self.remade: Counter[str] = Counter()

    def keys(self, spec: QueueSpec, *, dead: bool = False) -> Keys:
        return Keys(self._prefix, spec, dead=dead)

    async def declare(self, spec: QueueSpec) -> None:
        """Make or check the queue and its dead letters, as `spec` says.

        Raises:
            QueueNotFound: it is not there and may not be created.
            ConfigError: it was made in another way and is not empty.
        """
        if spec.declare == "skip":
            return
        await self._make(spec, dead=False, mode=spec.declare)
        await self._make(spec, dead=True, mode=spec.declare)
        if spec.declare == "create":
            self._ours.add(spec.name)

    async def restore(self, spec: QueueSpec, *, dead: bool = False) -> bool:
        """Make the queue again if it was declared here and may be; whether it is there."""
        if spec.name not in self._ours or spec.declare != "create":
            return False
        missing = await self._make(spec, dead=dead, mode="create")
        if missing:
            name = spec.dead_name if dead else spec.name
            self.remade[name] += 1
            log.error("queue %s on %s %s (%s. time)", name, self._server, _GONE[missing], self.remade[name])
        return True

    async def drop(self, spec: QueueSpec) -> None:
        self._ours.discard(spec.name)
        keys = [key for dead in (False, True) for key in self.keys(spec, dead=dead).all]
        [answer] = await self._wire.ask([pack(("UNLINK", *keys))])
        self._wire.check(answer)

    async def _make(self, spec: QueueSpec, *, dead: bool, mode: Literal["create", "verify"]) -> str:
        """What was missing; empty where it was whole."""
        wanted = replace(spec, ordered=spec.ordered and not dead)
        arguments = (mode, int(wanted.ordered), lease_ms(spec), int(not dead))
        answer = await self._wire.run(self._scripts.declare, self.keys(spec, dead=dead).all, arguments)
        missing, ordered, lease, live = answer
        name = spec.dead_name if dead else spec.name
        if missing and mode == "verify":
            raise QueueNotFound(f"queue {name!r} is not on {self._server}: let it be created (declare: create)")
        if ordered != b"%d" % wanted.ordered:
            has = ordered == b"1"
            raise ConfigError(
                f"queue {name!r}: ordered is {wanted.ordered}, but the queue on {self._server} was made with {has} and "
                f"has {live} messages: let it run empty first, or say ordered: {str(has).lower()}"
            )
        if lease != lease_ms(spec):
            raise ConfigError(
                f"queue {name!r}: lease is {spec.lease_seconds:g} s, but the queue on {self._server} was made with "
                f"{lease / 1000:g} s: use that, or let it be changed (declare: create)"
            )
        return str(missing, "ascii")


def lease_ms(spec: QueueSpec) -> int:
    return round(spec.lease_seconds * 1000)

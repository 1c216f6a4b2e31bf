"""Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from tests.containers.server import Server
from tests.faults.load import QUEUE
from tests.faults.subjects.served import served
from tests.faults.subjects.subject import Place, Subject
from tests.faults.wire.resp import RespConversation, words_of

_OPERATIONS: Final = {
    "a send": "send",
    "the reply to a send": "send reply",
    "a delivery": "XREADGROUP reply",
    "a completion": "complete",
    "the reply to a completion": "complete reply",
    "a settlement": "settle",
}


#: A plain message is sent without a script.
_ALSO: Final = {"XADD": "send"}


@contextmanager
def redis(place: Place) -> Iterator[Subject]:
    with served(
        "redis",
        place,
        conversation=partial(RespConversation, _namer()),
        operations=_OPERATIONS,
        alarm=_alarm,
        delete=_delete,
        # What is accepted is on the disk: the strongest that a single server offers.
        options={"appendfsync": "always"},
    ) as subject:
        yield subject


def _namer() -> _Namer:
    from leveler_redis.script import Script, Scripts

    scripts = [script for script in vars(Scripts()).values() if isinstance(script, Script)]
    return _Namer({words_of(script.call([]))[1]: script.name for script in scripts})


class _Namer:
    """Calls a script by its name, and any other command by its own."""

    def __init__(self, scripts: dict[bytes, str]) -> None:
        self._scripts = scripts

    def __call__(self, words: Sequence[bytes]) -> str:
        command = words[0].decode(errors="replace").upper()
        if command == "EVALSHA":
            return self._scripts.get(words[1], command)
        return _ALSO.get(command, command)


def _alarm(server: Server, on: bool) -> None:
    """Whatever needs memory is refused while there is none."""
    server.admin("config", "set", "maxmemory", "1" if on else "0")


def _delete(server: Server) -> None:
    for key in server.admin("--scan", "--pattern", f"*{{{QUEUE}}}*").split():
        if "-dead" not in key:
            server.admin("del", key)

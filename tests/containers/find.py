"""Which server a test gets: the user's own, else one in a container, else a process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from tests.containers.broker import Broker, Options
from tests.containers.brokers import BROKERS
from tests.containers.server import NoServer, Server

#: How it shall run: "any" is the first that can be had.
Wish = Literal["any", "container", "process"]

_NONE: Final[Mapping[str, str]] = {}


def server(name: str, wish: Wish = "any", options: Options = _NONE) -> Server:
    """A server of one's own, not yet started: use it as a context manager.

    Args:
        name: of the broker.
        wish: how it shall run.
        options: in the broker's own words.

    Raises:
        NoServer: it cannot be had here.
    """
    broker = BROKERS[name]
    makers = {"container": [_container], "process": [_process], "any": [_container, _process]}[wish]
    missing = []
    for make in makers:
        try:
            return make(broker, options)
        except NoServer as error:
            missing.append(str(error))
    raise NoServer(f"no {name}: set LEVELER_TEST_{name.upper()}_URL; {'; or '.join(missing)}")


def _container(broker: Broker, options: Options) -> Server:
    from tests.containers.container import ContainerServer  # who needs no container needs no Docker library

    return ContainerServer(broker, options)


def _process(broker: Broker, options: Options) -> Server:
    from tests.containers.process import ProcessServer

    return ProcessServer(broker, options)

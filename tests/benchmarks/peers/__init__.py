"""Peers: other frameworks on the same broker, for the reader. Their rows are there where they are installed:

pip install --group peers

Each is set up as well as its documentation knows: quorum queues and persistent messages, the same prefetch, batches of
the same size, acknowledged after the handler, no result kept, no validation that we do not do.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from tests.benchmarks.row import MakeRow

#: By broker and by row: the package that it takes, and where it is made.
_PEERS: Final[Mapping[str, Mapping[str, tuple[str, str, str]]]] = {
    "rabbitmq": {
        "faststream": ("faststream", "on_faststream", "on_rabbitmq"),
        "taskiq": ("taskiq_aio_pika", "on_taskiq", "on_rabbitmq"),
    },
    "redis": {
        "faststream": ("faststream", "on_faststream", "on_redis"),
        "taskiq": ("taskiq_redis", "on_taskiq", "on_redis"),
    },
}


def peers(broker: str) -> Mapping[str, MakeRow]:
    """The rows of those that are installed."""
    return {
        row: getattr(import_module(f"{__name__}.{module}"), maker)
        for row, (package, module, maker) in _PEERS[broker].items()
        if find_spec(package)
    }

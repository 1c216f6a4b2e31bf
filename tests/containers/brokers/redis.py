"""Redis: in a container, or as it is installed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import redis

from tests.containers.broker import Broker, Command, Options

#: What an accepted message needs to survive a crash of the server; never evicted, and no snapshots on the side.
_REDIS_OPTIONS: Final = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
}


def _redis_words(options: Options) -> list[str]:
    return ["redis-server", *(word for key, value in options.items() for word in (f"--{key}", value))]


def _redis_in_container(options: Options) -> Command:
    return Command(words=_redis_words({"bind": "0.0.0.0", "protected-mode": "no", **_REDIS_OPTIONS, **options}))


def _redis_as_process(options: Options, folder: Path, port: int) -> Command:
    place = {"bind": "127.0.0.1", "port": str(port), "dir": str(folder)}
    return Command(words=_redis_words({**place, **_REDIS_OPTIONS, **options}))


def _redis_version(url: str) -> str:
    with redis.Redis.from_url(url, socket_timeout=5.0) as client:
        return str(client.info("server")["redis_version"])


REDIS: Final = Broker(
    name="redis",
    port=6379,
    official="redis:8",
    program=lambda: shutil.which("redis-server"),
    url=lambda port: f"redis://127.0.0.1:{port}/0",
    in_container=_redis_in_container,
    as_process=_redis_as_process,
    admin=lambda port: ["redis-cli", "-p", str(port or 6379)],
    version=_redis_version,
    install="install redis-server",
)

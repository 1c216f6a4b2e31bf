"""Server: what its settings mean for the queues on it. Read once per `declare`; decided in pure code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import ResponseError

from leveler.errors import AccessDenied, ConfigError
from leveler_redis.command import pack
from leveler_redis.errors import translate, word_of
from leveler_redis.session import Answer
from leveler_redis.wire import Wire

#: Scripts say by a flag what they may do since then.
_OLDEST: Final = (7, 0)
_SECTIONS: Final = ("server", "memory", "persistence", "replication")

_PLAIN: Final = "redis:// to another host: passwords and messages cross the network as they are; use rediss:// there"


@dataclass(frozen=True)
class Settings:
    """What the server told about itself: `INFO` and `CONFIG GET`. Missing where the credentials may not look."""

    info: Mapping[str, str]
    config: Mapping[str, str]
    #: What could not be looked at, as the commands are called.
    unseen: tuple[str, ...]

    def get(self, name: str, info_name: str = "") -> str:
        """A setting; empty where it is not known."""
        return self.config.get(name) or self.info.get(info_name or name.replace("-", "_"), "")

    @property
    def durable(self) -> bool:
        """Whether what is accepted surely survives the end of the server's process."""
        return self.get("appendonly") == "yes" or self.info.get("aof_enabled") == "1"


async def settings_of(wire: Wire, server: str) -> Settings:
    """
    Raises:
        BrokerError: it did not answer.
    """
    names = ("maxmemory-policy", "maxmemory", "appendonly", "appendfsync")
    asked = [pack(("INFO", section)) for section in _SECTIONS] + [pack(("CONFIG", "GET", name)) for name in names]
    answers = await wire.ask(asked)
    infos, configs = answers[: len(_SECTIONS)], answers[len(_SECTIONS) :]
    unseen = [name for name, part in (("INFO", infos), ("CONFIG GET", configs)) if _is_refused(part, server)]
    info = dict(pair for text in infos if isinstance(text, bytes) for pair in _pairs(text.decode(errors="replace")))
    config = dict(_pair(answer) for answer in configs if isinstance(answer, list) and len(answer) == 2)
    return Settings(info, config, tuple(unseen))


def check(settings: Settings, server: str) -> None:
    """
    Raises:
        ConfigError: a setting stands against the promises; names it and both values.
    """
    version = settings.info.get("redis_version", "")
    if version and _numbers(version) < _OLDEST:
        raise ConfigError(f"{server}: is Redis {version}, and the queues need 7.0 or later: upgrade the server")
    if settings.info.get("role") == "slave":
        raise ConfigError(f"{server}: is a replica, which takes no messages: give the URL of its master")
    policy = settings.get("maxmemory-policy")
    if policy.startswith("allkeys"):
        raise ConfigError(
            f"{server}: maxmemory-policy is {policy}, which throws queues away when memory is short, and must be "
            "noeviction: CONFIG SET maxmemory-policy noeviction, and in redis.conf"
        )


def degraded(settings: Settings, *, plain: bool) -> tuple[str, ...]:
    """What is weaker than promised and only the operator can judge.

    Args:
        settings: the server's.
        plain: whether the connection goes to another host without TLS.
    """
    found = [_durability(settings)]
    if settings.info.get("connected_slaves", "0") != "0":
        found.append(
            "replication is asynchronous: a failover may lose the messages accepted in the moment before it, and may "
            "bring some back that were done"
        )
    if settings.unseen:
        found.append(
            f"these credentials may not run {' and '.join(settings.unseen)}: whether maxmemory-policy is noeviction "
            "and appendonly is yes, only the operator can tell"
        )
    if plain:
        found.append(_PLAIN)
    return tuple(line for line in found if line)


def _durability(settings: Settings) -> str:
    aof = settings.get("appendonly") or {"1": "yes", "0": "no"}.get(settings.info.get("aof_enabled", ""), "")
    fsync = settings.get("appendfsync")
    if aof == "no":
        return "appendonly is no: accepted messages are lost when the server ends; set appendonly yes"
    if aof == "yes" and fsync == "everysec":
        return (
            "appendfsync is everysec: up to a second of accepted messages may be lost on power loss (not on a crash of "
            "the server's process); set appendfsync always to keep them"
        )
    if aof == "yes" and fsync == "no":
        return (
            "appendfsync is no: accepted messages of the last half minute may be lost on power loss; set it to always"
        )
    return ""


def _is_refused(answers: Sequence[Answer], server: str) -> bool:
    """Whether the credentials may not look.

    Raises:
        LevelerError: it is something else that is wrong.
    """
    for answer in answers:
        if isinstance(answer, ResponseError):
            error = translate(answer, server)
            # Managed servers do not know the command at all.
            if not isinstance(error, AccessDenied) and word_of(answer) not in ("", "ERR"):
                raise error from answer
            return True
    return False


def _pairs(text: str) -> list[tuple[str, str]]:
    lines = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return [(name, value) for name, _, value in lines]


def _pair(answer: Sequence[bytes]) -> tuple[str, str]:
    return answer[0].decode(), answer[1].decode(errors="replace")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())

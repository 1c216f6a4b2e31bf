"""EmulatorOptions: what the command line says; and the queues that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from leveler.errors import ConfigError
from leveler_servicebus.emulator.admin.description import settings_of
from leveler_servicebus.emulator.entity.settings import QueueSettings
from leveler_servicebus.emulator.server import IDLE_DETACH_SECONDS
from leveler_servicebus.emulator.signature import ALL_RIGHTS, DEFAULT_KEY, DEFAULT_POLICY, Policy


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """What may be said on the command line."""

    port: int = field(default=5672, metadata=_help("For AMQP; 0: any that is free."))
    admin_port: int = field(default=5300, metadata=_help("For the admin API, HTTP and HTTPS; 0: any that is free."))
    queue: list[str] | None = field(
        default=None,
        metadata=_help("A queue to make, such as orders,lock_seconds=30,sessions=true; may be given several times."),
    )
    config: str = field(default="", metadata=_help("Queues and keys in a file, as the vendor's emulator reads it."))
    file: str = field(default="", metadata=_help("Keep messages in this file; in memory, if it is not given."))
    tls_cert_file: str = field(default="", metadata=_help("Speak TLS, with this certificate."))
    tls_key_file: str = field(default="", metadata=_help("The key of the certificate, if it is not in the same file."))
    clock_speed: float = field(default=1.0, metadata=_help("How many seconds pass for the queues in one second."))
    clock_ahead_seconds: float = field(default=0.0, metadata=_help("How far the queues' clock goes ahead."))
    idle_detach_seconds: float = field(
        default=IDLE_DETACH_SECONDS, metadata=_help("Detach links on which nothing happens for so long.")
    )
    trust_tokens: bool = field(
        default=False, metadata=_help("Take tokens of Entra ID without a look at them. Keys are checked all the same.")
    )


@dataclass(frozen=True, kw_only=True)
class Configured:
    """What a `Config.json` says."""

    queues: Mapping[str, QueueSettings] = field(default_factory=dict[str, QueueSettings])
    policies: tuple[Policy, ...] = (Policy(name=DEFAULT_POLICY, key=DEFAULT_KEY),)


def read_queue(text: str) -> tuple[str, QueueSettings]:
    """A queue from the command line: its name, then settings.

    Raises:
        ConfigError: a setting is not known, or wrong.
    """
    name, *parts = [part.strip() for part in text.split(",")]
    said: dict[str, Any] = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key not in _WORDS:
            raise ConfigError(f"--queue {text}: {key!r} is no setting of a queue: expected one of {', '.join(_WORDS)}")
        word, form = _WORDS[key]
        said[word] = form.format(value)
    if "DuplicateDetectionHistoryTimeWindow" in said:
        said["RequiresDuplicateDetection"] = "true"
    try:
        return name, settings_of(said)
    except ValueError as error:
        raise ConfigError(f"--queue {text}: {error}") from error


def read_config(path: Path) -> Configured:
    """The queues and keys in a file.

    Raises:
        ConfigError: it is not there, or not as the vendor's emulator would read it.
    """
    try:
        said = json.loads(path.read_text())
        namespaces = said["UserConfig"]["Namespaces"]
        queues = {
            queue["Name"]: settings_of(queue.get("Properties", {}))
            for namespace in namespaces
            for queue in namespace.get("Queues", [])
        }
        policies = tuple(_policy(one) for namespace in namespaces for one in namespace.get("Policies", []))
        topics = any(namespace.get("Topics") for namespace in namespaces)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"--config {path}: {_what(error)}") from error
    if topics:
        raise ConfigError(f"--config {path}: topics are not emulated: leave Topics out")
    return Configured(queues=queues, policies=policies or Configured().policies)


def _policy(said: dict[str, Any]) -> Policy:
    rights = frozenset(right.lower() for right in said.get("Rights", ALL_RIGHTS))
    if not rights <= ALL_RIGHTS:
        raise ValueError(f"Rights of {said['Name']!r}: expected Send, Listen and Manage")
    return Policy(name=said["Name"], key=said["Key"], rights=rights)


def _what(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    if isinstance(error, (TypeError, AttributeError)):
        return "expected {'UserConfig': {'Namespaces': [{'Queues': [{'Name': .., 'Properties': {..}}]}]}}"
    return str(error)


#: Settings on the command line -> the service's words for them.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "lock_seconds": ("LockDuration", "PT{}S"),
    "sessions": ("RequiresSession", "{}"),
    "max_delivery_count": ("MaxDeliveryCount", "{}"),
    "ttl_seconds": ("DefaultMessageTimeToLive", "PT{}S"),
    "dead_letter_on_expiration": ("DeadLetteringOnMessageExpiration", "{}"),
    "duplicate_window_seconds": ("DuplicateDetectionHistoryTimeWindow", "PT{}S"),
    "max_message_kilobytes": ("MaxMessageSizeInKilobytes", "{}"),
    "max_size_megabytes": ("MaxSizeInMegabytes", "{}"),
}

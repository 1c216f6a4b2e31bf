"""The settings of a queue <-> the service's words: elements of a `QueueDescription`, properties in a `Config.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from leveler_servicebus.emulator.admin.durations import format_duration, parse_duration
from leveler_servicebus.emulator.entity.queue import Queue
from leveler_servicebus.emulator.entity.settings import FOREVER_MS, MINUTE_MS, QueueSettings

_MEBIBYTE: Final = 1024 * 1024

#: The window that a queue gets which detects duplicates and does not say for how long.
DEFAULT_WINDOW_MS: Final = 10 * MINUTE_MS

#: What would change where messages go: not to be passed over in silence.
_NOT_EMULATED: Final = ("ForwardTo", "ForwardDeadLetteredMessagesTo")


def settings_of(said: Mapping[str, Any], old: QueueSettings | None = None) -> QueueSettings:
    """Settings, from the service's words; what is not said is as it was, or the default.

    Raises:
        ValueError: a value is wrong, or asks for what the emulator cannot do.
    """
    for name in _NOT_EMULATED:
        if said.get(name):
            raise ValueError(f"{name} is not emulated: leave it empty")
    settings = old or QueueSettings()
    changes: dict[str, Any] = {}
    for name, (field, read) in _FIELDS.items():
        if said.get(name) not in (None, ""):
            changes[field] = read(said[name])
    return replace(settings, **changes, duplicate_window_ms=_window_ms(said, settings))


def description_of(queue: Queue) -> dict[str, str]:
    """What the service says about a queue, without its counts."""
    settings = queue.settings
    return {
        "LockDuration": format_duration(settings.lock_ms),
        "MaxSizeInMegabytes": str(max(1, settings.max_size_bytes // _MEBIBYTE)),
        "RequiresDuplicateDetection": _text(settings.duplicate_window_ms > 0),
        "RequiresSession": _text(settings.requires_session),
        "DefaultMessageTimeToLive": format_duration(settings.default_ttl_ms),
        "DeadLetteringOnMessageExpiration": _text(settings.dead_letter_on_expiration),
        "DuplicateDetectionHistoryTimeWindow": format_duration(settings.duplicate_window_ms or DEFAULT_WINDOW_MS),
        "MaxDeliveryCount": str(settings.max_delivery_count),
        "EnableBatchedOperations": "true",
        "Status": settings.status,
        "AutoDeleteOnIdle": format_duration(FOREVER_MS),
        "EnablePartitioning": "false",
        "EntityAvailabilityStatus": "Available",
        "EnableExpress": "false",
        "MaxMessageSizeInKilobytes": str(settings.max_message_bytes // 1024),
    }


def _window_ms(said: Mapping[str, Any], old: QueueSettings) -> int:
    wanted = said.get("RequiresDuplicateDetection")
    detects = old.duplicate_window_ms > 0 if wanted in (None, "") else _boolean(wanted)
    if not detects:
        return 0
    window = said.get("DuplicateDetectionHistoryTimeWindow")
    return parse_duration(window) if window else old.duplicate_window_ms or DEFAULT_WINDOW_MS


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "1"):
        return True
    if str(value).lower() in ("false", "0"):
        return False
    raise ValueError(f"{value!r} is neither true nor false")


def _text(value: bool) -> str:
    return "true" if value else "false"


_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "LockDuration": ("lock_ms", parse_duration),
    "MaxSizeInMegabytes": ("max_size_bytes", lambda value: int(value) * _MEBIBYTE),
    "RequiresSession": ("requires_session", _boolean),
    "DefaultMessageTimeToLive": ("default_ttl_ms", parse_duration),
    "DeadLetteringOnMessageExpiration": ("dead_letter_on_expiration", _boolean),
    "MaxDeliveryCount": ("max_delivery_count", int),
    "Status": ("status", str),
    "MaxMessageSizeInKilobytes": ("max_message_bytes", lambda value: int(value) * 1024),
}

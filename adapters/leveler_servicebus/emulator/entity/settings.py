"""QueueSettings: what a queue has been created with, and its defaults as the service has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
DAY_MS: Final = 24 * 60 * MINUTE_MS

#: The longest time that there is: .NET's TimeSpan.MaxValue, in milliseconds.
FOREVER_MS: Final = 922_337_203_685_477

#: Largest message of the Standard tier.
STANDARD_MESSAGE_BYTES: Final = 256 * 1024

STATUSES: Final = ("Active", "Disabled", "SendDisabled", "ReceiveDisabled")


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """One queue's. Durations in milliseconds.

    Raises:
        ValueError: the service would refuse it; says what and why.
    """

    #: How long a message is locked for who has received it.
    lock_ms: int = MINUTE_MS
    #: A message that failed so often is dead-lettered.
    max_delivery_count: int = 10
    #: How long a message lives that does not say so itself; one that says more gets this.
    default_ttl_ms: int = FOREVER_MS
    #: Whether an expired message is dead-lettered, rather than dropped.
    dead_letter_on_expiration: bool = False
    requires_session: bool = False
    #: How long the id of a message is remembered; 0: duplicates are not detected.
    duplicate_window_ms: int = 0
    max_message_bytes: int = STANDARD_MESSAGE_BYTES
    max_size_bytes: int = 1024 * 1024 * 1024
    status: str = "Active"

    def __post_init__(self) -> None:
        if not 1 <= self.lock_ms <= 5 * MINUTE_MS:
            raise ValueError(f"a lock lasts up to 5 minutes, not {self.lock_ms / SECOND_MS:g} s")
        if not 1 <= self.max_delivery_count <= 2000:
            raise ValueError(f"max_delivery_count is {self.max_delivery_count}: expected 1 to 2000")
        if not SECOND_MS <= self.default_ttl_ms <= FOREVER_MS:
            raise ValueError(f"messages live for a second at least, not {self.default_ttl_ms} ms")
        if not 0 <= self.duplicate_window_ms <= 7 * DAY_MS:
            raise ValueError("ids are remembered for up to 7 days")
        if not 1024 <= self.max_message_bytes <= 100 * 1024 * 1024:
            raise ValueError(f"max_message_bytes is {self.max_message_bytes}: expected 1 KiB to 100 MiB")
        if self.max_size_bytes < 1:
            raise ValueError(f"max_size_bytes is {self.max_size_bytes}: expected 1 or more")
        if self.status not in STATUSES:
            raise ValueError(f"status is {self.status!r}: expected one of {', '.join(STATUSES)}")

    @property
    def accepts(self) -> bool:
        return self.status in ("Active", "ReceiveDisabled")

    @property
    def delivers(self) -> bool:
        return self.status in ("Active", "SendDisabled")

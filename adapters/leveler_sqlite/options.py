"""SQLiteOptions: what may be set in the URL's query, or under ``brokers.<name>``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from leveler.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SQLiteOptions:
    """How the file is used."""

    #: ``full``: what is accepted survives a power cut. ``normal``: it survives the end of any process, not of the host.
    synchronous: Literal["full", "normal"] = "full"
    #: How soon a waiting receiver sees what another process did; half of it on average. Each look costs about 0.1 ms.
    poll_seconds: float = 0.025
    #: Largest message, body and headers together.
    max_message_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.synchronous not in ("full", "normal"):
            raise ConfigError(f"synchronous is {self.synchronous!r}: expected 'full' or 'normal'")
        if not 0.001 <= self.poll_seconds <= 60:
            raise ConfigError(f"poll_seconds is {self.poll_seconds}: expected 0.001 to 60")
        if not 32 * 1024 <= self.max_message_bytes <= MOST_BYTES:
            raise ConfigError(
                f"max_message_bytes is {self.max_message_bytes}: expected 32768 to {MOST_BYTES}, which SQLite can store"
            )


#: SQLite's own bound on one value is 1,000,000,000 bytes.
MOST_BYTES = 900_000_000

"""RabbitMQOptions: what may be set in the URL's query, or under ``brokers.<name>``."""

from __future__ import annotations

from dataclasses import dataclass

from leveler.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RabbitMQOptions:
    """How the broker is reached, and what of its configuration no client can ask it for."""

    #: A connection over which nothing has come for twice as long is dead.
    heartbeat_seconds: int = 20
    #: The server's `consumer_timeout`: it closes the channel of whoever holds a message longer. No lease goes further.
    consumer_timeout_seconds: float = 1800.0
    #: Largest message, headers included; None = the server's own default (16 MiB from 4.0 on, 128 MiB before).
    max_message_bytes: int | None = None
    #: For ``amqps://``: who has signed the broker's certificate, if the system does not know them (PEM).
    ca_file: str | None = None
    #: For ``amqps://``: our own certificate and its key (PEM), where the broker asks for one.
    cert_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.heartbeat_seconds <= 3600:
            raise ConfigError(f"heartbeat_seconds is {self.heartbeat_seconds}: expected 1 to 3600")
        if self.consumer_timeout_seconds <= 0:
            raise ConfigError(f"consumer_timeout_seconds is {self.consumer_timeout_seconds:g}: expected more than 0")
        if self.max_message_bytes is not None and self.max_message_bytes < 32 * 1024:
            raise ConfigError(f"max_message_bytes is {self.max_message_bytes}: expected 32768 or more")
        if self.key_file and not self.cert_file:
            raise ConfigError("key_file is set and cert_file is not: a key is of no use without its certificate")

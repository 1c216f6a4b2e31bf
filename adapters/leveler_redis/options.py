"""RedisOptions: what may be set in the URL's query, or under ``brokers.<name>``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from leveler.errors import ConfigError

#: A value in Redis may have 512 MB, and a script holds it several times over.
MOST_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class RedisOptions:
    """How the server is used."""

    #: Stands before the name of every key, so that several environments can share a server.
    prefix: str = "leveler:"
    #: Largest message, body and headers together. Redis keeps all of it in memory.
    max_message_bytes: int = 1024 * 1024
    #: How soon a waiting receiver sees what falls due because of others: a delay, the end of a lease.
    poll_seconds: float = 0.25
    #: Who may have signed the server's certificate (``rediss://``); what the system trusts, if empty.
    tls_ca_file: str = ""
    #: Our own certificate and its key, for servers that ask for one.
    tls_cert_file: str = ""
    tls_key_file: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.:-]{0,64}", self.prefix):
            raise ConfigError(
                f"prefix is {self.prefix!r}: expected up to 64 of letters, digits, '_', '.', ':' and '-' (braces would "
                "part the keys of one queue in a cluster)"
            )
        if not 32 * 1024 <= self.max_message_bytes <= MOST_BYTES:
            raise ConfigError(f"max_message_bytes is {self.max_message_bytes}: expected 32768 to {MOST_BYTES}")
        if not 0.01 <= self.poll_seconds <= 5:
            raise ConfigError(f"poll_seconds is {self.poll_seconds}: expected 0.01 to 5")

"""ServiceBusOptions: what may be set in the URL's query, or under ``brokers.<name>``."""

from __future__ import annotations

from dataclasses import dataclass, field

from leveler.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ServiceBusOptions:
    """How the namespace is used."""

    #: Instead of the key in the URL: ``Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=...``.
    connection_string: str = field(default="", repr=False)
    #: No TLS, for an emulator. Keys are never sent, but messages cross the network as they are.
    insecure: bool = False
    #: Where the admin API is, beside an emulator on the same host; 0: where the service has it.
    admin_port: int = 0
    #: Who may have signed the namespace's certificate; what the system trusts, if empty.
    tls_ca_file: str = ""
    #: A receiver to which nothing has come for so long asks whether there is still somebody at the other end.
    silence_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.silence_seconds <= 300:
            raise ConfigError(f"silence_seconds is {self.silence_seconds}: expected 1 to 300")
        if not 0 <= self.admin_port <= 65535:
            raise ConfigError(f"admin_port is {self.admin_port}: expected 1 to 65535, or 0")

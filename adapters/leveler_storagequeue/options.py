"""StorageQueueOptions: what may be set in the URL's query, or under ``brokers.<name>``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from leveler.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class StorageQueueOptions:
    """How the account is used."""

    #: Instead of the account key in the URL: ``DefaultEndpointsProtocol=https;AccountName=...;AccountKey=...``.
    connection_string: str = field(default="", repr=False)
    #: Instead of the account key: a shared access signature, without its "?".
    sas_token: str = field(default="", repr=False)
    #: Plain HTTP, for an emulator. Keys are never sent, but messages cross the network as they are.
    insecure: bool = False
    #: How others write: as they are, or in base64, which Azure Functions expects. Ours are known by themselves.
    encoding: Literal["text", "base64"] = "text"
    #: The longest pause between two looks at an empty queue: the service lets nobody wait, and each look is paid for.
    poll_seconds: float = 1.0
    #: Requests under way at once, for each sender and each receiver.
    connections: int = 32

    def __post_init__(self) -> None:
        if not 0.05 <= self.poll_seconds <= 60:
            raise ConfigError(f"poll_seconds is {self.poll_seconds}: expected 0.05 to 60")
        if not 1 <= self.connections <= 256:
            raise ConfigError(f"connections is {self.connections}: expected 1 to 256")
        if self.connection_string and self.sas_token:
            raise ConfigError("connection_string and sas_token are both set: one of them says who we are")

"""CloudTasksOptions: what may be set in the URL's query, or under ``brokers.<name>``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from leveler.errors import ConfigError

_LOCAL = "http://127.0.0.1:8080"


@dataclass(frozen=True, kw_only=True)
class CloudTasksOptions:
    """Where the workers are, who may call them, and what stands in for the service in tests."""

    #: The URL at which the service reaches the workers; the queue's name is added. Senders need it, too.
    endpoint: str = ""
    #: Where a worker listens, as ``host:port``; by default where `endpoint` points to, if that is this machine.
    listen: str = ""
    #: Listen from the start on, not only once something is consumed: what comes before is refused, which is no try.
    listen_first: bool = False
    #: The mail address of the service account that the service calls the workers as. Without one nobody can tell
    #: who calls, so that workers listen on the loopback address only.
    service_account: str = ""
    #: For whom the tokens are; `endpoint` by default.
    audience: str = ""
    #: Where the keys are published with which the tokens are signed.
    keys: str = "https://www.googleapis.com/oauth2/v3/certs"
    #: ``host:port`` of an emulator, which is used instead of the service, without credentials.
    emulator: str = ""
    #: The shortest lease, in seconds, that the server takes: 15 at the service.
    shortest_lease: float = 15.0
    #: A task that was refused, because no worker had room for it, is offered again after at most so many seconds.
    longest_backoff: float = 10.0
    #: CreateTask calls under way at once.
    calls: int = 64

    def __post_init__(self) -> None:
        for name in ("endpoint", "keys"):
            value = getattr(self, name)
            if value and not _is_safe(value):
                raise ConfigError(f"{name} must begin with https://, or with http:// and an address of this machine")
        if self.shortest_lease <= 0 or self.longest_backoff < 1 or self.calls < 1:
            raise ConfigError("shortest_lease must be above 0, longest_backoff and calls 1 or more")
        if self.emulator and ":" not in self.emulator:
            raise ConfigError(f"emulator is {self.emulator!r}: expected host:port")

    @property
    def url(self) -> str:
        """`endpoint`, or where a worker for an emulator is by default; empty if it is not known."""
        return (self.endpoint or (_LOCAL if self.emulator else "")).rstrip("/")

    @property
    def token_audience(self) -> str:
        return self.audience or self.url

    def address(self) -> tuple[str, int]:
        """Where a worker listens.

        Raises:
            ConfigError: it is not said, or is no place for an endpoint that lets everybody in.
        """
        at = urlsplit(f"//{self.listen}" if self.listen else self.url)
        try:
            host, port = at.hostname or "", at.port or 80
        except ValueError:
            host, port = "", 0
        if not self.listen and not _is_loopback(host):
            raise ConfigError("cloudtasks: set listen to the host:port on which this worker listens")
        if not host:
            raise ConfigError(f"cloudtasks: listen is {self.listen!r}: expected host:port")
        if not self.service_account and not _is_loopback(host):
            raise ConfigError(
                f"cloudtasks: listen is {self.listen!r}, which others can reach, and without service_account nobody "
                "can tell who calls: set service_account, or listen on 127.0.0.1"
            )
        return host, port


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_safe(url: str) -> bool:
    at = urlsplit(url)
    return bool(at.hostname) and (at.scheme == "https" or (at.scheme == "http" and _is_loopback(at.hostname or "")))

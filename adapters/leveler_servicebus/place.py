"""Place: which namespace a URL means, and who we are there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from leveler.errors import ConfigError
from leveler_servicebus.options import ServiceBusOptions

_FORM: Final = "write servicebus://NAMESPACE.servicebus.windows.net, with POLICY:KEY@ before it unless Entra ID is used"


@dataclass(frozen=True)
class Place:
    """A namespace. The key never shows."""

    #: With a port where one was said.
    host: str
    #: As the client library reads it; empty where Entra ID says who we are.
    connection_string: str = field(default="", repr=False)
    insecure: bool = False
    #: Of the admin API; empty: where the service has it.
    admin_url: str = ""

    def __str__(self) -> str:
        return f"servicebus://{self.host}"

    @property
    def is_plain_to_another_host(self) -> bool:
        """Whether messages cross a network as they are."""
        return self.insecure and not _is_loopback(urlsplit(f"//{self.host}").hostname or "")


def place_of(url: str, options: ServiceBusOptions) -> Place:
    """
    Raises:
        ConfigError: there is no namespace in it. The text holds neither: both may have a key.
    """
    if options.connection_string:
        return _of_connection_string(options)
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise ConfigError(f"the URL of the namespace cannot be read: {_FORM}") from None
    if not parts.hostname:
        raise ConfigError(f"the URL of the namespace names no host: {_FORM}")
    if bool(parts.username) != bool(parts.password):
        raise ConfigError(f"the URL of the namespace has a policy without a key, or a key without a policy: {_FORM}")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host = name + port
    return Place(
        host=host,
        connection_string=_connection_string(host, parts.username, parts.password, options.insecure),
        insecure=options.insecure,
        admin_url=_admin_url(name, options),
    )


def _of_connection_string(options: ServiceBusOptions) -> Place:
    given = {
        name.strip().lower(): value
        for name, _, value in (part.partition("=") for part in options.connection_string.split(";"))
    }
    host = urlsplit(given.get("endpoint", "")).netloc.rstrip("/")
    if not host or not (given.get("sharedaccesskey") or given.get("sharedaccesssignature")):
        raise ConfigError(
            "connection_string: expected Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=..., as the portal "
            "shows it under 'Shared access policies'"
        )
    insecure = given.get("usedevelopmentemulator", "").lower() == "true"
    return Place(host, options.connection_string, insecure, _admin_url(host.rpartition(":")[0] or host, options))


def _connection_string(host: str, policy: str | None, key: str | None, insecure: bool) -> str:
    if not policy or not key:
        return ""
    emulator = "UseDevelopmentEmulator=true;" if insecure else ""
    return f"Endpoint=sb://{host}/;SharedAccessKeyName={unquote(policy)};SharedAccessKey={unquote(key)};{emulator}"


def _admin_url(name: str, options: ServiceBusOptions) -> str:
    return f"http://{name}:{options.admin_port}" if options.admin_port else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

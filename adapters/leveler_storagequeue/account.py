"""Account: which account a URL means, and who we are there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from leveler.errors import ConfigError
from leveler_storagequeue.options import StorageQueueOptions

_FORM: Final = "write azurequeue://ACCOUNT.queue.core.windows.net, with ACCOUNT:KEY@ before it unless Entra ID is used"


@dataclass(frozen=True)
class Account:
    """An endpoint. The key never shows."""

    #: As the client library wants it.
    endpoint: str
    name: str
    key: str = field(default="", repr=False)
    sas_token: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.endpoint

    @property
    def is_plain_to_another_host(self) -> bool:
        """Whether messages cross a network as they are."""
        parts = urlsplit(self.endpoint)
        return parts.scheme == "http" and not _is_loopback(parts.hostname or "")

    @property
    def needs_entra(self) -> bool:
        """Whether there is neither a key nor a signature."""
        return not self.key and not self.sas_token

    def credential(self) -> Any:
        """What the client library takes as one, unless Entra ID gives it."""
        from azure.core.credentials import AzureSasCredential

        if self.sas_token:
            return AzureSasCredential(self.sas_token)
        return {"account_name": self.name, "account_key": self.key}


def account_of(url: str, options: StorageQueueOptions) -> Account:
    """
    Raises:
        ConfigError: there is no account in it. The text holds neither: both may have a key.
    """
    if options.connection_string:
        return _of_connection_string(options.connection_string)
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise ConfigError(f"the URL of the storage account cannot be read: {_FORM}") from None
    if not parts.hostname:
        raise ConfigError(f"the URL of the storage account names no host: {_FORM}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/")
    return Account(
        endpoint=f"{'http' if options.insecure else 'https'}://{host}{port}{path}",
        name=unquote(parts.username or "") or path.strip("/") or parts.hostname.partition(".")[0],
        key=unquote(parts.password or ""),
        sas_token=options.sas_token.removeprefix("?"),
    )


def _of_connection_string(text: str) -> Account:
    pairs = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    given = {name.lower(): value for name, value in pairs.items()}
    name = given.get("accountname", "")
    suffix = given.get("endpointsuffix", "core.windows.net")
    protocol = given.get("defaultendpointsprotocol", "https")
    endpoint = given.get("queueendpoint") or (f"{protocol}://{name}.queue.{suffix}" if name else "")
    if not endpoint or not (given.get("accountkey") or given.get("sharedaccesssignature")):
        raise ConfigError(
            "connection_string: expected AccountName=...;AccountKey=..., or QueueEndpoint=...;"
            "SharedAccessSignature=..., as the portal shows it under 'Access keys'"
        )
    return Account(
        endpoint=endpoint.rstrip("/"),
        name=name,
        key=given.get("accountkey", ""),
        sas_token=given.get("sharedaccesssignature", ""),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

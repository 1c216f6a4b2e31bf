"""Location: which SQS a URL means."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from leveler.errors import ConfigError
from leveler_sqs.options import SQSOptions

_FORM = "write sqs://REGION, for example sqs://eu-central-1, or sqs:// for the region that botocore is configured with"


@dataclass(frozen=True)
class Location:
    """A region of AWS, or an emulator of it."""

    #: None = as botocore is configured.
    region: str | None
    #: None = the region's own.
    endpoint_url: str | None

    def __str__(self) -> str:
        at = f" at {self.endpoint_url}" if self.endpoint_url else ""
        return f"SQS in {self.region or 'the default region'}{at}"

    @property
    def is_plain_to_another_host(self) -> bool:
        """Whether messages cross a network as they are."""
        parts = urlsplit(self.endpoint_url or "")
        return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def location_of(url: str, options: SQSOptions) -> Location:
    """
    Raises:
        ConfigError: the URL means nothing. The text does not hold it: it may have a secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"the URL of SQS cannot be read: {_FORM}") from None
    if "@" in parts.netloc:
        raise ConfigError(
            f"the URL of SQS holds credentials, which are not read from there: {_FORM}; credentials come from the "
            "environment, a profile or a role"
        )
    if port is not None or parts.path.strip("/"):
        raise ConfigError(f"the URL of SQS has more than a region: {_FORM}; an emulator is named by endpoint_url=")
    return Location(parts.hostname or None, options.endpoint_url or None)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

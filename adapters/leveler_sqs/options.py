"""SQSOptions: what may be set in the URL's query, or under ``brokers.<name>``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from leveler.errors import ConfigError

#: Queue names have 80 characters at most; ours take up to 58, and 10 for "-dead.fifo".
_LONGEST_PREFIX = 12
_MOST_POLLERS = 64


@dataclass(frozen=True, kw_only=True)
class SQSOptions:
    """How SQS is used. Credentials are found where botocore finds them: environment, profile, role."""

    #: Where requests go instead of AWS: an emulator, or an interface endpoint of a VPC.
    endpoint_url: str = ""
    #: A profile of the shared AWS configuration; its default one, if empty.
    profile: str = ""
    #: The account that the queues belong to, if it is another one.
    account: str = ""
    #: Stands before the name of every queue, so that several environments can share an account.
    prefix: str = ""
    #: Most requests for messages that one receiver has under way. Each brings up to ten; an idle one has one.
    pollers: int = 10

    def __post_init__(self) -> None:
        if self.endpoint_url and not re.fullmatch(r"https?://[^\s@?#]+", self.endpoint_url):
            raise ConfigError("endpoint_url is no URL of a service: expected http(s)://host[:port]")
        if self.account and not re.fullmatch(r"\d{12}", self.account):
            raise ConfigError(f"account is {self.account!r}: expected the 12 digits of an AWS account")
        if not re.fullmatch(rf"[A-Za-z0-9_-]{{0,{_LONGEST_PREFIX}}}", self.prefix):
            raise ConfigError(
                f"prefix is {self.prefix!r}: expected up to {_LONGEST_PREFIX} of letters, digits, '_' and '-'"
            )
        if not 1 <= self.pollers <= _MOST_POLLERS:
            raise ConfigError(f"pollers is {self.pollers}: expected 1 to {_MOST_POLLERS}")

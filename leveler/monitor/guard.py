"""Guard: who may read what. Pure.

On loopback every process of the host may ask, but no web page: a page whose own name was made to point here (DNS
rebinding) is told by the Host header that its browser sends. From elsewhere only who has the token reads figures;
whether the process lives and is ready anybody may know, because what keeps it alive often has no way to send one.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from leveler.monitor.address import Address, names_this_host

#: These say one word about the process and nothing about what it does.
OPEN_TO_ALL: Final = frozenset({"/livez", "/readyz"})


@dataclass(frozen=True)
class Refusal:
    """Why somebody gets no answer."""

    status: HTTPStatus
    text: str


@dataclass(frozen=True, repr=False)
class Guard:
    """
    Args:
        address: where we listen.
        token: who shows it may read; None = nobody has to, which only loopback may say.
    """

    address: Address
    token: str | None

    def refuses(self, path: str, host: str | None, authorization: str | None) -> Refusal | None:
        """Why a request is refused; None if it is not.

        Args:
            path: what it asks for.
            host: its Host header.
            authorization: its Authorization header.
        """
        if self.address.is_loopback and not names_this_host(_name(host or "")):
            return Refusal(
                HTTPStatus.FORBIDDEN, "this endpoint answers on loopback only: ask for 127.0.0.1 or localhost"
            )
        if path in OPEN_TO_ALL or self.token is None or self._shows_token(authorization or ""):
            return None
        return Refusal(HTTPStatus.UNAUTHORIZED, "send the token of 'listen_token' as 'Authorization: Bearer ...'")

    def _shows_token(self, authorization: str) -> bool:
        kind, _, token = authorization.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), (self.token or "").encode())


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]

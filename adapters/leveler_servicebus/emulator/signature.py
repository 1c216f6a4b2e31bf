"""Shared access signatures: the token that a client makes of a key, really checked; and the policies that own keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus, urlsplit

#: As the vendor's emulator has them, so that one connection string serves both.
DEFAULT_POLICY: Final = "RootManageSharedAccessKey"
DEFAULT_KEY: Final = "SAS_KEY_VALUE"

SEND, LISTEN, MANAGE = "send", "listen", "manage"
ALL_RIGHTS: Final = frozenset({SEND, LISTEN, MANAGE})

_SCHEME: Final = "SharedAccessSignature "


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A name, its key, and what who has it may do."""

    name: str
    key: str = field(repr=False)
    rights: frozenset[str] = ALL_RIGHTS


@dataclass(frozen=True)
class Grant:
    """What a token allows, and until when (seconds since 1970)."""

    path: str
    rights: frozenset[str]
    until: float

    def covers(self, path: str, right: str, now: float) -> bool:
        inside = not self.path or path == self.path or path.startswith(f"{self.path}/")
        return inside and now < self.until and (right in self.rights or MANAGE in self.rights)


class Denied(Exception):
    """The token is not good; the text says why, and never quotes it."""


class Signatures:
    """Who may do what.

    Args:
        policies: names and keys.
        trust_bearers: whether tokens of another issuer (Entra ID) are taken unseen.
    """

    def __init__(self, policies: Iterable[Policy], *, trust_bearers: bool = False) -> None:
        self._policies: Mapping[str, Policy] = {policy.name: policy for policy in policies}
        self._trust_bearers = trust_bearers

    def check(self, token: str, now: float) -> Grant:
        """What the token allows.

        Args:
            token: ``SharedAccessSignature sr=..&sig=..&se=..&skn=..``.
            now: seconds since 1970.

        Raises:
            Denied: it is not signed with one of our keys, or has expired.
        """
        if not token.startswith(_SCHEME):
            if self._trust_bearers:
                return Grant("", ALL_RIGHTS, float("inf"))
            raise Denied("expected a shared access signature; start the emulator with --trust-tokens to take any other")
        parts = [part.partition("=") for part in token[len(_SCHEME) :].strip().split("&")]
        said = {name: value for name, _, value in parts}
        policy = self._policies.get(unquote_plus(said.get("skn", "")))
        expiry = said.get("se", "")
        if policy is None or not expiry.isdecimal():
            raise Denied("InvalidSignature: the token has no expiry, or the policy that it names is not known here")
        if not hmac.compare_digest(_sign(said.get("sr", ""), expiry, policy.key), unquote_plus(said.get("sig", ""))):
            raise Denied(f"InvalidSignature: the key is not that of the policy {policy.name!r}")
        if int(expiry) <= now:
            raise Denied("ExpiredToken: the token has expired; is the client's clock right?")
        return Grant(path_of(unquote_plus(said.get("sr", ""))), policy.rights, float(expiry))

    def check_password(self, name: str, key: str) -> Grant:
        """What a name and its key allow: SASL PLAIN.

        Raises:
            Denied: they do not belong together.
        """
        policy = self._policies.get(name)
        if policy is None or not hmac.compare_digest(policy.key.encode(), key.encode()):
            raise Denied("the key is not that of the policy")
        return Grant("", policy.rights, float("inf"))


def path_of(address: str) -> str:
    """The entity that a URI, or a path, names; in lower case, for names are compared so."""
    path = urlsplit(address).path if "://" in address else address
    return path.strip("/").lower()


def _sign(resource: str, expiry: str, key: str) -> str:
    """As the client does it: of the resource as it stands in the token, quoted."""
    mac = hmac.new(key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256)
    return base64.b64encode(mac.digest()).decode()

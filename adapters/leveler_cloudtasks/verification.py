"""Verification: whether a request comes from our queue. Decided from its headers alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import jwt

from leveler.clock import Clock
from leveler_cloudtasks.keys import Keys, KeysUnavailable

#: Nobody is known to us by this request.
UNAUTHENTICATED: Final = 401
#: Somebody is, and it is somebody else.
FORBIDDEN: Final = 403
#: It cannot be known now.
UNAVAILABLE: Final = 503

#: Google has used both forms.
ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
_SKEW_SECONDS: Final = 60
#: A token is sent with many tasks; checked ones are remembered until they expire.
_MOST_KEPT: Final = 1000
_MAX_TOKEN: Final = 8192
#: One line of the log in so long: strangers may send as much as they like.
_SILENT_SECONDS: Final = 10.0

log = logging.getLogger("leveler")


class OidcGuard:
    """Lets in who has a token of the right service account for the right audience, signed by a known key with RS256.

    Args:
        keys: of who signs.
        service_account: its mail address.
        audience: exactly as it was asked for.
        clock: for the end of what is remembered, and of silence.
    """

    def __init__(self, keys: Keys, service_account: str, audience: str, clock: Clock) -> None:
        self._keys = keys
        self._service_account = service_account
        self._audience = audience
        self._clock = clock
        self._checked: dict[str, float] = {}
        self._refused = 0
        self._silent_until = 0.0

    async def check(self, headers: Mapping[str, str]) -> int:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN:
            return UNAUTHENTICATED
        if self._checked.get(token, 0.0) > self._clock.now().timestamp():
            return 0
        status, why = await self._status(token)
        if status:
            self._tell(status, why)
        return status

    def _tell(self, status: int, why: str) -> None:
        self._refused += 1
        if (now := self._clock.monotonic()) >= self._silent_until:
            log.warning(
                "a request to the endpoint was refused with %s: %s (%d refused by now)", status, why, self._refused
            )
            self._silent_until = now + _SILENT_SECONDS

    async def _status(self, token: str) -> tuple[int, str]:
        try:
            claims = await self._claims(token)
        except KeysUnavailable as error:
            return UNAVAILABLE, f"the keys cannot be had: {error}"
        except jwt.PyJWTError as error:
            return UNAUTHENTICATED, type(error).__name__
        if claims.get("email") != self._service_account or claims.get("email_verified") is not True:
            return FORBIDDEN, "another service account"
        self._remember(token, claims)
        return 0, ""

    async def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "RS256":  # before anything is done with it, "none" and HMAC with a public key included
            raise jwt.InvalidAlgorithmError
        key = await self._keys.get(str(header.get("kid", "")))
        if key is None:
            raise jwt.InvalidKeyError
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=self._audience,
            issuer=list(ISSUERS),
            leeway=_SKEW_SECONDS,
            options={"require": ["exp", "iat", "aud", "iss"]},
        )
        return claims

    def _remember(self, token: str, claims: Mapping[str, Any]) -> None:
        if len(self._checked) >= _MOST_KEPT:
            del self._checked[next(iter(self._checked))]
        self._checked[token] = float(claims["exp"])


class OpenGuard:
    """Lets everybody in but web pages: for emulators, and on the loopback address only.

    A browser on this machine sends what any page tells it to send here, and says in "Origin" that a page did.
    """

    async def check(self, headers: Mapping[str, str]) -> int:
        return FORBIDDEN if "origin" in headers else 0

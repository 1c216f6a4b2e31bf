"""Keys: the public keys by which tokens are checked, fetched when they are needed and kept for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final
from urllib import request

import jwt

from leveler.clock import Clock

#: Google changes its keys within days, and publishes new ones before it uses them.
_KEEP_SECONDS: Final = 3600.0
#: A key that is not known may be new; but whoever invents key ids must not make us ask each time.
_PAUSE_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 5.0
_MAX_BYTES: Final = 256 * 1024


class KeysUnavailable(Exception):
    """Nobody can tell now whether a token is good."""


class Keys:
    """
    Args:
        url: of a JWKS document.
        clock: time.
        fetch: gets the document at a URL; blocks, so it is called on a thread.
    """

    def __init__(self, url: str, clock: Clock, fetch: Callable[[str], Any] | None = None) -> None:
        self._url = url
        self._clock = clock
        self._fetch = fetch or _fetch
        self._keys: dict[str, Any] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def get(self, key_id: str) -> Any | None:
        """The key; None if there is none of this id.

        Raises:
            KeysUnavailable: it cannot be known.
        """
        if self._fresh() and key_id in self._keys:
            return self._keys[key_id]
        async with self._fetching:
            if self._fresh() and key_id in self._keys:  # fetched while we waited
                return self._keys[key_id]
            if self._clock.monotonic() - self._tried_at >= _PAUSE_SECONDS:
                await self._refresh()
        if not self._fresh():
            raise KeysUnavailable(self._url)
        return self._keys.get(key_id)

    def _fresh(self) -> bool:
        return self._clock.monotonic() - self._fetched_at < _KEEP_SECONDS

    async def _refresh(self) -> None:
        self._tried_at = self._clock.monotonic()
        try:
            document = await asyncio.to_thread(self._fetch, self._url)
            found = {key.key_id: key for key in jwt.PyJWKSet.from_dict(document).keys if key.key_id}
        except (OSError, ValueError, TypeError, AttributeError, jwt.PyJWTError) as error:
            raise KeysUnavailable(f"{self._url}: {error}") from error
        self._keys, self._fetched_at = found, self._clock.monotonic()


def _fetch(url: str) -> Any:
    """Keys come from where it was said, and from nowhere else: no redirects, no other schemes."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    with opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
        return json.loads(response.read(_MAX_BYTES))

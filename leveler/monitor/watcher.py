"""Watcher: reads the figures of other processes from their endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

import msgspec

from leveler.adapter import redact
from leveler.errors import ConfigError
from leveler.monitor.address import Address
from leveler.monitor.figures import AppFigures

_PATIENCE_SECONDS: Final = 5.0
#: Far more than the figures of any app; what is longer is something else.
_MOST_BYTES: Final = 16 * 1024 * 1024
_MOST_AT_ONCE: Final = 32


@dataclass(frozen=True)
class Unreadable:
    """A worker shows no figures now."""

    why: str


class Watcher:
    """Reads from all of `urls` at once: a worker that does not answer holds up no other.

    Args:
        urls: see `endpoint_url`.
        token: shown to all of them; None = none.
    """

    def __init__(self, urls: Sequence[str], token: str | None) -> None:
        self.urls = tuple(dict.fromkeys(map(endpoint_url, urls)))
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._opener = _direct()

    def look(self) -> Mapping[str, AppFigures | Unreadable]:
        """The figures of each worker by its URL, or why there are none."""
        with ThreadPoolExecutor(min(len(self.urls), _MOST_AT_ONCE)) as threads:
            return dict(zip(self.urls, threads.map(self._read, self.urls), strict=True))

    def _read(self, url: str) -> AppFigures | Unreadable:
        try:
            request = Request(f"{url}/figures", headers=self._headers)
            with self._opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
                return msgspec.json.decode(answer.read(_MOST_BYTES), type=AppFigures)
        except HTTPError as error:
            return Unreadable(f"{url} answers {error.code}: {error.read(200).decode(errors='replace').strip()}")
        except msgspec.MsgspecError:
            return Unreadable(f"{url} is no worker of leveler, or one of another version")
        except URLError as error:
            return Unreadable(f"{url} does not answer: {error.reason}")
        except (OSError, HTTPException) as error:
            return Unreadable(f"{url} does not answer: {error or type(error).__name__}")


def endpoint_url(words: str) -> str:
    """``9464``, ``host:9464`` or a URL -> the URL of an endpoint.

    Raises:
        ConfigError: it is none of them.
    """
    if "://" not in words:
        return f"http://{Address.of(words)}"
    parts = urlsplit(words)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ConfigError(f"{redact(words)}: expected a worker's address, for example http://127.0.0.1:9464")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/figures')}"


class _Stay(HTTPRedirectHandler):
    """The token is for whom the user has named, and for nobody whom he names."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


def _direct() -> OpenerDirector:
    """Past every proxy: what listens on loopback is not to be reached through one."""
    return build_opener(ProxyHandler({}), _Stay())

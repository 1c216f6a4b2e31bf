"""Server: HTTP as the standard library reads and writes it, each request in a thread, never more than so many."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socket import AF_INET, AF_INET6, SHUT_RDWR
from socketserver import ThreadingTCPServer
from time import monotonic
from typing import Any, Final, NamedTuple, cast

from leveler.events import log
from leveler.monitor.address import Address

TEXT: Final = "text/plain; charset=utf-8"

#: A request that has not come, or an answer that is not taken, within so long is given up: byte by byte is too slow.
_CLIENT_SECONDS: Final = 5.0
#: Requests at once. More are not answered at all: nobody needs them, and threads are not free.
_MOST_REQUESTS: Final = 16


class Answer(NamedTuple):
    """What somebody gets."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Server(ThreadingTCPServer):
    """
    Args:
        address: where to listen; port 0 = any that is free.
        answer: what a request gets for its path and headers; called in its thread.

    Raises:
        OSError: nobody can listen there.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = _MOST_REQUESTS

    def __init__(self, address: Address, answer: Callable[[str, Any], Answer]) -> None:
        self.address_family = AF_INET6 if ":" in address.host else AF_INET
        self.answer = answer
        self._places = threading.BoundedSemaphore(_MOST_REQUESTS)
        #: Requests that have not come yet, and when they are given up.
        self._coming: dict[Any, float] = {}
        super().__init__((address.host, address.port), _Request)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            self._coming[request] = monotonic() + _CLIENT_SECONDS
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_come(request)
            self._places.release()

    def has_come(self, request: Any) -> None:
        """All of it: what is left takes no longer than we do."""
        self._coming.pop(request, None)

    def service_actions(self) -> None:
        """Called all the time: give up those who dawdle, or a few of them would have all places for ever."""
        for request, until in [*self._coming.items()]:
            if monotonic() >= until:
                with suppress(OSError):  # gone by itself
                    request.shutdown(SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # somebody who has gone is no error of ours
            log.error("the endpoint could not answer a request", exc_info=error)


class _Request(BaseHTTPRequestHandler):
    """One request, by the standard library's reading of HTTP; its errors are told in one line and not in HTML."""

    timeout = _CLIENT_SECONDS
    server_version = "leveler"
    sys_version = ""
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = TEXT

    def do_GET(self) -> None:
        server = cast(Server, self.server)
        server.has_come(self.connection)
        answer = server.answer(self.path, self.headers)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815  # the name that the server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what is asked for every few seconds is no news."""

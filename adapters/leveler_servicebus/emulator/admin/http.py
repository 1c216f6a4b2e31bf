"""The HTTP server: a thread for each client; what they ask is done on the loop of the emulator."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from leveler_servicebus.emulator.admin.resources import Request, Resources, Response

_MOST_BYTES: Final = 1024 * 1024
_TLS_HANDSHAKE: Final = b"\x16"
_CLIENT_SECONDS: Final = 30.0


class AdminServer:
    """Listens, for HTTP and, with a certificate, for HTTPS on the same port.

    Args:
        resources: what there is to ask.
        host: where to listen.
        port: 0: any that is free.
        tls: the certificate.
    """

    def __init__(self, resources: Resources, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()

        def ask(request: Request) -> Response:
            async def answer() -> Response:
                return resources.answer(request)

            return asyncio.run_coroutine_threadsafe(answer(), loop).result(_CLIENT_SECONDS)

        handler = type("Handler", (_Handler,), {"ask": staticmethod(ask), "tls": tls})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="admin", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    tls: ssl.SSLContext | None
    timeout = _CLIENT_SECONDS

    @staticmethod
    def ask(request: Request) -> Response:
        raise NotImplementedError

    def setup(self) -> None:
        """The first byte tells whether the client speaks TLS."""
        connection: socket.socket = self.request
        connection.settimeout(_CLIENT_SECONDS)
        secure = connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE
        if secure and self.tls is not None:
            self.request = self.tls.wrap_socket(connection, server_side=True)
        self.scheme = "https" if secure else "http"
        super().setup()

    def finish(self) -> None:
        """The server closes what it has accepted, and knows nothing of TLS around it."""
        super().finish()
        self.request.close()

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        said = self.headers.get("Content-Length") or "0"
        if not said.isdecimal() or int(said) > _MOST_BYTES:
            self.send_error(413)
            return
        request = Request(
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(said)),
            base=f"{self.scheme}://{self.headers.get('Host', 'localhost')}",
        )
        response = self.ask(request)
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests carry tokens."""

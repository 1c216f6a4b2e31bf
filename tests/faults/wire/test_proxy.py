"""Each kind of weather does what it says: seen from the client and from the server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.containers.port import free_ports
from tests.faults.wire.proxy import Proxy
from tests.faults.wire.resp import RespConversation
from tests.faults.wire.weather import CLEAR, Cut, Place, Slow

GET = b"*1\r\n$3\r\nGET\r\n"
SET = b"*1\r\n$3\r\nSET\r\n"
OK = b"+OK\r\n"
PATIENCE_SECONDS = 5.0


class Server:
    """Answers every command, and remembers what it was told."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.told = bytearray()
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=self._listener.accept()[:1], daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        talk = RespConversation()
        with client, suppress(OSError):
            while data := client.recv(65536):
                self.told += data
                for _ in talk.requests(data):
                    client.sendall(OK)
        self.ended.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(free_ports(), server.port, RespConversation) as running:
        yield running


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS) as connection:
        yield connection


def answer(client: socket.socket, size: int = len(OK)) -> bytes:
    """Up to so many bytes; what came before the end if there is one."""
    got = b""
    with suppress(ConnectionResetError):
        while len(got) < size and (data := client.recv(size - len(got))):
            got += data
    return got


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.3)
    try:
        return client.recv(1) == b"never"
    except TimeoutError:
        return True
    finally:
        client.settimeout(PATIENCE_SECONDS)


def test_in_clear_weather_everything_gets_through(client: socket.socket, server: Server) -> None:
    client.sendall(GET * 1000)
    assert answer(client, 1000 * len(OK)) == OK * 1000
    assert server.told == GET * 1000


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize(("place", "told"), [("before", b""), ("during", SET[: len(SET) // 2]), ("after", SET)])
def test_a_cut_at_a_request(
    proxy: Proxy, client: socket.socket, server: Server, place: Place, told: bytes, reset: bool
) -> None:
    cut = proxy.cut(Cut("SET", place, reset))
    client.sendall(GET)
    assert answer(client) == OK
    assert not cut.done.is_set()
    client.sendall(SET + GET)
    assert answer(client) == (OK if place == "after" else b"")
    assert cut.done.wait(PATIENCE_SECONDS)
    assert server.ended.wait(PATIENCE_SECONDS)
    assert server.told == GET + told


@pytest.mark.parametrize(("place", "heard"), [("before", b""), ("during", OK[: len(OK) // 2]), ("after", OK)])
def test_a_cut_at_a_reply(proxy: Proxy, client: socket.socket, server: Server, place: Place, heard: bytes) -> None:
    cut = proxy.cut(Cut("SET reply", place))
    client.sendall(GET + SET + GET)
    assert answer(client, 3 * len(OK)) == OK + heard
    assert cut.done.wait(PATIENCE_SECONDS)
    assert server.told == GET + SET + GET


def test_the_end_is_an_error_where_a_reset_is_asked_for(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut(Cut("SET", "before", reset=True))
    client.sendall(SET)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_only_the_reply_is_lost_and_the_connection_stays(proxy: Proxy, client: socket.socket, server: Server) -> None:
    cut = proxy.cut(Cut("SET reply", "mute"))
    client.sendall(SET)
    assert cut.done.wait(PATIENCE_SECONDS)
    client.sendall(GET)
    assert is_silent(client)
    assert server.told == SET + GET
    assert not server.ended.is_set()
    assert proxy.silent == 1
    client.close()
    assert server.ended.wait(PATIENCE_SECONDS)


def test_one_cut_ends_one_connection(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut(Cut("SET", "before"))
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS) as other:
        client.sendall(SET)
        assert answer(client) == b""
        other.sendall(SET)
        assert answer(other) == OK


def test_a_cut_that_is_forgotten_does_not_happen(proxy: Proxy, client: socket.socket) -> None:
    cut = proxy.cut(Cut("SET", "before"))
    proxy.forget(cut)
    client.sendall(SET)
    assert answer(client) == OK
    assert not cut.done.is_set()


def test_half_open_is_seen_by_the_server_only(proxy: Proxy, client: socket.socket, server: Server) -> None:
    client.sendall(GET)
    assert answer(client) == OK
    proxy.half_open()
    assert server.ended.wait(PATIENCE_SECONDS)
    client.sendall(GET)
    assert is_silent(client)
    assert server.told == GET
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS) as other:
        other.sendall(GET)
        assert answer(other) == OK


class Talk(RespConversation):
    """Of a client that waits for nothing but answers."""

    listens = False


def test_who_neither_listens_nor_asks_does_not_wait(server: Server) -> None:
    with (
        Proxy(free_ports(), server.port, Talk) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS) as client,
    ):
        client.sendall(GET)
        assert answer(client) == OK
        proxy.half_open()
        assert is_silent(client)
        assert proxy.silent == 0
        client.sendall(GET)
        assert is_silent(client)
        assert proxy.silent == 1


def test_who_waits_for_an_answer_waits(server: Server) -> None:
    with (
        Proxy(free_ports(), server.port, Talk) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS) as client,
    ):
        cut = proxy.cut(Cut("SET reply", "mute"))
        client.sendall(SET)
        assert cut.done.wait(PATIENCE_SECONDS)
        assert proxy.silent == 1


def test_a_black_hole_swallows_and_then_cuts(proxy: Proxy, client: socket.socket, server: Server) -> None:
    client.sendall(GET)
    assert answer(client) == OK
    proxy.swallow(True)
    client.sendall(SET)
    assert is_silent(client)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS) as other:
        other.sendall(SET)
        assert is_silent(other)
        proxy.swallow(False)
        assert answer(other) == b""
    assert answer(client) == b""
    assert server.told == GET
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS) as new:
        new.sendall(GET)
        assert answer(new) == OK


def test_cutting_all_leaves_nobody(proxy: Proxy, client: socket.socket, server: Server) -> None:
    client.sendall(GET)
    assert answer(client) == OK
    assert proxy.connections == 1
    proxy.cut_all(reset=True)
    assert answer(client) == b""
    assert server.ended.wait(PATIENCE_SECONDS)
    assert proxy.connections == 0


def test_latency_delays_both_directions(proxy: Proxy, client: socket.socket) -> None:
    proxy.slow(Slow(latency_seconds=0.2))
    began = time.monotonic()
    client.sendall(GET)
    assert answer(client) == OK
    assert time.monotonic() - began >= 0.4


def test_a_throttle_holds_to_its_rate_and_ends(proxy: Proxy, client: socket.socket, server: Server) -> None:
    proxy.slow(Slow(bytes_per_second=1000, piece_bytes=10))
    began = time.monotonic()
    client.sendall(GET * 20)
    assert answer(client, 20 * len(OK)) == OK * 20
    assert time.monotonic() - began >= len(GET) * 20 / 1000
    proxy.slow(CLEAR)
    client.sendall(GET * 1000)
    assert answer(client, 1000 * len(OK)) == OK * 1000
    assert server.told == GET * 1020


def test_a_server_that_is_not_there_is_an_end(server: Server) -> None:
    with (
        Proxy(free_ports(), free_ports() + 5, RespConversation) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_SECONDS) as client,
    ):
        assert answer(client) == b""

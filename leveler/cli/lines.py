"""Lines of input as they come: what is there is handed on at once, so that a slow producer's lines do not wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import IO, Any, Final, NamedTuple

#: Read at once: some thousand lines of a file, or whatever stands in a pipe.
CHUNK_BYTES: Final = 256 * 1024

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line that is not blank, without its end."""

    number: int
    text: bytes


class Lines:
    """The lines of `stream`, in chunks. Reads on a thread of its own, so that nothing else waits for the input."""

    def __init__(self, stream: IO[bytes]) -> None:
        # The raw file has no lock that an ending interpreter could wait for while a read hangs in a terminal.
        self._stream: Any = getattr(stream, "raw", stream)
        #: How much was read so far.
        self.read_bytes = 0

    async def chunks(self) -> AsyncIterator[list[Line]]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[bytes | BaseException] = asyncio.Queue(maxsize=2)
        threading.Thread(target=self._pump, args=(loop, queue), daemon=True, name="leveler-input").start()
        rest, number, last = b"", 0, False
        while not last:
            data = await queue.get()
            if isinstance(data, BaseException):
                raise data
            self.read_bytes += len(data)
            last = not data
            *whole, rest = (rest + data).split(b"\n") if data else (rest, b"")
            lines = [Line(number + at, text) for at, text in enumerate(whole, 1)]
            number += len(whole)
            if found := [Line(line.number, text) for line in lines if (text := _stripped(line))]:
                yield found

    def _pump(self, loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[bytes | BaseException]) -> None:
        def put(what: bytes | BaseException) -> None:
            asyncio.run_coroutine_threadsafe(queue.put(what), loop).result()

        try:
            while data := self._stream.read(CHUNK_BYTES):
                put(data)
            put(b"")
        except RuntimeError:  # the loop has ended: nobody wants more
            return
        except OSError as error:
            put(error)


def _stripped(line: Line) -> bytes:
    text = line.text.removeprefix(_BYTE_ORDER_MARK) if line.number == 1 else line.text
    return text.strip(b" \t\r")

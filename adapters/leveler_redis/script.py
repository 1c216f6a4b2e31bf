"""Script: what happens on the server, all of it at once or not at all.

The files stand in the folder `lua`; what several of them share stands before them. Their first line tells the server
whether they may write, and whether they may while it is out of memory: giving back and completing must always work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from leveler_redis.command import Argument, pack

_FOLDER: Final = Path(__file__).parent / "lua"


class Script:
    """
    Args:
        name: of its file.
        after: of the files that come before it.
        flags: see the server's documentation of script flags.
    """

    def __init__(self, name: str, *after: str, flags: str) -> None:
        parts = [f"#!lua{' flags=' + flags if flags else ''}"]
        parts += [(_FOLDER / f"{part}.lua").read_text() for part in (*after, name)]
        self.name = name
        self._text = "\n".join(parts).encode()
        self._digest = hashlib.sha1(self._text, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Sequence[bytes], arguments: Sequence[Argument] = ()) -> bytes:
        """The command that runs it, where the server knows it already."""
        return pack((b"EVALSHA", self._digest, len(keys), *keys, *arguments))

    def introduce(self, keys: Sequence[bytes], arguments: Sequence[Argument] = ()) -> bytes:
        """The command that runs it, and makes the server know it."""
        return pack((b"EVAL", self._text, len(keys), *keys, *arguments))


class Scripts:
    """All of them, read once for an adapter."""

    def __init__(self) -> None:
        self.declare = Script("declare", "queue", flags="allow-oom")
        self.send = Script("send", "queue", flags="")
        self.tend = Script("tend", "queue", flags="allow-oom")
        self.complete = Script("complete", "owner", flags="allow-oom")
        self.extend = Script("extend", "owner", flags="allow-oom")
        self.settle = Script("settle", "queue", "owner", flags="allow-oom")
        self.depth = Script("depth", "queue", flags="no-writes")
        self.peek = Script("peek", "queue", flags="no-writes")
        self.purge = Script("purge", "queue", flags="allow-oom")
        self.leave = Script("leave", "queue", flags="allow-oom")
        self.reserve = Script("reserve", flags="allow-oom")

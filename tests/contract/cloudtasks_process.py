"""The emulator as a user starts it: a process of its own, found by what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Emulated(NamedTuple):
    """A running emulator."""

    process: subprocess.Popen[str]
    #: The URL that leveler's adapter takes.
    url: str
    #: host:port of the gRPC service.
    address: str
    #: URL of its keys.
    keys: str


@contextmanager
def emulated(*words: str, port: int = 0) -> Iterator[Emulated]:
    """``leveler emulate cloudtasks``, with these options besides."""
    command = [sys.executable, "-m", "leveler", "emulate", "cloudtasks", "--json"]
    ports = ["--port", str(port), "--keys-port", "0"]
    with subprocess.Popen([*command, *ports, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = json.loads(process.stdout.readline())
            yield Emulated(process, said["url"], said["address"], said["keys"])
        finally:
            process.kill()

"""Commands in the form in which they go over the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import hiredis

Argument = bytes | str | int


def pack(arguments: Iterable[Argument]) -> bytes:
    """One command."""
    return cast(bytes, hiredis.pack_command(cast(Any, tuple(arguments))))

"""What a terminal shows: content of messages is somebody else's, so no control character of it gets through."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

#: Line and paragraph separators, and what turns the direction of text around, are as good as control characters.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def escaped(text: str, *, lines: bool = False) -> str:
    """`text`, with whatever could steer a terminal written out.

    Args:
        text: from anybody.
        lines: leave line breaks and tabs as they are.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        char if char in kept or unicodedata.category(char) not in _HARMFUL else char.encode("unicode_escape").decode()
        for char in text
    )


def one_line(text: str) -> str:
    """`text` in one line that is safe to print."""
    return escaped("; ".join(line.strip() for line in text.splitlines() if line.strip()))


def say(text: str = "") -> None:
    """One line of ours on stdout."""
    print(text, flush=True)


def note(text: str) -> None:
    """One line of ours on stderr, where it does not mix with what a program reads."""
    print(text, file=sys.stderr, flush=True)


def say_json(data: Any) -> None:
    """One JSON document on one line."""
    print(json.dumps(data, ensure_ascii=True, default=str), flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Columns as wide as they need to be; the last one is never padded. Cells are escaped."""
    cells = [[*map(one_line, row)] for row in rows]
    widths = [max(len(row[at]) for row in [head, *cells]) for at in range(len(head))]
    right = frozenset(right)

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join(map(line, [head, *cells]))


def age(seconds: float | None) -> str:
    """A duration as one reads it: 45s, 12m, 3h, 2d."""
    if seconds is None:
        return "?"
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def errors_console() -> Console:
    """For progress: on stderr, so that stdout stays for what was asked for."""
    from rich.console import Console

    return Console(stderr=True)

"""Wording: text that may be anybody's, for a line of ours: cut, without secrets of URLs, and safe to print."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable
from typing import Any, Final

from leveler.adapter import redact

#: Of an error's text in the log; a dead letter has more of it.
_MOST_CHARACTERS: Final = 300


def printable(text: str) -> str:
    """`text`, with whatever ends a line or steers a terminal written out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def in_one_line(text: str) -> str:
    """As much of `text` as a line of the log should have."""
    kept = redact(text[: 4 * _MOST_CHARACTERS])
    return printable(kept[:_MOST_CHARACTERS] + ("..." if len(text) > _MOST_CHARACTERS else ""))


def told(error: BaseException, function: Callable[..., Any] | None) -> str:
    """An error in one line, with the place in `function`, a handler's, where it came up."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"its text cannot be read: {type(broken).__name__}"
    return f"{type(error).__name__}: {in_one_line(text)}".rstrip(": ") + _place(error, function)


def _place(error: BaseException, function: Callable[..., Any] | None) -> str:
    """The innermost line in the handler's own file; the innermost of all, where that is not in the way."""
    if function is None or error.__traceback__ is None:
        return ""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [place for place in frames if code is not None and place[0] == code.co_filename]
    file, line = (own or frames)[-1]
    return f" ({os.path.basename(file)}:{line})"

"""Messages and dead letters as a terminal or a program reads them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from leveler.cli.terminal import age, cut, escaped, one_line, table
from leveler.message import Death, Message

_BODY_WIDTH = 60


def as_data(message: Message, *, body: bool = True) -> dict[str, Any]:
    """Everything about `message`, for a program; its body as text where it is text, else as base64."""
    data: dict[str, Any] = msgspec.to_builtins(message)
    content = data.pop("body", None)
    data["size_bytes"] = len(message.body)
    if body and content is not None:
        data.update(_body(message.body))
    return data


def waiting_table(messages: Sequence[Message]) -> str:
    now = datetime.now(UTC)
    rows = [
        [
            one.id,
            one.type or "-",
            one.key or "-",
            str(one.priority),
            age((now - one.time).total_seconds()),
            str(len(one.body)),
            cut(_text(one.body), _BODY_WIDTH),
        ]
        for one in messages
    ]
    return table(["ID", "TYPE", "KEY", "PRIO", "AGE", "BYTES", "BODY"], rows, right=(3, 4, 5))


def dead_table(letters: Sequence[Message]) -> str:
    """Why each one died. Bodies stay out of sight: see `letter_text`."""
    now = datetime.now(UTC)
    rows = [
        [
            one.id,
            one.type or "-",
            death_of(one).reason,
            death_of(one).error_type or "-",
            str(death_of(one).attempts),
            str(one.replays),
            age((now - died_at(one)).total_seconds()),
            cut(one_line(death_of(one).detail), _BODY_WIDTH) or "-",
        ]
        for one in letters
    ]
    return table(["ID", "TYPE", "REASON", "ERROR", "TRIES", "REPLAYS", "DEAD", "DETAIL"], rows, right=(4, 5, 6))


def letter_text(letter: Message) -> str:
    """All of one dead letter, its body included."""
    data = as_data(letter, body=False)
    data.pop("death")
    facts = {**_filled(data), **_filled(msgspec.to_builtins(death_of(letter)), "dead: ")}
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {escaped(str(value))}" for name, value in facts.items()]
    return "\n".join([*lines, "", escaped(_readable(letter.body), lines=True)])


def death_of(letter: Message) -> Death:
    return letter.death or Death(reason="unknown")


def died_at(letter: Message) -> datetime:
    return death_of(letter).last_failed_at or letter.time


def _filled(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    return {prefix + name.replace("_", " "): value for name, value in data.items() if value not in (None, "", {})}


def _body(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _text(body: bytes) -> str:
    try:
        return one_line(body.decode())
    except UnicodeDecodeError:
        return f"<{len(body)} bytes, not text>"


def _readable(body: bytes) -> str:
    """Indented, where it is JSON."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body.decode(errors="backslashreplace")

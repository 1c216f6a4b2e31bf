"""Which dead letters are meant: the options that say so, and the letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from leveler.cli.source import Source, seconds
from leveler.cli.terminal import say, say_json

if TYPE_CHECKING:
    from leveler.message import Message

#: More than anybody reads, and what one pass through the dead letters can hold.
MOST: Final = 10_000

Reason = Annotated[list[str] | None, typer.Option("--reason", help="Died of this, such as 'exhausted'; repeatable.")]
Type = Annotated[list[str] | None, typer.Option("--type", help="Of this message type; repeatable.")]
OlderThan = Annotated[str | None, typer.Option("--older-than", help="Dead for longer, such as '3d'.")]
NewerThan = Annotated[str | None, typer.Option("--newer-than", help="Dead for less long, such as '1h'.")]
Id = Annotated[list[str] | None, typer.Option("--id", help="This message; repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which, and change nothing.")]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What is left empty leaves all of them."""

    reasons: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    #: Dead for longer.
    older_than_seconds: float | None = None
    #: Dead for less long.
    newer_than_seconds: float | None = None

    @property
    def narrows(self) -> bool:
        return self != Filter()

    def now(self) -> Callable[[Message], bool]:
        """Whether a dead letter is meant, at this moment."""
        moment = datetime.now(UTC)
        return lambda letter: self._matches(letter, moment)

    def _matches(self, letter: Message, now: datetime) -> bool:
        from leveler.cli.messages import death_of, died_at

        dead_seconds = (now - died_at(letter)).total_seconds()
        return (
            (not self.reasons or death_of(letter).reason in self.reasons)
            and (not self.types or letter.type in self.types)
            and (not self.ids or letter.id in self.ids)
            and (self.older_than_seconds is None or dead_seconds > self.older_than_seconds)
            and (self.newer_than_seconds is None or dead_seconds < self.newer_than_seconds)
        )


def chosen(
    reason: Sequence[str] | None,
    type: Sequence[str] | None,
    older_than: str | None,
    newer_than: str | None,
    id: Sequence[str] | None,
) -> Filter:
    """What the options say."""
    return Filter(
        reasons=frozenset(reason or ()),
        types=frozenset(type or ()),
        ids=frozenset(id or ()),
        older_than_seconds=seconds("--older-than", older_than),
        newer_than_seconds=seconds("--newer-than", newer_than),
    )


async def browse(source: Source, queue: str, wanted: Filter, limit: int) -> list[Message]:
    """Those that are wanted, the oldest first."""
    async with source.looking([queue]) as runtime:
        letters = await (await runtime.dead_letters(queue)).browse(MOST if wanted.narrows else limit)
    chosen = wanted.now()
    return [letter for letter in letters if chosen(letter)][:limit]


def say_ids(what: str, ids: Sequence[str], json: bool) -> None:
    """For a dry run."""
    if json:
        say_json({"dry_run": True, "count": len(ids), "ids": list(ids)})
        return
    for id in ids:
        say(id)
    say(f"{len(ids):,} {what}; nothing was changed")

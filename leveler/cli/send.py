"""``leveler send``: one JSON value a line, from a file or stdin; each becomes one message."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from leveler.cli.complaint import WRONG_INPUT, exit_code
from leveler.cli.source import AppOption, BrokerOption, ConfigOption, JsonOption, QueueArgument, Source, seconds
from leveler.cli.terminal import errors_console, note, say, say_json
from leveler.errors import ConfigError

if TYPE_CHECKING:
    from leveler.cli.lines import Lines
    from leveler.cli.sending import Reading, Sending


def send(
    queue: QueueArgument,
    file: Annotated[Path | None, typer.Argument(help="JSON lines; stdin where it is left out, or '-'.")] = None,
    type: Annotated[str | None, typer.Option(help="Message type; by default the value's own, such as 'dict'.")] = None,
    key: Annotated[str | None, typer.Option(help="Key of all messages: an ordered queue keeps their order.")] = None,
    key_field: Annotated[str | None, typer.Option(help="Each message's key is this field of it.")] = None,
    delay: Annotated[str | None, typer.Option(help="Not to be handled before so long, such as '30s'.")] = None,
    priority: Annotated[int | None, typer.Option(help="0 to 9, higher first.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="name=value; may be repeated.")] = None,
    block: Annotated[
        str | None, typer.Option(help="How long to wait for room while the queue is full, such as '30s'.")
    ] = None,
    on_error: Annotated[Literal["stop", "continue"], typer.Option(help="What to do at a wrong line.")] = "stop",
    broker: BrokerOption = None,
    config: ConfigOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Send JSON lines: each line becomes one message, byte for byte.

    At a wrong line it says the line's number and what is wrong, and stops; what stands before it has been sent. With
    --on-error continue it goes on. Either way the exit code is 2.
    """
    from leveler.cli.sending import Reading, Sending

    if key is not None and key_field is not None:
        raise ConfigError("give either --key or --key-field")
    words: dict[str, Any] = {"key": key, "delay": seconds("--delay", delay), "headers": _headers(header or [])}
    words |= {} if priority is None else {"priority": priority}
    reading = Reading(type, key_field, words, seconds("--block", block))
    sending = Sending(queue, stop=on_error == "stop")
    with _opened(file) as stream:
        try:
            asyncio.run(_send(Source(broker, config, app), stream, reading, sending))
        except KeyboardInterrupt:
            note(f"interrupted: at least {sending.as_text()}")
            raise
    if json:
        say_json(sending.as_data())
    else:
        say(sending.as_text())
    if sending.refused is not None:
        raise typer.Exit(exit_code(sending.refused))
    if sending.wrong:
        raise typer.Exit(WRONG_INPUT)


async def _send(source: Source, stream: IO[bytes], reading: Reading, sending: Sending) -> None:
    from leveler.cli.lines import Lines

    lines = Lines(stream)
    async with source.sending() as runtime:
        queue = await runtime.queue(sending.queue)
        if queue.can.scope == "process":
            raise ConfigError(
                f"queue {sending.queue!r} is in this process only, and what is sent would be gone when it ends: give "
                "--broker URL, such as sqlite:///orders.db, or name such a broker in leveler.yaml or LEVELER_BROKER"
            )
        producer, began = queue.producer, time.monotonic()
        with _progress(stream, lines, sending) as show:
            async for chunk in lines.chunks():
                await sending.send(chunk, reading, producer)
                sending.seconds = time.monotonic() - began
                show()
                if sending.ended:
                    break


def _headers(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"--header {name!r}: expected name=value")
    return {name: value for name, _, value in pairs}


def _opened(file: Path | None) -> AbstractContextManager[IO[bytes]]:
    if file is None or str(file) == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return file.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot read {str(file)!r}: {error.strerror}") from None


def _progress(stream: IO[bytes], lines: Lines, sending: Sending) -> AbstractContextManager[Callable[[], None]]:
    return _bar(stream, lines, sending) if sys.stderr.isatty() else nullcontext(lambda: None)


@contextmanager
def _bar(stream: IO[bytes], lines: Lines, sending: Sending) -> Iterator[Callable[[], None]]:
    """A bar by bytes; without an end where nobody knows how much will come."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    size = os.fstat(stream.fileno()).st_size or None
    counts = TextColumn("{task.fields[sent]:,} sent, {task.fields[wrong]:,} wrong")
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn(), counts)
    with Progress(*columns, console=errors_console(), transient=True) as progress:
        task = progress.add_task("", total=size, sent=0, wrong=0)
        yield lambda: progress.update(task, completed=lines.read_bytes, sent=sending.sent, wrong=len(sending.wrong))

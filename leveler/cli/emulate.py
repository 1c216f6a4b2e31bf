"""``leveler emulate NAME``: a cloud's broker on this machine, through the entry-point group "leveler.emulators".

An emulator comes with its adapter and says itself which options it takes, so it is imported when it is asked for.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from importlib import metadata
from typing import Annotated, Any, ClassVar, Final, Protocol, get_type_hints

import typer

from leveler.cli.complaint import Commands
from leveler.cli.source import JsonOption
from leveler.cli.terminal import say, say_json
from leveler.errors import AdapterNotFound, ConfigError

GROUP: Final = "leveler.emulators"


class Emulator(Protocol):
    """What an entry point of the group stands for: a class, constructed with its options. Its docstring is the help."""

    #: A frozen dataclass with a default for each field. A field ``port_of_x: int`` is the option ``--port-of-x``;
    #: ``field(metadata={"help": ...})`` says what it is for. No secrets: command lines can be seen by others.
    options: ClassVar[type[Any]]

    def __init__(self, options: Any) -> None:
        """No I/O here."""

    async def serve(self, ready: Callable[..., object]) -> None:
        """Serve until cancelled, and then end what was begun.

        Args:
            ready: call it once everything listens, as ``ready(url, **details)``: the URL that leveler's own adapter
                takes, and what others may need, as text.

        Raises:
            ConfigError: it cannot start like this, such as a port that somebody else has.
        """


class Emulators(Commands):
    """A command for each installed emulator."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(entry.name for entry in metadata.entry_points(group=GROUP))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = next(iter(metadata.entry_points(group=GROUP, name=cmd_name)), None)
        if entry is None:
            return None
        single = typer.Typer(
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        try:
            emulator = _load(entry)
        except AdapterNotFound as error:
            single.command(cmd_name, help=str(error))(_broken(error))
        else:
            single.command(cmd_name, help=inspect.getdoc(emulator))(_command(cmd_name, emulator))
        return typer.main.get_command(single)


def _load(entry: metadata.EntryPoint) -> type[Emulator]:
    try:
        emulator: type[Emulator] = entry.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "leveler", entry.module.partition(".")[0]):
            raise  # not a library that is missing: the emulator itself is broken
        origin = entry.dist.name if entry.dist is not None else "an unknown distribution"
        hint = f"pip install '{origin}[{entry.name}]'" if origin == "leveler-mq" else f"install it as {origin!r} says"
        raise AdapterNotFound(f"the emulator {entry.name!r} needs the module {missing!r}: {hint}") from error
    return emulator


def _broken(error: AdapterNotFound) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def _command(name: str, emulator: type[Emulator]) -> Callable[..., None]:
    """A function with one parameter for each option, so that the command line is read as for any other command."""

    def command(json: bool, **given: Any) -> None:
        asyncio.run(_serve(name, emulator(emulator.options(**given)), json))

    hints = get_type_hints(emulator.options)
    described = {field.name: _parameter(field, hints[field.name]) for field in fields(emulator.options)}
    described["json"] = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, annotation=JsonOption, default=False)
    command.__signature__ = inspect.Signature([*described.values()])  # type: ignore[attr-defined]
    command.__annotations__ = {name: parameter.annotation for name, parameter in described.items()}
    return command


def _parameter(field: Field[Any], hint: Any) -> inspect.Parameter:
    if field.default is MISSING:
        raise ConfigError(f"option {field.name!r} of an emulator has no default: give it one")
    annotation = Annotated[hint, typer.Option(help=field.metadata.get("help"))]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=field.default)


async def _serve(name: str, emulator: Emulator, json: bool) -> None:
    """Until SIGTERM or SIGINT."""

    def ready(url: str, **details: str) -> None:
        if json:
            say_json({"emulator": name, "url": url, **details})
            return
        say(f"{name} is ready: {url}")
        for word, value in details.items():
            say(f"  {word.replace('_', ' ')}: {value}")

    serving = asyncio.ensure_future(emulator.serve(ready))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()

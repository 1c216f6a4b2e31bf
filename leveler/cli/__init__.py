"""The command line: one file a command. Nothing of leveler imports it; what is heavy is imported by the command that
needs it, so that ``leveler --help`` answers at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from leveler import __version__
from leveler.cli import adapters, contract, demo, depth, doctor, emulate, peek, run, send, settings, top
from leveler.cli.complaint import EXIT_CODES, Commands
from leveler.cli.dead import list as dead_list
from leveler.cli.dead import purge, replay, show
from leveler.cli.terminal import say


def main() -> None:
    """The entry point ``leveler``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of few characters is no reason to fail
    make()()


def _say_version(wanted: bool) -> None:
    if wanted:
        say(f"leveler {__version__}")
        raise typer.Exit


def make() -> typer.Typer:
    """The whole command line."""
    cli = _group("Queue-based load leveling: run workers, send messages, look at queues.", epilog=EXIT_CODES)
    cli.callback()(_root)
    cli.command("run")(run.run)
    cli.command("top")(top.top)
    cli.command("send")(send.send)
    cli.command("peek")(peek.peek)
    cli.command("depth")(depth.depth)
    cli.add_typer(_dead(), name="dead")
    cli.command("doctor")(doctor.doctor)
    cli.command("adapters")(adapters.adapters)
    cli.command("config")(settings.config)
    cli.command("contract")(contract.contract)
    cli.command("demo")(demo.demo)
    cli.add_typer(_emulate(), name="emulate")
    return cli


def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say which version this is.")
    ] = False,
) -> None:
    """Queue-based load leveling: run workers, send messages, look at queues."""


def _dead() -> typer.Typer:
    cli = _group("List, show, replay and purge the dead letters of a queue.")
    cli.command("list")(dead_list.list_)
    cli.command("show")(show.show)
    cli.command("replay")(replay.replay)
    cli.command("purge")(purge.purge)
    return cli


def _emulate() -> typer.Typer:
    return _group("Run a cloud's broker on this machine, for tests and for development.", cls=emulate.Emulators)


def _group(help: str, epilog: str | None = None, cls: type[Commands] = Commands) -> typer.Typer:
    return typer.Typer(
        cls=cls,
        help=help,
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

"""``leveler top``: running workers, live, as their endpoints show them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from leveler.cli.complaint import FAILED
from leveler.cli.source import ConfigOption, JsonOption, Source, seconds
from leveler.cli.terminal import say, say_json
from leveler.errors import ConfigError

if TYPE_CHECKING:
    from leveler.cli.looks import Looks
    from leveler.monitor.watcher import Watcher

#: Depths are not counted more often than twice as often, and an old one would make of two looks a wrong rate.
_SHORTEST_SECONDS: Final = 0.5


def top(
    url: Annotated[
        list[str] | None,
        typer.Argument(help="Endpoints, such as http://127.0.0.1:9464 or 9464; by default what 'listen' names."),
    ] = None,
    every: Annotated[str, typer.Option(help="How often to look, such as '1s'; not below 500ms.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Look twice, so far apart, print, and end.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Watch running workers: what arrives, waits, runs, completes and dies, and what holds it back.

    A worker shows its figures where 'leveler run --listen HOST:PORT' or the setting 'listen' says; where 'processes'
    are several, all are looked at. Where it asks for a token, that of the setting 'listen_token' is sent.
    """
    from leveler.cli.looks import Looks

    pause_seconds = max(_SHORTEST_SECONDS, seconds("--every", every) or 0.0)
    watcher, maybe = _watcher(url or [], Source(config=config))
    looks = Looks(watcher, maybe)
    looks.again()
    with _shown(as_json=json, live=not once) as show:
        try:
            while True:
                time.sleep(pause_seconds)
                looks.again()
                show(looks)
                if once:
                    break
        except KeyboardInterrupt:
            if once:
                raise
    if once and looks.unreadable:
        raise typer.Exit(FAILED)


def _watcher(urls: Sequence[str], source: Source) -> tuple[Watcher, Collection[str]]:
    """And of its endpoints those where somebody is or is not, as it is useful."""
    from leveler.monitor.address import Address
    from leveler.monitor.watcher import Watcher, endpoint_url
    from leveler.settings import Processes

    settings = source.loaded().settings(connecting=False)
    if urls:
        return Watcher(urls, settings.listen_token), ()
    if settings.listen is None:
        raise ConfigError("which worker? Name its endpoint, such as 127.0.0.1:9464, or set 'listen' in leveler.yaml")
    first, many = Address.of(settings.listen), Processes.of(settings.processes)
    found = [endpoint_url(str(first.further(count))) for count in range(many.max)]
    return Watcher(found, settings.listen_token), found[many.min :]


@contextmanager
def _shown(*, as_json: bool, live: bool) -> Iterator[Callable[[Looks], None]]:
    from leveler.cli.dashboard import curves, drawn

    if as_json:
        yield lambda looks: say_json(looks.as_data())
    elif live and sys.stdout.isatty():
        from rich.live import Live
        from rich.text import Text

        with Live(auto_refresh=False, screen=True) as screen:
            yield lambda looks: screen.update(Text(f"{drawn(looks)}\n\n{curves(looks)}"), refresh=True)
    else:
        yield lambda looks: say(drawn(looks))

"""Source: which app and which settings a command is about, and the options that say so."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leveler.errors import ConfigError

if TYPE_CHECKING:
    from leveler.app import Leveler
    from leveler.consumer.handler import Handler
    from leveler.runtime import Runtime
    from leveler.settings import Settings

NO_BROKER = "no broker: give --broker URL, such as sqlite:///orders.db, or name one in leveler.yaml or LEVELER_BROKER"

AppArgument = Annotated[str, typer.Argument(metavar="APP", help="module:attribute; the attribute is 'app' by default.")]
QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name.")]
BrokerOption = Annotated[str | None, typer.Option(metavar="URL", help="Instead of the broker that is configured.")]
ConfigOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Instead of leveler.yaml or LEVELER_CONFIG.")]
AppOption = Annotated[
    str | None, typer.Option(metavar="APP", help="module:attribute of an app, for the settings in its code.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
LimitOption = Annotated[int, typer.Option(min=1, help="Show no more than so many.")]


@dataclass(frozen=True)
class Source:
    """What the options say."""

    broker: str | None = None
    config: Path | None = None
    app: str | None = None

    def loaded(self) -> Leveler:
        """The app, told what the options say; one that knows nothing but its configuration, if there is none.

        Raises:
            ConfigError: the app cannot be found.
        """
        from leveler.app import Leveler
        from leveler.cli.reference import load

        app = Leveler() if self.app is None else load(self.app)
        app.configure(config=self.config, broker=self.broker)
        return app

    def queues(self) -> list[str]:
        """All queues that the settings or the app speak of."""
        app = self.loaded()
        settings = app.settings()
        return sorted({*settings.queues, *settings.consumers, *app.handlers})

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[Runtime]:
        """Everything connected, queues declared as they are configured; no lifespan of the app runs."""
        async with _opened(self.loaded().settings()) as runtime:
            yield runtime

    @asynccontextmanager
    async def looking(self, queues: Collection[str]) -> AsyncIterator[Runtime]:
        """The same, but `queues` are neither made nor changed nor checked."""
        settings = self.loaded().settings()
        untouched = {name: replace(settings.queue(name), declare="skip") for name in queues}
        async with _opened(replace(settings, queues={**settings.queues, **untouched})) as runtime:
            yield runtime


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Runtime]:
    if not settings.brokers:
        raise ConfigError(NO_BROKER)
    runtime = runtime_of(settings, {})
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


def runtime_of(settings: Settings, handlers: Mapping[str, Sequence[Handler]]) -> Runtime:
    """A command's own, not open: it runs no handler, and nobody observes it."""
    from leveler.clock import SystemClock
    from leveler.events import Observers
    from leveler.runtime import Runtime

    return Runtime(
        settings,
        handlers,
        clock=SystemClock(),
        rng=random.Random(),  # jitter, not secrets
        observers=Observers(),
        middleware=(),
        source="/leveler/cli",
    )


def seconds(option: str, words: str | None) -> float | None:
    """The duration that `option` was given, in seconds."""
    from leveler import units

    try:
        return None if words is None else units.seconds(words)
    except ConfigError as error:
        raise ConfigError(f"{option} {error}") from None


def per_second(option: str, words: str | None) -> float | None:
    """The rate that `option` was given, per second."""
    from leveler import units

    try:
        return None if words is None else units.per_second(words)
    except ConfigError as error:
        raise ConfigError(f"{option} {error}") from None

"""Servers by hand: see README.md beside this file."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.containers.brokers import BROKERS
from tests.containers.find import server
from tests.containers.server import NoServer


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.containers", description=__doc__)
    words.add_argument("broker", choices=BROKERS)
    words.add_argument("--as", dest="wish", choices=("any", "container", "process"), default="any")
    words.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="in the broker's own words")
    given = words.parse_args()
    try:
        serve(given.broker, given.wish, dict(option.split("=", 1) for option in given.option))
    except NoServer as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def serve(name: str, wish: str, options: dict[str, str]) -> None:
    """Until a signal comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    with server(name, wish, options) as running:  # type: ignore[arg-type]  # one of the choices
        print(f"{running.label}\n{running.url}", flush=True)
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())

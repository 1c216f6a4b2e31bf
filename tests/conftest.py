"""What all tests share: servers, the table of what the contract said, and signals that are heard."""

from __future__ import annotations

import signal

pytest_plugins = ["tests.containers.plugin", "tests.contract.summary"]


def pytest_configure() -> None:
    """What a shell starts in the background ignores SIGINT, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

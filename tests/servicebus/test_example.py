"""The example in contrib runs as its README says, on an emulator that is started as its README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.servicebus.test_store import process

EXAMPLE = Path(__file__).parents[2] / "contrib" / "examples" / "servicebus_client.py"

SAYS = """\
sent: 2, and 4 in a batch
peeked: | order 1 | order 2 | order 3 | order 4 | order 5
abandoned and back: order 2, failed 1 time
renewed: True
deferred and taken by its number: order 3
scheduled: order 6, not early: True
dead: order 4, no-customer, order 4 has no customer
session ann: tea cups pay state paid
a wrong key: ServiceBusAuthenticationError
a missing queue: MessagingEntityNotFoundError
"""


def test_the_vendors_client_alone_does_all_of_it() -> None:
    queues = ["--queue", "orders,duplicate_window_seconds=60", "--queue", "carts,sessions=true"]
    with process(*queues) as (_, said):
        environment = {**os.environ, "SERVICEBUS_CONNECTION_STRING": said["connection_string"]}
        ran = subprocess.run(
            [sys.executable, str(EXAMPLE)], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    assert ran.stdout == SAYS, ran.stderr
    assert ran.returncode == 0

"""What the contract's own code promises."""

from __future__ import annotations

import pytest

from leveler.adapter import redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:CANARY@host:1/v", "amqp://***@host:1/v"),
        ("amqp://user:CAN@ARY/x@host:1/v", "amqp://***@host:1/v"),
        ("amqp://user:CAN,ARY CANARY@host", "amqp://***@host"),
        ("amqp://user:CANARY://CANARY@host", "amqp://***@host"),
        ("redis://:CANARY@host", "redis://***@host"),
        ("amqp://u:CANARY@one,amqp://u:CANARY@two/x", "amqp://***@one,amqp://***@two/x"),
        ("redis://host?password=CAN;ARY&ssl=true", "redis://host?password=***&ssl=true"),
        ("amqp://u:CANARY@host/?secret=CANARY CANARY", "amqp://***@host/?secret=***"),
        ("Endpoint=sb://h;SharedAccessKeyName=r;SharedAccessKey=CANARY=", None),
        (
            "servicebus://?connection_string=Endpoint%3Dsb%3A%2F%2Fh%3BSharedAccessKey%3DCANARY%3D%3BEntityPath%3DARY&x=1",
            "servicebus://?connection_string=Endpoint%3Dsb%3A%2F%2Fh%3BSharedAccessKey%3D***&x=1",
        ),
        ("sqs://eu?endpoint=http%3a%2f%2fme%3aCANARY%40host", "sqs://eu?endpoint=http%3a//***@host"),
        ("sqlite:///orders.db", "sqlite:///orders.db"),
    ],
)
def test_a_secret_in_a_url_is_never_shown(url: str, shown: str | None) -> None:
    assert "CANARY" not in redact(url)
    assert "ARY" not in redact(url)
    if shown is not None:
        assert redact(url) == shown

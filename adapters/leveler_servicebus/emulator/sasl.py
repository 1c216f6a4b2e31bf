"""SASL: who the client is. Most say so later, with a token to `$cbs`; PLAIN says it at once."""

from __future__ import annotations

from typing import Any, Final

from leveler_servicebus.emulator.amqp.performatives import SaslInit, SaslOutcome
from leveler_servicebus.emulator.amqp.values import DecodeError, UByte
from leveler_servicebus.emulator.signature import Denied, Grant, Signatures

#: As the service offers them; the last two mean: a token will follow.
MECHANISMS: Final = ("PLAIN", "MSSBCBS", "ANONYMOUS")

_OK, _AUTH = UByte(0), UByte(1)


def answer_init(init: Any, signatures: Signatures) -> tuple[SaslOutcome, Grant | None]:
    """The outcome, and what is granted already.

    Raises:
        DecodeError: the frame is no sasl-init.
    """
    if not isinstance(init, SaslInit):
        raise DecodeError("expected a sasl-init frame")
    if init.mechanism in MECHANISMS[1:]:
        return SaslOutcome(_OK), None
    if init.mechanism != "PLAIN":
        return SaslOutcome(_AUTH), None
    try:
        _, name, key = bytes(init.initial_response or b"").split(b"\0")
        return SaslOutcome(_OK), signatures.check_password(name.decode(), key.decode())
    except (ValueError, Denied):
        return SaslOutcome(_AUTH), None

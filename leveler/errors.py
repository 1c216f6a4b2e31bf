"""Everything leveler raises, in one tree.

    LevelerError
    ├── ConfigError              a setting is wrong: names the key, the place, what was expected
    │   └── AdapterNotFound      no adapter for this URL or name, or its client library is missing
    ├── NotStarted               the app is used before it is started, or after it has stopped
    ├── MessageError             this one message is at fault; sending it again will not help
    │   ├── InvalidMessage       an attribute, a header or a queue name breaks the rules
    │   ├── MessageTooLarge      larger than this broker takes, headers included
    │   ├── EncodeError          the value cannot become bytes
    │   ├── DecodeError          the bytes cannot become the handler's type
    │   └── UnknownType          no handler on this queue takes this type
    └── BrokerError              the broker, or the way to it, is at fault
        ├── BrokerUnavailable    transient: nothing was done, the same object stays usable
        ├── SendUnknown          the message may or may not be queued: send again with the same id
        ├── QueueFull            the queue is at its bound; nothing was queued
        ├── QueueNotFound        the queue is not there and was not to be created
        ├── AccessDenied         the broker refuses these credentials
        ├── Unsupported          the broker cannot do this; the capability says so
        ├── LeaseLost            the delivery is no longer ours: somebody else will get it
        ├── ReceiverLost         the receiver and all its deliveries are gone: make a new one
        └── BatchError           some items of a batch failed: {index: error}

Adapters map every foreign error onto this tree at one seam, with ``raise ... from``. Act on the class,
never on the text.
"""

from __future__ import annotations

from collections.abc import Mapping


class LevelerError(Exception):
    """Whatever leveler raises on purpose."""


class ConfigError(LevelerError):
    """A setting is wrong. The text names the key, where it stands and what was expected."""


class AdapterNotFound(ConfigError):
    """No adapter answers to this URL or name, or the client library that it needs is not installed."""


class NotStarted(LevelerError):
    """The app was used before it was started or after it had stopped."""


class MessageError(LevelerError):
    """This message is at fault: the same message will fail again."""


class InvalidMessage(MessageError):
    """An attribute, a header or a queue name breaks the rules."""


class MessageTooLarge(MessageError):
    """The encoded message, headers included, is larger than this queue takes."""


class EncodeError(MessageError):
    """The value cannot be turned into bytes."""


class DecodeError(MessageError):
    """The body cannot be turned into the type that the handler asks for."""


class UnknownType(MessageError):
    """No handler on this queue takes messages of this type."""


class BrokerError(LevelerError):
    """The broker, or the way to it, is at fault."""


class BrokerUnavailable(BrokerError):
    """Transient. Nothing was done; the same sender or receiver may be used again and leases run on."""


class SendUnknown(BrokerError):
    """The answer was lost: the message may or may not be queued. Send it again with the same id."""


class QueueFull(BrokerError):
    """The queue is at its bound. Nothing was queued; try again later or somewhere else."""


class QueueNotFound(BrokerError):
    """The queue does not exist, and ``declare`` does not allow to create it."""


class AccessDenied(BrokerError):
    """The broker refuses these credentials, or they may not do this."""


class Unsupported(BrokerError):
    """This broker, or this queue on it, cannot do what was asked. `Capabilities` says so beforehand."""


class LeaseLost(BrokerError):
    """The delivery's lease has ended, so it is no longer ours to settle. Somebody else will get the message."""


class ReceiverLost(BrokerError):
    """The receiver and every delivery it gave out are gone. Close it and make a new one."""


class BatchError(BrokerError):
    """Some items of a batch failed. An index that is not in `failed` succeeded.

    Args:
        failed: the error of each failed item, by its index in the batch. Never empty.
    """

    def __init__(self, failed: Mapping[int, LevelerError]) -> None:
        if not failed:
            raise ValueError("a BatchError without a failed item is a success: do not raise it")
        self.failed: dict[int, LevelerError] = dict(failed)
        first = min(self.failed)
        super().__init__(f"{len(self.failed)} of the batch failed; item {first}: {self.failed[first]}")

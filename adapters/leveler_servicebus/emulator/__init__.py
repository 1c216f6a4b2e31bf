"""An emulator of Azure Service Bus queues, in plain Python: AMQP 1.0 on one port, the admin API on another.

In the order in which what a client says is understood:

    amqp         bytes <-> values, frames, messages
    sasl         who the client is; cbs and signature: what its token allows
    connection   one client; session: its windows and deliveries; attaching: where a link leads
    incoming     a link on which it sends; outgoing: one on which it receives
    settlement   what it says about a delivery; management: what it asks about messages
    entity       the queue: what it does with messages, without I/O
    delivery     a message -> the bytes that the client gets
    namespace    all queues; clock: their time; store: the file that keeps them
    service      who waits for messages, and when answers leave
    admin        queues and counts over HTTP, and what only an emulator can be told
    server       listens; options and command: `leveler emulate servicebus`
"""

from leveler_servicebus.emulator.clock import EmulatorClock as EmulatorClock
from leveler_servicebus.emulator.command import ServiceBusEmulator as ServiceBusEmulator
from leveler_servicebus.emulator.entity.settings import QueueSettings as QueueSettings
from leveler_servicebus.emulator.namespace import Namespace as Namespace
from leveler_servicebus.emulator.options import EmulatorOptions as EmulatorOptions
from leveler_servicebus.emulator.server import Listening as Listening
from leveler_servicebus.emulator.server import Server as Server
from leveler_servicebus.emulator.signature import Policy as Policy
from leveler_servicebus.emulator.signature import Signatures as Signatures
from leveler_servicebus.emulator.store import FileStore as FileStore

__all__ = [
    "EmulatorClock",
    "EmulatorOptions",
    "FileStore",
    "Listening",
    "Namespace",
    "Policy",
    "QueueSettings",
    "Server",
    "ServiceBusEmulator",
    "Signatures",
]

"""The RabbitMQ adapter: quorum queues of RabbitMQ 3.10 and newer, with every copy confirmed before its source goes.

    RabbitMQAdapter   two connections (what is sent may be held up by the broker, what is settled must not be)
    Link, Wire        a connection: aiormq makes it and keeps it alive; frames of our own channels go past aiormq
    Lane              one of these channels; a Publisher's messages are confirmed, a receiver's are leased
    topology, delays  which queues there are, and what of their settings cannot keep the promises

There is no plugin to install: a delayed message waits in a queue of its own whose messages expire into the right one.
"""

from leveler_rabbitmq.adapter import RabbitMQAdapter as RabbitMQAdapter
from leveler_rabbitmq.options import RabbitMQOptions as RabbitMQOptions

__all__ = ["RabbitMQAdapter", "RabbitMQOptions"]

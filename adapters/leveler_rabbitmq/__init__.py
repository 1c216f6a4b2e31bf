"""The RabbitMQ adapter: quorum queues of RabbitMQ 3.10 and newer, with every copy confirmed before its source goes.

    RabbitMQAdapter    queues: made, checked, dropped, counted
    Connections, Link  two connections; aiormq makes them and keeps them alive
    Wire, Lane         their bytes: frames of our own channels go past aiormq
    Post, Publisher    what is sent, and confirmed
    Source, Feed       what comes, and goes back
    delays, Rooms      where they wait
    topology           which queues there are, and what of their settings cannot keep the promises

There is no plugin to install: a delayed message waits in a queue of its own whose messages expire into the right one.
"""

from leveler_rabbitmq.adapter import RabbitMQAdapter as RabbitMQAdapter
from leveler_rabbitmq.options import RabbitMQOptions as RabbitMQOptions

__all__ = ["RabbitMQAdapter", "RabbitMQOptions"]

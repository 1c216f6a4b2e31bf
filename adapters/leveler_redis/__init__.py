"""The Redis adapter: each queue is a stream with one consumer group, and scripts make every verb atomic.

    RedisAdapter   one server; makes senders and receivers
    Wire           one connection: what is asked goes out at once, answers come in order
    Script         one of the files in `lua`: what happens on the server, at once or not at all
    Keys           where a queue lives there

A lease is the time for which a pending entry has been idle, by the server's clock. An entry is given to one consumer
and to no other; what comes back is a new entry. So whoever has the id of an entry that is still there holds its lease;
after a reconnection its name must stand there as well. What is durable is the server's affair: `declare` says what it
finds.
"""

from leveler_redis.adapter import RedisAdapter as RedisAdapter
from leveler_redis.options import RedisOptions as RedisOptions

__all__ = ["RedisAdapter", "RedisOptions"]

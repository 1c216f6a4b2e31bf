"""Azure Service Bus, on the vendor's client; and `leveler_servicebus.emulator`, a server for tests and laptops.

    adapter, options     ServiceBusAdapter: one namespace; makes senders and receivers
    place                what the URL means
    admin                queues made, checked, counted, through the admin API
    links                senders and receivers of the client library's, made again when they have failed
    seen                 a message that was looked at, also one that the client library cannot read
    settlement           many messages in one request
    ordered_receiver     of an ordered queue: what it does with the sessions that it has
    sessions, turn       which sessions it has, and how one connection has one after another
    session              one key that is ours for a while
    session_link         the way to it, on the insides of the client library

A lease is a peek-lock, and its lock token shows that it is ours. The service dead-letters by itself, with reason and
description, and counts what fails. It cannot give back later, or uncounted: then a confirmed copy is sent, with the
next generation in its id, so that a queue that drops duplicates keeps it; and the source is completed.

In an ordered queue a key is a session, whose lock is the lease of all that is out of it. A delay keeps the session
locked, and what must not count goes back when it is given up.

Nothing is imported here: whoever has come for the emulator needs no client.
"""

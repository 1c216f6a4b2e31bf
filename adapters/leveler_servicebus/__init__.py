"""Azure Service Bus, on the vendor's client; and `leveler_servicebus.emulator`, a server for tests and laptops.

    adapter, options     ServiceBusAdapter: one namespace; makes senders and receivers
    place                what the URL means
    admin                queues made, checked, counted, through the admin API
    links                senders and receivers of the client library's, made again when they have failed
    settlement           many messages in one request

A lease is a peek-lock, and its lock token shows that it is ours. The service dead-letters by itself, with reason and
description, and counts what fails. It cannot give back later, or uncounted: then a confirmed copy is sent, with the
next generation in its id, so that a queue that drops duplicates keeps it; and the source is completed.

Nothing is imported here: whoever has come for the emulator needs no client.
"""

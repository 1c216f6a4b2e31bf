"""A TCP proxy that knows what passes through it, and cuts, swallows or slows it at the chosen moment.

unit.py       a piece of a conversation that is passed on whole or not at all
amqp.py       the units of AMQP 0-9-1
resp.py       the units of Redis's protocol
http.py       the units of HTTP/1.1
sqs.py        the same as SQS speaks it, and what the service itself may do to its clients
weather.py    what the proxy does to a conversation now
proxy.py      the proxy
"""

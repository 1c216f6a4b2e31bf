"""A TCP proxy that knows what passes through it, and cuts, swallows or slows it at the chosen moment.

unit.py       a piece of a conversation that is passed on whole or not at all
amqp.py       the units of AMQP 0-9-1
resp.py       the units of Redis's protocol
http.py       the requests and replies of HTTP/1.1
sqs.py        ... as SQS speaks it, and what the service itself may do to them
weather.py    what the proxy does to a conversation now
proxy.py      the proxy
"""

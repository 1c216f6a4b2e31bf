"""The SQS adapter: standard and FIFO queues of Amazon SQS, over aiobotocore.

    SQSAdapter     one region of one account, or an emulator; makes senders and receivers
    Calls          one client: each request has a deadline, and none is ever repeated by the client library
    Polls          long polls, as many as there is reason for
    Gathering      settlements that come within a moment share a request of ten

A receive that is under way is never cancelled: the service may have leased messages that nobody would ever see. It is
awaited, and what it brings too late goes back. SQS accepts settlements whose lease is over, so the end of a lease is
kept here.
"""

from leveler_sqs.adapter import SQSAdapter as SQSAdapter
from leveler_sqs.options import SQSOptions as SQSOptions

__all__ = ["SQSAdapter", "SQSOptions"]

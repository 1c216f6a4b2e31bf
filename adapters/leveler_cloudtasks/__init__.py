"""Google Cloud Tasks. The service calls the workers over HTTP, and what they answer settles the delivery.

In the order in which a message travels:

    place.py, options.py    where
    queues.py               made and checked
    headers.py              a message as headers and body
    tasks.py, sender.py     queued
    push/                   called, and answered
    verification.py         by whom; keys.py, how that is known
    attempt.py              for the how many-th time
    receiver.py             what takes a copy
    dead.py                 dead letters, pulled
    inspection.py           depth, peek, purge
    client.py, errors.py    the calls

`emulator/` is the service itself, on this machine: ``leveler emulate cloudtasks``.
"""

from leveler_cloudtasks.adapter import CloudTasksAdapter as CloudTasksAdapter
from leveler_cloudtasks.adapter import mounted as mounted
from leveler_cloudtasks.options import CloudTasksOptions as CloudTasksOptions

__all__ = ["CloudTasksAdapter", "CloudTasksOptions", "mounted"]

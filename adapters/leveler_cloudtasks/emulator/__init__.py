"""Google Cloud Tasks, emulated: the gRPC service on google-cloud-tasks' own messages, and its HTTP dispatcher.

In the order in which a task travels:

    service.py      the RPCs
    batches.py      the two that take many
    broker.py       what they do with queues and tasks
    rules.py        what is refused
    settings.py     what a queue is made of
    queue.py        the tasks of one queue, by their time; bucket.py, its rate
    dispatcher.py   what is due is called
    caller.py       as one HTTP request; identity.py, who calls
    backoff.py      what failed is tried again, or not
    store.py        what a restart remembers
"""

from leveler_cloudtasks.emulator.emulator import CloudTasksEmulator as CloudTasksEmulator
from leveler_cloudtasks.emulator.emulator import EmulatorOptions as EmulatorOptions
from leveler_cloudtasks.emulator.emulator import Served as Served

__all__ = ["CloudTasksEmulator", "EmulatorOptions", "Served"]

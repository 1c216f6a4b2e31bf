"""leveler: queue-based load leveling. Producers burst, a queue absorbs, consumers take what the downstream can bear.

The tour, in the order in which a message travels:

    app.py                      Leveler: handlers are registered on it, messages are sent through it
    registration.py, queue.py   what ``@app.consumer`` says; the typed handle of a queue
    producer.py, together.py    encode, stamp, check, send; single sends of one moment share a call
    pressure.py, forecast.py    wait for room in a queue that is full, or say so; how long one would wait in it
    message.py, codec.py        the envelope; typed value <-> bytes
    checks.py                   what a sender may write into it, so that every broker can carry it
    discovery.py, adapter.py    URL -> adapter; the contract that adapters implement
    holdings.py, bell.py        for adapters: what a receiver has handed out; what ends its wait for more
    config/, units.py           leveler.yaml and LEVELER_* -> settings; durations, sizes and rates in words
    fitting.py                  settings from code are of the kinds that they should be
    downstreams.py              what the limits protect, and who shares them
    fleet.py, schedule.py       rates that all processes have together, in a store; what the store keeps of them
    runtime.py, worker.py       a started app: brokers connected, queues declared, consumers running until a signal
    consumer/                   the way of a delivery through a process, one room a step
      receiving.py              a receiver for as long as the consumer lives
      intake.py                 how many to ask for now, and the loop that asks
      watchdog.py               a receiver that brings nothing although there is something is made anew
      arrival.py                what becomes of a delivery before it is started
      buffer.py, held.py        what was received and not started yet; a delivery in this process
      consumer.py               the spine: acquire -> decode -> handle -> decide -> settle -> release
      series.py                 one delivery after another, as long as no handler waits
      batches.py                the spine where a handler takes many at once: gathering.py, batch.py
      limits/                   what the downstream bears
      handler.py, threads.py    run one handler, ``def`` ones in threads; what it does becomes an outcome
      lease.py                  keep deliveries ours while their handlers run
      decision.py               outcome -> what becomes of the delivery, with retry.py
      settlement.py             ... carried out exactly once, in batches
      returns.py                back to the broker, unstarted
      standby.py                nothing is held for a downstream that takes nothing
      parking.py                kept leased for later, where the broker cannot give back without counting
      quarantine.py             a message that may kill its process starts alone
      runs.py, loops.py         what runs now; the tasks of a consumer
      report.py, logbook.py     what a consumer counts and tells; in which words it stands in the log
      surroundings.py           what it shares with its process
    deadletter.py               browse, replay, purge what was given up
    events.py                   named moments for metrics and tests
    wording.py                  text that may be anybody's, in a line of ours
    monitor/                    the figures of a running app: over HTTP, for Prometheus, for ``leveler top``
    supervisor/                 several worker processes, as many as are useful
    blocking.py                 the same sends, without an event loop
    cli/, demo/                 the command, one file each; a burst to look at
    testing/                    for users' tests and for adapters: TestApp, the contract suite, the model, faults
    http.py                     what the answer of an HTTP downstream means
    errors.py, outcome.py, retry.py, settings.py, clock.py, patience.py    the words that all of them share
"""

# Users' first: an app, its handlers, what they may say
from leveler.app import Leveler as Leveler
from leveler.queue import Queue as Queue
from leveler.blocking import Blocking as Blocking
from leveler.consumer.batch import BatchContext as BatchContext
from leveler.consumer.held import Context as Context
from leveler.outcome import BatchFailed as BatchFailed
from leveler.outcome import Completed as Completed
from leveler.outcome import Outcome as Outcome
from leveler.outcome import Reject as Reject
from leveler.outcome import Retry as Retry
from leveler.outcome import Snooze as Snooze
from leveler.outcome import Throttled as Throttled

# What travels
from leveler.message import Death as Death
from leveler.message import Message as Message

# Policy
from leveler.consumer.limits import BreakerPolicy as BreakerPolicy
from leveler.retry import RetryPolicy as RetryPolicy
from leveler.settings import Adaptive as Adaptive
from leveler.settings import BrokerSettings as BrokerSettings
from leveler.settings import ConsumerSettings as ConsumerSettings
from leveler.settings import LimitSettings as LimitSettings
from leveler.settings import Processes as Processes
from leveler.settings import QueueSettings as QueueSettings
from leveler.settings import Settings as Settings

# What can be seen
from leveler.adapter import Capabilities as Capabilities
from leveler.adapter import Depth as Depth
from leveler.deadletter import DeadLetters as DeadLetters
from leveler.events import Event as Event
from leveler.monitor.figures import AppFigures as AppFigures
from leveler.runtime import Health as Health

# What can go wrong
from leveler.errors import AccessDenied as AccessDenied
from leveler.errors import AdapterNotFound as AdapterNotFound
from leveler.errors import BatchError as BatchError
from leveler.errors import BrokerError as BrokerError
from leveler.errors import BrokerUnavailable as BrokerUnavailable
from leveler.errors import ConfigError as ConfigError
from leveler.errors import DecodeError as DecodeError
from leveler.errors import EncodeError as EncodeError
from leveler.errors import InvalidMessage as InvalidMessage
from leveler.errors import LeaseLost as LeaseLost
from leveler.errors import LevelerError as LevelerError
from leveler.errors import MessageError as MessageError
from leveler.errors import MessageTooLarge as MessageTooLarge
from leveler.errors import NotStarted as NotStarted
from leveler.errors import QueueFull as QueueFull
from leveler.errors import QueueNotFound as QueueNotFound
from leveler.errors import ReceiverLost as ReceiverLost
from leveler.errors import SendUnknown as SendUnknown
from leveler.errors import UnknownType as UnknownType
from leveler.errors import Unsupported as Unsupported

__version__ = "0.1.0"

__all__ = [
    "Leveler",
    "Queue",
    "Blocking",
    "BatchContext",
    "Context",
    "BatchFailed",
    "Completed",
    "Outcome",
    "Reject",
    "Retry",
    "Snooze",
    "Throttled",
    "Death",
    "Message",
    "BreakerPolicy",
    "RetryPolicy",
    "Adaptive",
    "BrokerSettings",
    "ConsumerSettings",
    "LimitSettings",
    "Processes",
    "QueueSettings",
    "Settings",
    "Capabilities",
    "Depth",
    "DeadLetters",
    "Event",
    "AppFigures",
    "Health",
    "AccessDenied",
    "AdapterNotFound",
    "BatchError",
    "BrokerError",
    "BrokerUnavailable",
    "ConfigError",
    "DecodeError",
    "EncodeError",
    "InvalidMessage",
    "LeaseLost",
    "LevelerError",
    "MessageError",
    "MessageTooLarge",
    "NotStarted",
    "QueueFull",
    "QueueNotFound",
    "ReceiverLost",
    "SendUnknown",
    "UnknownType",
    "Unsupported",
]

"""What a downstream bears, as small values that compose: each limit answers these questions and a gate asks them.

how many could start by then?    Limit.credit
how long until one may start?    Limit.wait
how many may follow each other?  Limit.series
one starts / one has ended       Limit.start / Limit.finish; Limit.take_back for one that did not start after all
a run takes several messages     Weighing.charge, where messages are counted and not runs
what does it show of itself?     Shown.figures, where it has something to show
when was it too low for us?      Finding.held_back_at, where it finds out what is borne
"""

from leveler.consumer.limits.adaptive import AdaptiveConcurrency as AdaptiveConcurrency
from leveler.consumer.limits.adaptive import Phase as Phase
from leveler.consumer.limits.algorithms import Adaptive as Adaptive
from leveler.consumer.limits.algorithms import adaptive as adaptive
from leveler.consumer.limits.breaker import Breaker as Breaker
from leveler.consumer.limits.breaker import BreakerPolicy as BreakerPolicy
from leveler.consumer.limits.breaker import State as State
from leveler.consumer.limits.concurrency import FixedConcurrency as FixedConcurrency
from leveler.consumer.limits.fleet import FleetRate as FleetRate
from leveler.consumer.limits.gate import Gate as Gate
from leveler.consumer.limits.gate import Limits as Limits
from leveler.consumer.limits.limit import Figures as Figures
from leveler.consumer.limits.limit import Finding as Finding
from leveler.consumer.limits.limit import Limit as Limit
from leveler.consumer.limits.limit import Refusal as Refusal
from leveler.consumer.limits.limit import Shown as Shown
from leveler.consumer.limits.limit import Verdict as Verdict
from leveler.consumer.limits.limit import Weighing as Weighing
from leveler.consumer.limits.memory import Memory as Memory
from leveler.consumer.limits.rate import Rate as Rate

__all__ = [
    "Adaptive",
    "AdaptiveConcurrency",
    "Breaker",
    "BreakerPolicy",
    "Figures",
    "Finding",
    "FixedConcurrency",
    "FleetRate",
    "Gate",
    "Limit",
    "Limits",
    "Memory",
    "Phase",
    "Rate",
    "Refusal",
    "Shown",
    "State",
    "Verdict",
    "Weighing",
    "adaptive",
]

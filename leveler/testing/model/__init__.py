"""Model-based runs: any adapter against one reference, at random, with leases, delays, crashes and time.

Needs Hypothesis, which is a dependency of the tests that use it and not of leveler.
"""

from leveler.testing.model.machine import Machine as Machine
from leveler.testing.model.reference import Reference as Reference
from leveler.testing.model.suite import model_test as model_test
from leveler.testing.model.violation import Violation as Violation

__all__ = ["Machine", "Reference", "Violation", "model_test"]

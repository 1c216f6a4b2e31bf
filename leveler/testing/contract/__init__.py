"""The contract suite: every sentence of `leveler.adapter`, tried on any adapter.

An adapter's author writes a `Target` and runs the cases, with pytest (`pytest_suite.ContractSuite`) or without
(`run`). A case that needs a capability which is not claimed is gated; one that is claimed and absent fails; and what
is there but not claimed fails for extend, delay, peek and ordering.
"""

from leveler.testing.contract.case import Case as Case
from leveler.testing.contract.case import Gated as Gated
from leveler.testing.contract.case import Need as Need
from leveler.testing.contract.case import case as case
from leveler.testing.contract.cases import cases as cases
from leveler.testing.contract.report import Report as Report
from leveler.testing.contract.report import Result as Result
from leveler.testing.contract.rig import Rig as Rig
from leveler.testing.contract.rig import errors_of as errors_of
from leveler.testing.contract.runner import run as run
from leveler.testing.contract.runner import run_case as run_case
from leveler.testing.contract.target import Target as Target
from leveler.testing.contract.target import UrlTarget as UrlTarget

__all__ = [
    "Case",
    "Gated",
    "Need",
    "Report",
    "Result",
    "Rig",
    "Target",
    "UrlTarget",
    "case",
    "cases",
    "errors_of",
    "run",
    "run_case",
]

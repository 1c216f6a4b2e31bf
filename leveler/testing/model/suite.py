"""The runs as a test case, for pytest and unittest."""

from __future__ import annotations

import os
import unittest

import hypothesis
from hypothesis import HealthCheck, Phase, settings

from leveler.testing.contract.target import Target
from leveler.testing.model.machine import Machine


def model_test(target: Target, *, examples: int = 100, steps: int = 40, shrink: bool = True) -> type[unittest.TestCase]:
    """A test that does at random what may be done to a queue, and checks each step against the reference model.

        TestMine = model_test(MyTarget())

    After each run everything is drained: what was accepted and does not come is lost. A run that fails is cut down to
    the shortest one that fails, and printed: the steps, what each did and when, and a line to replay it.

    Args:
        target: the adapter, and how to reach its broker. With a `grace_seconds` of 0 nothing may be late at all; with
            more, the model waits for what the broker may still be doing, and knows that receivers fetch ahead.
        examples: how many runs.
        steps: how many steps of one run, at most.
        shrink: whether a run that fails is cut down; where time is real that takes many minutes.

    Environment:
        LEVELER_TEST_EXAMPLES: how many runs, whatever `examples` says: 5000 for a night.
        LEVELER_TEST_SEED: a number, for the same runs again. (pytest has ``--hypothesis-seed`` for it, too.)
        LEVELER_TEST_REPLAY: the text between the quotes of a printed ``@reproduce_failure(version, b'...')``: that
            run and no other.
    """

    class Model(Machine):
        pass

    Model.__name__ = Model.__qualname__ = f"Model of {target.name}"
    Model.target = target
    if (chosen := os.environ.get("LEVELER_TEST_SEED")) is not None:
        hypothesis.seed(int(chosen))(Model)
    if (blob := os.environ.get("LEVELER_TEST_REPLAY")) is not None:
        hypothesis.reproduce_failure(hypothesis.__version__, blob.encode())(Model)
    case = Model.TestCase
    case.settings = settings(
        max_examples=int(os.environ.get("LEVELER_TEST_EXAMPLES", examples)),
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else [])],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    return case

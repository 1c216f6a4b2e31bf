"""Surroundings: what a consumer shares with the rest of its process."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leveler.adapter import Adapter
from leveler.clock import Clock
from leveler.consumer.handler import Middleware
from leveler.consumer.quarantine import Quarantine
from leveler.events import Observers


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is there before a consumer, and outlives it."""

    adapter: Adapter
    clock: Clock
    rng: random.Random
    quarantine: Quarantine
    observers: Observers
    middleware: Sequence[Middleware] = ()
    #: What the app's lifespan yielded.
    state: Any = None

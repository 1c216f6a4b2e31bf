"""What a broker can do, as its adapter declares it, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from leveler.cli.terminal import table

if TYPE_CHECKING:
    from leveler.adapter import Capabilities


def capabilities_data(can: Capabilities) -> dict[str, Any]:
    """Plain values; what has no end is None, as JSON has no infinity."""
    return {name: _finite(value) for name, value in asdict(can).items()}


def capabilities_table(can: Capabilities) -> str:
    rows = [[name.replace("_", " "), _shown(name, value)] for name, value in asdict(can).items() if name != "degraded"]
    rows += [["degraded", line] for line in can.degraded]
    return table(["CAPABILITY", "HERE"], rows)


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(part) for part in value]
    return None if value == float("inf") else value


def _shown(name: str, value: Any) -> str:
    from leveler import units

    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " to ".join(units.duration(part) for part in value)
    if name.endswith("_seconds"):
        return units.duration(value)
    if name.endswith("_bytes"):
        return units.size(value)
    return str(value)

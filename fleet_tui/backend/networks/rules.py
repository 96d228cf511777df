"""Settings of spec 18 that networks follow, as the daemon was told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleet_tui.backend.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rules:
    gc_interval_s: float = 600.0
    """``network.gc.interval``: how often networks without a running VM are looked for."""
    gc_wait_s: float = 600.0
    """``network.gc.wait``: so long one stays unused before it is shut down."""
    dedicated_fallback: bool = True
    """``vlan.dedicated.fallback``: whether an owner whose own IDs are all taken may take from the pool."""
    drift_s: float = 900.0
    """``vlan.drift.interval``: how often hosts are asked which interfaces they have."""


RULES = tuple(Rules.__dataclass_fields__)
"""What can be set as text."""


def rules_of(text: str) -> Rules:
    """Rules from ``name=value,…``; what is not named keeps its default.

    Raises:
        UsageError: a name or a value is not understood.
    """
    told: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in RULES:
            raise UsageError(f"there is no network setting {name!r}", hint=f"known: {', '.join(RULES)}")
        told[name] = _setting(name, value)
    return Rules(**told)


def _setting(name: str, value: str) -> Any:
    try:
        if name == "dedicated_fallback":
            return {"true": True, "false": False}[value]
        seconds = float(value)
        if not 0.1 <= seconds <= 7 * 86_400:
            raise ValueError
        return seconds
    except (KeyError, ValueError):
        raise UsageError(f"{value!r} is no value of network setting {name}") from None

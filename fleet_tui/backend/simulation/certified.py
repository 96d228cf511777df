"""What is wrong with certificates of a simulated site: one has ended. The others are in `served`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.simulation.blueprint import InstancePlan

ENDED_DAYS = -1.2


def let_one_end(plans: Sequence[InstancePlan]) -> None:
    """Of those whose certificates end soon, the one that ends first has been forgotten."""
    running = [plan for plan in _serving(plans) if plan.certificate_days < 14]
    if len(running) > 1:
        min(running, key=lambda plan: plan.certificate_days).certificate_days = ENDED_DAYS


def _serving(plans: Sequence[InstancePlan]) -> Iterator[InstancePlan]:
    return (plan for plan in plans if plan.is_tls and plan.state is InstanceState.RUNNING and not plan.failed_stage)

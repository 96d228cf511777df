"""What is wrong with certificates of a simulated site: one has ended, and some instances serve another than is on record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from fleet_tui.backend.certificates.rows import CertificateRow
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.simulation.blueprint import InstancePlan
from fleet_tui.backend.simulation.rows import insert_rows

ENDED_DAYS = -1.2
_DIFFER = 2
"""Instances that serve another certificate, at most."""
_EVERY = 40
"""Of so many instances one differs."""


def let_one_end(plans: Sequence[InstancePlan]) -> None:
    """Of those whose certificates end soon, the one that ends first has been forgotten."""
    running = [plan for plan in _serving(plans) if plan.certificate_days < 14]
    if len(running) > 1:
        min(running, key=lambda plan: plan.certificate_days).certificate_days = ENDED_DAYS


def enter(tx: Session, plans: Sequence[InstancePlan], now: datetime) -> None:
    """What was seen of those that differ, some time ago. No certificate is kept, so nobody looks again and finds nothing."""
    well = [plan for plan in _serving(plans) if plan.certificate_days > 60 and plan.health is Health.OK and not plan.pending]
    insert_rows(tx, CertificateRow, [
        {
            "ref": f"instance:{plan.id}", "kind": "self_signed", "pem": "", "not_after": now + timedelta(days=plan.certificate_days),
            "untrusted": False,
            "served_at": now - timedelta(minutes=11 * number), "served_pem": "", "served_problem": "", "mismatch": True, "renew_at": None,
            "renewal_problem": "", "retry_at": None, "order_url": "", "order_for": "",
        }
        for number, plan in enumerate(well[: min(_DIFFER, len(plans) // _EVERY)], 1)
    ])


def _serving(plans: Sequence[InstancePlan]) -> Iterator[InstancePlan]:
    return (plan for plan in plans if plan.is_tls and plan.state is InstanceState.RUNNING and not plan.failed_stage)

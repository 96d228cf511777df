"""Certificates of a simulated site: which instances have one of which strategy, and what is amiss with some."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates import made_up, material
from fleet_tui.backend.certificates.keys import context_of, mark_of
from fleet_tui.backend.certificates.rows import CertificateRow
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.simulation.blueprint import GIVEN, ORDERED, InstancePlan
from fleet_tui.backend.simulation.history import host_name, phases_through
from fleet_tui.backend.store import Store

CA, ACME_CA, STAGING_CA = "Example Issuing CA 2", "Example ACME R11", "(STAGING) Example ACME R3"
_ZONE = ".shop.example"
WITH_CERTIFICATE = 250
"""So many have the certificate itself on record; of the others only its end and fingerprint are."""


@dataclass(frozen=True, slots=True)
class Certified:
    """An instance's certificate: what its agent set up, what is served, and what its settings have."""

    pem: str
    served: str
    """Another one where somebody forgot to restart something."""
    saved: made_up.Pair | None = None
    """Of the strategy ``per_instance``; another one waits for a reprovision."""
    applied: made_up.Pair | None = None
    row: Mapping[str, Any] | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        return made_up.facts_of(self.pem)

    @property
    def settings(self) -> Mapping[str, Any]:
        return _settings(self.saved)

    @property
    def settings_applied(self) -> Mapping[str, Any]:
        return _settings(self.applied)


def _settings(pair: made_up.Pair | None) -> Mapping[str, Any]:
    return {} if pair is None else {"ssl.certificate_pem": pair.pem, "ssl.private_key_pem": mark_of(material.key_id(pair.key_pem))}


def enter(tx: Session) -> None:
    """The virtual networks of both, where they are not there yet."""
    for label, strategy, mail in ((GIVEN, "per_instance", ""), (ORDERED, "letsencrypt", "certificates@shop.example")):
        if tx.scalar(select(NetworkRow.id).where(NetworkRow.label == label)) is None:
            named = {"id": f"n-{label}", "label": label, "provider": "fake", "https_strategy": strategy}
            tx.add(NetworkRow(**named, http_mode="redirect", contact_mail=mail))


def has_certificate(plan: InstancePlan) -> bool:
    return plan.is_tls and plan.has_disk and phases_through(plan.failed_stage) > 3


def make(plans: Sequence[InstancePlan], now: datetime) -> Mapping[str, Certified]:
    """By id of the instance. The first of each network show what can be amiss: of the self-signed ones, the first that is well otherwise."""
    wanted = [plan for plan in plans if has_certificate(plan)]
    special = [plan for plan in wanted if plan.network in (GIVEN, ORDERED)]
    others = sorted((plan for plan in wanted if plan not in special), key=lambda plan: not _is_well(plan))
    found, turns = {}, dict.fromkeys(("", GIVEN, ORDERED), 0)
    for plan in [*special, *others][:WITH_CERTIFICATE]:
        turn = turns[plan.network]
        turns[plan.network] = turn + 1
        found[plan.id] = _MAKERS.get(plan.network, _own)(plan, turn, now)
    return found


def _own(plan: InstancePlan, turn: int, now: datetime) -> Certified:
    ends, names = now + timedelta(days=plan.certificate_days), (plan.label, host_name(plan), plan.address)
    pem = made_up.issue(plan.seed, names, now - timedelta(days=plan.age_days), ends).pem
    before = made_up.issue(f"{plan.seed}:before", names, now - timedelta(days=plan.age_days + 300), ends).pem
    served = before if turn == 0 and _is_well(plan) else pem
    return Certified(pem, served, row=_row(plan, pem, served, now))


def _is_well(plan: InstancePlan) -> bool:
    return plan.health is Health.OK and not plan.pending and plan.certificate_days > 60


def _given(plan: InstancePlan, turn: int, now: datetime) -> Certified:
    """The first serves what it had before; the second has another one saved; the third ends soon; the others are well."""
    days = 4.5 if turn == 2 else plan.certificate_days
    names = (domain_of(plan), host_name(plan), plan.address)
    pair = made_up.issue(plan.seed, names, now - timedelta(days=80), now + timedelta(days=days), CA)
    before = made_up.issue(f"{plan.seed}:before", names, now - timedelta(days=360), now + timedelta(days=11), CA)
    after = made_up.issue(f"{plan.seed}:after", names, now - timedelta(hours=3), now + timedelta(days=364), CA)
    served = before.pem if turn == 0 else pair.pem
    return Certified(pair.pem, served, after if turn == 1 else pair, pair, _row(plan, pair.pem, served, now))


def _ordered(plan: InstancePlan, turn: int, now: datetime) -> Certified:
    """The first is of a staging directory; the renewal of the second fails; the others are well."""
    days = 9.0 if turn == 1 else 62.0
    authority = STAGING_CA if turn == 0 else ACME_CA
    pem = made_up.issue(plan.seed, (domain_of(plan),), now + timedelta(days=days - 90), now + timedelta(days=days), authority).pem
    more: dict[str, Any] = {"renew_at": now + timedelta(days=max(0.6, days - 30)), "untrusted": turn == 0}
    if turn == 1:
        more |= {"renewal_problem": "too many certificates were issued for example.org this week", "retry_at": now + timedelta(hours=9)}
    return Certified(pem, pem, row=_row(plan, pem, pem, now, **more))


_MAKERS: Mapping[str, Callable[[InstancePlan, int, datetime], Certified]] = {GIVEN: _given, ORDERED: _ordered}


def domain_of(plan: InstancePlan) -> str:
    return f"{plan.label}{_ZONE}"


def settings_of(plan: InstancePlan) -> dict[str, Any]:
    """What an instance of the strategy ``letsencrypt`` needs."""
    return {"domains": [domain_of(plan)], "public_ip_allocation": public_ip(plan)} if plan.network == ORDERED else {}


def public_ip(plan: InstancePlan) -> str:
    """Of a network for documentation (RFC 5737)."""
    return f"198.51.100.{random.Random(plan.seed).randint(1, 254)}"


def _row(plan: InstancePlan, pem: str, served: str, now: datetime, **more: Any) -> dict[str, Any]:
    is_up = plan.state is InstanceState.RUNNING
    values: dict[str, Any] = {
        "ref": f"instance:{plan.id}", "kind": plan.strategy, "pem": pem,
        "not_after": material.describe(pem).not_after, "untrusted": False, "served_at": now - timedelta(minutes=4) if is_up else None,
        "served_pem": served[: served.index("-----END") + 26] if is_up else "", "served_problem": "", "mismatch": is_up and served != pem,
        "renew_at": None, "renewal_problem": "", "retry_at": None, "order_url": "", "order_for": "",
    }  # fmt: skip
    return {**values, **more}


def keys_of(plans: Sequence[InstancePlan], found: Mapping[str, Certified], sealer: Sealer, now: datetime) -> Iterator[dict[str, Any]]:
    """Rows of the keys that were entered."""
    for plan in plans:
        pairs = {pair.pem: pair for pair in (found[plan.id].saved, found[plan.id].applied) if pair is not None} if plan.id in found else {}
        for pair in pairs.values():
            ref, key_id = f"instance:{plan.id}", material.key_id(pair.key_pem)
            sealed = sealer.seal(pair.key_pem.encode(), context_of(ref, key_id))
            yield {"ref": ref, "key_id": key_id, "sealed": sealed, "created_at": now - timedelta(days=1)}


def leads(store: Store, domain: str) -> list[str]:
    """Where the name of a simulated instance leads; other names lead nowhere."""
    label, dot, rest = domain.partition(".")
    with store.read() as tx:
        row = tx.scalar(select(InstanceRow).where(InstanceRow.label == label)) if f"{dot}{rest}" == _ZONE else None
        return [] if row is None else list(filter(None, [str(row.settings.get("public_ip_allocation") or "")]))


def shown(store: Store, address: str) -> bytes:
    """What a simulated instance shows to those who connect: what is on record, or what it went on with when it was looked at last.

    Raises:
        ConnectionRefusedError: nothing serves HTTPS at that address.
    """
    with store.read() as tx:
        row = tx.scalar(
            select(CertificateRow).join(InstanceRow, CertificateRow.ref == "instance:" + InstanceRow.id)
            .where((InstanceRow.private_ip == address) | (InstanceRow.public_ip == address), InstanceRow.state == InstanceState.RUNNING.value)
        )  # fmt: skip
        pem = "" if row is None else row.served_pem if row.mismatch else row.pem
    if not pem:
        raise ConnectionRefusedError
    return made_up.leaf_of(pem)

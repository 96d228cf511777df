"""Filling an empty store with a simulated site: ten thousand instances in seconds, by bulk inserts in one transaction."""

from __future__ import annotations

import hashlib
import logging
import random
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates.rows import CertificateKeyRow, CertificateRow
from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import InternalError
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.instances import links
from fleet_tui.backend.instances.fields import defaults
from fleet_tui.backend.instances.rows import InstanceRow, SnapshotRow
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.operations.rows import OperationRow, StepRow
from fleet_tui.backend.providers import MachineState, Provider
from fleet_tui.backend.providers.actor import VERSION, fingerprint
from fleet_tui.backend.providers.fake import FakeProvider
from fleet_tui.backend.providers.ledger import Disk, Machine, Snapshot
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.simulation import blueprint, certified, history, past_operations, premises, served, vm_plans
from fleet_tui.backend.simulation.blueprint import GIB, ORDERED, InstancePlan
from fleet_tui.backend.simulation.history import Past
from fleet_tui.backend.simulation.registers import GONE, TEMPLATE_VERSION, Registers, enter
from fleet_tui.backend.simulation.rows import insert_rows
from fleet_tui.backend.simulation.served import Certified
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry.masking import Masker
from fleet_tui.backend.telemetry.rows import AgentRow, LineRow, StreamRow
from fleet_tui.backend.text import clean

_log = logging.getLogger(__name__)

SSL_FIELDS = ("ssl.certificate_pem", "ssl.private_key_pem")
DETAILED = 250
"""Instances that are well and have their whole log all the same."""


def populate(store: Store, provider: Provider, world: FakeWorld, sealer: Sealer, *, instances: int = 200, hosts: int = 24, seed: int = 7,
             clock: Clock | None = None) -> bool:
    """Make the site, once; a store that has hosts already is left as it is. Says whether it was made.

    The same numbers and seed give the same site, at whatever time it is made.
    """
    if not isinstance(provider, FakeProvider):
        raise InternalError(f"a simulated site runs on the fake provider, not on {provider.name}")
    now = (clock or SystemClock()).now()
    places = blueprint.hosts(hosts, seed)
    provider.hosts = tuple(host.name for host in places if host.takes_machines) or provider.hosts
    provider.gone = GONE
    provider.label_of = lambda disk_id: _owner(store, disk_id)
    with store.read() as tx:
        if tx.scalar(select(HostRow.id).limit(1)) is not None:
            return False
    _log.info("making up a fleet of %d instances on %d hosts", instances, hosts)
    plans = blueprint.instances(instances, places, seed)
    certified.let_one_end(plans)
    done, failures = past_operations.make(plans, now, seed)
    certificates = served.make(plans, now)
    with store.write() as tx:
        clusters = vm_plans.clusters(places)
        premises.enter(tx, world, sealer, clusters, vm_plans.make(clusters, seed), now, seed)
        _log.info("making up their past")
        served.enter(tx)
        registers = enter(tx, provider.directory / "bundles", now, sealer)
        pasts = {plan.id: _past(plan, number, registers, now, failures) for number, plan in enumerate(plans)}
        _log.info("storing %d instances", instances)
        _insert_instances(tx, provider, plans, pasts, registers, now, certificates)
        insert_rows(tx, CertificateRow, [dict(found.row) for found in certificates.values() if found.row is not None])
        insert_rows(tx, CertificateKeyRow, list(served.keys_of(plans, certificates, sealer, now)))
        _log.info("storing their logs")
        _insert_lines(tx, plans, pasts)
        _log.info("storing %d past operations", len(done))
        insert_rows(tx, OperationRow, [past.operation for past in done])
        insert_rows(tx, StepRow, [step for past in done for step in past.steps])
        insert_rows(tx, EventRow, sorted([past.event for past in done] + _complaints(plans, pasts, now), key=lambda event: event["time"]))
    return True


def _owner(store: Store, disk_id: str) -> str:
    with store.read() as tx:
        return tx.scalar(select(InstanceRow.label).where(InstanceRow.disk_id == disk_id)) or ""


def _past(plan: InstancePlan, number: int, registers: Registers, now: datetime, failures: Any) -> Past:
    is_detailed = number < DETAILED or bool(plan.failed_stage) or plan.health not in (None, Health.OK)
    return history.of(plan, registers.actions[plan.role.name], now, operation=failures.get(plan.id), is_detailed=is_detailed)


# --- instances -------------------------------------------------------------------------------------------------------


def _insert_instances(tx: Session, provider: FakeProvider, plans: Sequence[InstancePlan], pasts: dict[str, Past], registers: Registers,
                      now: datetime, certificates: Mapping[str, Certified]) -> None:
    insert_rows(tx, InstanceRow, [_instance(plan, provider, registers, now, certificates.get(plan.id)) for plan in plans])
    machines = [_machine(plan, pasts[plan.id]) for plan in plans if plan.has_machine]
    by_id = {plan.machine: plan for plan in plans}
    insert_rows(tx, AgentRow, [_agent(by_id[machine.id], machine, pasts[by_id[machine.id].id], now) for machine in machines])
    disks = {plan.id: _disk(plan, now, certificates.get(plan.id)) for plan in plans if plan.has_disk}
    snapshots = [(plan, f"s-{plan.id[2:]}") for plan in plans if plan.has_disk and plan.role.name == "db"][:40]
    insert_rows(tx, SnapshotRow, [
        {
            "id": name, "instance_id": plan.id, "instance_label": plan.label, "disk_id": plan.disk, "provider": provider.name,
            "reason": "before the upgrade", "automatic": False, "size_bytes": disks[plan.id].used_bytes, "created_at": now - timedelta(days=2),
        }
        for plan, name in snapshots
    ])
    kept = [Snapshot(name, plan.disk, disks[plan.id].used_bytes, dict(disks[plan.id].facts)) for plan, name in snapshots]
    provider.adopt(machines, disks.values(), kept)


def _instance(plan: InstancePlan, provider: FakeProvider, registers: Registers, now: datetime, its: Certified | None) -> dict[str, Any]:
    applied = {
        **defaults(), "label": plan.label, "kind": plan.role.kind, "template": plan.role.name, "fleet_tags": list(plan.tags),
        "virtual_network": plan.network_label, "data_disk.size_gb": plan.size_gb,
        "data_disk.size_max_gb": plan.size_gb * 2, "deletion_protection": plan.is_protected,
        **served.settings_of(plan), **(its.settings_applied if its else {}),
    }
    changed: dict[str, Any] = {}
    if "image" in plan.pending:
        changed["image"] = f"{plan.role.application} {plan.role.versions[-1]}"
    if "ssl.sans" in plan.pending:
        changed["ssl.sans"] = [f"{plan.label}.example.com"]
    if its and its.settings != its.settings_applied:
        changed |= its.settings
    made = {links.TEMPLATE_COPY: registers.copies[plan.role.name]} if "template" in plan.pending else {links.TEMPLATE_VERSION: TEMPLATE_VERSION}
    has_run = plan.state is not InstanceState.NEW and plan.failed_stage != "resources"
    health = plan.health.value if plan.health else None
    scheme = "https" if plan.is_tls else "http"
    certified = served.has_certificate(plan)
    facts = its.facts if its else {}
    moment = now - timedelta(days=min(plan.booted_days, plan.age_days))
    return {
        "id": plan.id, "label": plan.label, "kind": plan.role.kind, "state": plan.state.value, "failed_stage": plan.failed_stage or None,
        "failure": history.cause_of(plan) if plan.failed_stage else "", "health": health, "health_detail": _detail(plan),
        "template_id": registers.templates[plan.role.name], "network_id": registers.networks[plan.network_label],
        "settings": {**applied, **changed}, "applied": {**applied, **made} if has_run else None,
        "pending": list(plan.pending) or [name for name in SSL_FIELDS if name in changed],
        "machine": plan.machine if plan.has_machine else None, "host": plan.host if plan.has_machine else None, "port": None,
        "private_ip": plan.address if plan.has_machine else None, "public_ip": served.public_ip(plan) if plan.network == ORDERED else None,
        "host_name": history.host_name(plan) if plan.has_machine else None, "url": f"{scheme}://{plan.address}:8080/" if plan.has_machine else None,
        "image": f"{plan.role.application} {plan.version if has_run else plan.role.versions[-1]}", "disk_id": plan.disk, "disk_made": plan.has_disk,
        "disk_path": provider.disk_path(plan.disk) if plan.has_disk else "", "disk_used_bytes": _used(plan) if plan.has_disk else None,
        "disk_days": _days(plan, now) if plan.has_disk else [],
        "certificate_not_after": its.row["not_after"] if its and its.row else now + timedelta(days=plan.certificate_days) if certified else None,
        "certificate_fingerprint": facts.get("certificate_fingerprint") or fingerprint(plan.disk) if certified else None,
        "version": 2 if changed else 1, "request_id": None,
        "created_at": now - timedelta(days=plan.age_days), "updated_at": moment,
    }


def _detail(plan: InstancePlan) -> str:
    """As the watch over instances words it."""
    if plan.health is Health.APP_DOWN:
        return history.outage_of(plan)
    if plan.health is Health.AGENT_SILENT:
        return "no word from its agent for 90 s"
    return f"data disk {plan.used * 100:.0f} % full" if plan.health in (Health.DISK_WARNING, Health.DISK_CRITICAL) else ""


def _days(plan: InstancePlan, now: datetime) -> list[list[int]]:
    """A week in which most disks grew a little and some were cleaned up."""
    rng = random.Random(f"{plan.seed}:growth")
    a_day = plan.size_gb * GIB * rng.choice((0.0002, 0.001, 0.002, 0.006, 0.012, -0.004))
    today = int(now.timestamp()) // 86400
    return [[today - n, max(0, int(_used(plan) - n * a_day))] for n in range(min(7, int(plan.age_days)), -1, -1)]


def _used(plan: InstancePlan) -> int:
    return int(plan.used * plan.size_gb * GIB)


def _machine(plan: InstancePlan, past: Past) -> Machine:
    """As the fake provider has it. Token and key are secrets, so they do not follow from the seed."""
    token = secrets.token_hex(32)
    return Machine(
        plan.machine, plan.id, plan.label, f"{plan.boot}:create-machine", plan.host, private_ip=plan.address, host_name=history.host_name(plan),
        state=(MachineState.OFF if plan.state is InstanceState.STOPPED else MachineState.ON).value, disk=plan.disk, boot=plan.boot,
        boot_token=token, key=hashlib.sha256(f"key:{token}:{plan.boot}".encode()).hexdigest(), stage="failed" if plan.failed_stage else "ready",
        outage=past.outage, silent=plan.health is Health.AGENT_SILENT,
    )


def _disk(plan: InstancePlan, now: datetime, its: Certified | None) -> Disk:
    through = history.phases_through(plan.failed_stage)
    facts: dict[str, Any] = {"formatted": through > 1}
    if plan.is_tls and through > 3:
        facts |= {
            "certificate_fingerprint": fingerprint(plan.disk),
            "certificate_not_after": int((now + timedelta(days=plan.certificate_days)).timestamp()),
        }
    facts |= its.facts if its else {}
    if through > 5:
        facts |= {"application": plan.role.application, "version": plan.version}
    return Disk(plan.disk, plan.size_gb, used_bytes=_used(plan), attached_to=plan.machine if plan.has_machine else None, facts=facts)


def _agent(plan: InstancePlan, machine: Machine, past: Past, now: datetime) -> dict[str, Any]:
    rng = random.Random(plan.seed)
    ago = {InstanceState.STOPPED: 7200.0}.get(plan.state, rng.uniform(400.0, 2400.0) if machine.silent else rng.uniform(0.5, 19.0))
    is_up = plan.state is InstanceState.RUNNING
    return {
        "machine": machine.id, "ref": f"instance:{plan.id}", "expected_by": f"{plan.boot}:boot",
        "token_hash": hashlib.sha256(machine.boot_token.encode()).hexdigest(), "token_sealed": "", "document": "", "operation_id": None,
        "boot": machine.boot, "key_hash": hashlib.sha256(machine.key.encode()).hexdigest(), "hello_at": now - timedelta(days=plan.booted_days),
        "last_seen": now - timedelta(seconds=ago), "acknowledged": past.agent_lines, "phases": list(past.phases),
        "health": "" if not is_up else "app-down" if past.outage else "ok", "health_detail": past.outage, "disk_used_bytes": _used(plan),
        "facts": {}, "version": VERSION, "pid": rng.randint(600, 30000),
    }


# --- logs and events -------------------------------------------------------------------------------------------------


def _insert_lines(tx: Session, plans: Sequence[InstancePlan], pasts: dict[str, Past]) -> None:
    """All lines in the order of time, because readers of everything go by the order of insertion."""
    masker = Masker()
    rows: list[dict[str, Any]] = []
    for plan in plans:
        for seq, line in enumerate(pasts[plan.id].lines, 1):
            rows.append({
                "stream": f"instance:{plan.id}", "seq": seq, "time": line.time, "source": line.source, "phase": line.phase, "level": line.level,
                "text": clean(masker.mask(line.text)), "operation_id": line.operation,
            })
    rows.sort(key=lambda row: row["time"])
    insert_rows(tx, StreamRow, [
        {"ref": f"instance:{plan.id}", "label": plan.label, "last_seq": len(pasts[plan.id].lines), "pruned_seq": 0} for plan in plans
    ])
    insert_rows(tx, LineRow, rows)


def _complaints(plans: Sequence[InstancePlan], pasts: dict[str, Past], now: datetime) -> list[dict[str, Any]]:
    """The events that told when an instance became unwell."""
    told = []
    for plan in plans:
        if plan.health in (None, Health.OK):
            continue
        told.append({
            "time": now - timedelta(seconds=random.Random(plan.seed).uniform(80.0, 5000.0)), "type": "instance.changed", "ref": f"instance:{plan.id}",
            "level": "warn" if plan.health is Health.DISK_WARNING else "error", "operation_id": None, "user": None,
            "text": f"{plan.label}: {plan.health.value if plan.health else ''}: {_detail(plan)}",
        })
    return told

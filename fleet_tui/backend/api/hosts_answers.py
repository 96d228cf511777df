"""What the methods about zones, pods, clusters, hosts and patches do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend import hosts
from fleet_tui.backend.api import Done
from fleet_tui.backend.api.dispatch import Handler
from fleet_tui.backend.errors import ConfirmationRequired, FleetError, NotFound, PermissionDenied
from fleet_tui.backend.hosts import editing, hierarchy, patches, queries
from fleet_tui.backend.hosts.adding import WITHOUT_SHELL
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.identity import Permission
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.permissions import allows
from fleet_tui.backend.instances.queries import count as count_instances
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.machines import capacity
from fleet_tui.backend.machines.figures import Amount
from fleet_tui.backend.networks import physical
from fleet_tui.backend.operations import Submitted
from fleet_tui.backend.operations.catalogue import refusal_of
from fleet_tui.backend.operations.engine import Engine
from fleet_tui.backend.remote import HostKey
from fleet_tui.backend.store import Store

_COMPARE = "compare it on the host itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then give it: --accept-fingerprint"


class HostAnswers:
    """The verbs of the hierarchy, by method name."""

    def __init__(self, store: Store, engine: Engine, drivers: Drivers, rules: capacity.Rules | None = None) -> None:
        self._store, self._engine, self._drivers = store, engine, drivers
        self._rules = rules or capacity.Rules()

    def table(self) -> Mapping[str, Handler]:
        """Every method this object answers."""
        return {
            "zones.list": lambda caller, r: self._query(lambda tx: queries.list_zones(tx, r.limit)),
            "pods.list": lambda caller, r: self._query(lambda tx: queries.list_pods(tx, r.zone, r.limit)),
            "clusters.list": lambda caller, r: self._query(lambda tx: queries.list_clusters(tx, r.zone, r.limit)),
            "patches.list": lambda caller, r: self._query(lambda tx: patches.list_patches(tx, r.hypervisor)),
            "hosts.list": lambda caller, r: self._query(lambda tx: self._hosts(tx, limit=r.limit)),
            "hosts.show": lambda caller, r: self._show(r.name),
            "hosts.key": self._key,
            "zones.create": lambda caller, r: self._made(lambda tx: hierarchy.create_zone(tx, r).id, queries.list_zones),
            "pods.create": lambda caller, r: self._made(lambda tx: hierarchy.create_pod(tx, r).id, queries.list_pods),
            "clusters.create": lambda caller, r: self._made(lambda tx: hierarchy.create_cluster(tx, r).id, queries.list_clusters),
            "branches.allocate": self._allocate,
            "branches.delete": self._delete,
            "hosts.edit": lambda caller, r: self._show(editing.edit(self._store, self._drivers, r, caller.user)),
            "patches.import": lambda caller, r: self._done(
                lambda tx: patches.import_patches(tx, r, caller.user, self._drivers.clock.now())
            ),
            "host.add": self._add,
        }

    # Hosts, with what stands on them

    def _hosts(self, tx: Session, name: str = "", limit: int = 5000) -> tuple[hosts.HostRecord, ...]:
        found = queries.find(tx, limit, name, count_instances(tx, InstanceRow.host))
        ids = [host.id for host in found] if name else None
        taken = capacity.count(tx, self._rules, self._drivers.clock.now(), ids)
        rows = select(HostRow, ClusterRow.cpu_hundredths, ClusterRow.ram_hundredths).join(ClusterRow, HostRow.cluster_id == ClusterRow.id)
        if ids is not None:
            rows = rows.where(HostRow.id.in_(ids))
        room = {row.id: (row, cpu, ram) for row, cpu, ram in tx.execute(rows)}
        return tuple(_with_room(host, *room[host.id], taken.get(host.id, capacity.Taken())) for host in found)

    def _show(self, name: str) -> hosts.HostRecord:
        found: tuple[hosts.HostRecord, ...] = self._query(lambda tx: self._hosts(tx, name))
        if not found:
            raise NotFound(f"there is no host {name!r}", hint="`fleet host list` shows the hosts there are")
        return found[0]

    # First contact

    def _key(self, caller: Caller, request: hosts.ProbeHostKey) -> hosts.HostKeyRecord:
        key = self._drivers.reach.host_key(request.address, request.port)
        return hosts.HostKeyRecord(key.text, key.fingerprint)

    def _add(self, caller: Caller, request: hosts.AddHost) -> Submitted:
        """A host whose key nobody accepted yet is asked for it, outside any transaction; nothing is stored of that."""
        if request.accept_fingerprint:
            return self._engine.submit("host.add", request, caller.user)
        rehearsed = self._engine.submit("host.add", replace(request, dry_run=True), caller.user)
        plan = rehearsed.plan
        if plan is None or plan.refusals or not self._shows_key(request.cluster):
            return rehearsed if request.dry_run else self._engine.submit("host.add", request, caller.user)
        try:
            key = self._drivers.reach.host_key(request.target, request.port)
        except FleetError as refusal:
            if not request.dry_run:
                raise
            return replace(rehearsed, plan=replace(plan, refusals=(refusal_of(refusal),)))
        if request.dry_run:
            return replace(rehearsed, plan=replace(plan, consequences=(_shown(request.target, key), *plan.consequences)))
        raise ConfirmationRequired(_shown(request.target, key), hint=_COMPARE, fingerprint=key.fingerprint, host_key=key.text)

    def _shows_key(self, cluster: str) -> bool:
        with self._store.read() as tx:
            return hierarchy.find_cluster(tx, cluster).hypervisor not in WITHOUT_SHELL

    # Branches

    def _allocate(self, caller: Caller, request: hosts.SetAllocation) -> Done:
        """Operators enable and disable hosts; what hosts stand on is for those who edit it (spec 16.2)."""
        if request.kind != "host" and not allows(caller.role, Permission.HOSTS_EDIT):
            raise PermissionDenied(
                f"{caller.user} is {caller.role.value} here and may not enable or disable a {request.kind}",
                hint="it takes one of the roles admin, root-admin", role=caller.role.value, needed=Permission.HOSTS_EDIT.value,
            )
        return self._done(lambda tx: hierarchy.set_allocation(tx, request, caller.user, self._drivers.clock.now()))

    def _delete(self, caller: Caller, request: hosts.DeleteBranch) -> Done:
        def act(tx: Session) -> str:
            if request.kind == "zone":
                physical.refuse_in_zone(tx, request.target)
            return hierarchy.delete_branch(tx, request, caller.user)

        return self._done(act)

    def _made(self, make: Callable[[Session], str], listed: Callable[[Session], tuple[Any, ...]]) -> Any:
        with self._store.write() as tx:
            identity = make(tx)
            tx.flush()
            return next(record for record in listed(tx) if record.id == identity)

    def _done(self, act: Callable[[Session], str]) -> Done:
        with self._store.write() as tx:
            return Done(act(tx))

    def _query(self, ask: Callable[[Session], Any]) -> Any:
        with self._store.read() as tx:
            return ask(tx)


def _with_room(record: hosts.HostRecord, row: HostRow, cpu_ratio: int, ram_ratio: int, taken: capacity.Taken) -> hosts.HostRecord:
    cpu, ram, _ = capacity.amounts(row, cpu_ratio, ram_ratio, taken)
    return replace(record, vms=taken.used.vms, cpu_used=_share(cpu, cpu_ratio), ram_used=_share(ram, ram_ratio))


def _share(amount: Amount, hundredths: int) -> float:
    """Of its capacity, or for a host out of service of what that would be: one sees it become empty."""
    return amount.share if amount.capacity or not amount.raw else (amount.used + amount.reserved) / (amount.raw * hundredths / 100)


def _shown(address: str, key: HostKey) -> str:
    return f"{address} shows the host key {key.fingerprint}"

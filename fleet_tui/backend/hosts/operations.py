"""The verbs of hosts and clusters, as operations of named steps (spec 7.5, 7.6)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend import hosts as face
from fleet_tui.backend.errors import ConfirmationRequired, FleetError, InvalidInput, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import access, adding, hierarchy, leaving, managing, password, transitions
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow
from fleet_tui.backend.hosts.states import ConnectionState, HostEvent, ManagedState, ResourceState
from fleet_tui.backend.operations.catalogue import Lease, OperationKind, Prepared, Step, planned
from fleet_tui.backend.store import new_id

S = ResourceState
_SILENT = (ConnectionState.ALERT.value, ConnectionState.DISCONNECTED.value, ConnectionState.DOWN.value)
Prepare = Callable[[Session, Any, str], Prepared]


class _Requests:
    """Checks of each verb inside its submit transaction. They seal what is secret before anything is stored."""

    def __init__(self, drivers: Drivers) -> None:
        self._drivers = drivers

    def add(self, tx: Session, request: face.AddHost, user: str) -> Prepared:
        """Stores the record, in state ``Creating``."""
        adding.one_at_a_time(tx)
        known = tx.scalar(select(HostRow).where(HostRow.address == request.target))
        if known is not None and known.resource_state == S.CREATING.value:
            raise WrongState(f"the host at {request.target} is being added", hint="follow that operation", state=known.resource_state, allowed=[])
        if known is not None:
            is_error = known.resource_state == S.ERROR.value
            hint = f"`fleet host retry {known.name}`, or discard it: `fleet host remove {known.name}`" if is_error else "it is one machine"
            words = f"{request.target} is host {known.name} already, {known.resource_state}"
            raise InvalidInput(words, problems=[Problem("target", "is known already")], hint=hint)
        adding.refuse_fields(tx, request)
        cluster = hierarchy.find_cluster(tx, request.cluster)
        _refuse_cluster(cluster)
        needs_key = cluster.hypervisor not in adding.WITHOUT_SHELL
        if needs_key and not request.accept_fingerprint and not request.dry_run:
            words = f"the host key of {request.target} must be accepted first"
            raise ConfirmationRequired(words, hint="ask for it, compare it on the host, and give it: --accept-fingerprint")
        identity = new_id("h")
        seal = self._drivers.sealer.seal
        tx.add(HostRow(
            id=identity, name=request.name or request.target, cluster_id=cluster.id, address=request.target, ssh_user=request.user,
            ssh_port=request.port, tags=list(request.tags), accepted_key=request.accept_fingerprint, resource_state=S.CREATING.value,
            state_since=self._drivers.clock.now(), connection_state=ConnectionState.CREATING.value,
            key_sealed=seal(request.private_key.encode(), access.key_context(identity)) if request.private_key else "",
            password_sealed=seal(request.password.encode(), access.password_context(identity)) if request.password else "",
        ))
        tx.flush()
        append(tx, type="host.created", ref=f"host:{identity}", user=user)
        plan = planned(
            request.target, changes=(f"a host at {request.target} in cluster {cluster.name}",),
            consequences=("its host key is stored, and no other one accepted from then on", "once it is added, new VMs may be put there"),
        )
        return Prepared(request.target, f"host:{identity}", plan, _leases(cluster.id, identity))

    def retry(self, tx: Session, request: face.RetryHost, user: str) -> Prepared:
        host, cluster = self._host(tx, request.target)
        _refuse_cluster(cluster)
        changes = (f"{host.name} is added again, with what was given the first time",)
        return self._prepared(host, cluster, planned(host.name, changes=changes, refusals=_raised(request, _refusals(host, HostEvent.RETRY))))

    def remove(self, tx: Session, request: face.RemoveHost, user: str) -> Prepared:
        host, cluster = self._host(tx, request.target)
        state, names = S(host.resource_state), list(self._drivers.tenants.names(tx, host.id))
        refusals: list[FleetError] = []
        consequences = [f"{host.name} is forgotten, with its credentials; machine and address may be used again"]
        if not request.force and state not in leaving.NEVER_STOOD:
            if state not in leaving.EASY:
                refusals.append(WrongState(
                    f"{host.name} is {state.value}; removing it needs {' or '.join(s.value for s in leaving.EASY)}",
                    hint="put it into maintenance, or remove it by force", state=state.value, allowed=[s.value for s in leaving.EASY],
                ))
            try:
                leaving.refuse_tenants(host, names)
            except WrongState as refusal:
                refusals.append(refusal)
        if request.force:
            if names:
                consequences.append(f"{len(names)} VMs are on it; highly available ones restart elsewhere, the others stop: {', '.join(names)}")
            if host.connection_state != ConnectionState.UP.value:
                consequences.append("it does not answer: make sure that it is switched off, or its VMs may run twice")
        if request.confirm != host.name and not request.dry_run and not refusals:
            hint = f"type its name: --confirm {shlex.quote(host.name)}"
            refusals.append(ConfirmationRequired(f"removing {host.name} cannot be undone", hint=hint, vms=names))
        plan = planned(host.name, changes=(f"the record of {host.name}",), consequences=consequences, refusals=_raised(request, refusals))
        return self._prepared(host, cluster, plan, force=request.force)

    def reconnect(self, tx: Session, request: face.ReconnectHost, user: str) -> Prepared:
        host, cluster = self._host(tx, request.target)
        _refuse_cluster(cluster)
        if S(host.resource_state) in leaving.NEVER_STOOD:
            raise WrongState(f"{host.name} is {host.resource_state}", hint="`fleet host retry` adds it again", state=host.resource_state, allowed=[])
        return self._prepared(host, cluster, planned(host.name, changes=(f"the link to {host.name} is dropped and built again",)))

    def reinstall(self, tx: Session, request: face.ReinstallHost, user: str) -> Prepared:
        host, cluster = self._host(tx, request.target)
        _refuse_cluster(cluster)
        state, refusals = S(host.resource_state), list[FleetError]()
        if state not in (*leaving.EASY, S.ERROR):
            refusals.append(WrongState(
                f"{host.name} is {state.value}; installing it anew needs {' or '.join(s.value for s in leaving.EASY)}",
                hint="put it into maintenance first", state=state.value, allowed=[s.value for s in leaving.EASY],
            ))
        try:
            leaving.refuse_tenants(host, self._drivers.tenants.names(tx, host.id))
        except WrongState as refusal:
            refusals.append(refusal)
        if not request.accept_fingerprint and not request.dry_run:
            refusals.append(ConfirmationRequired(
                "a fresh installation has a new host key, which must be named",
                hint="--accept-fingerprint SHA256:…, or any-once to take whichever it shows",
            ))
        refusals += _unconfirmed(request, f"{host.name} is taken out and installed anew")
        plan = planned(
            host.name, changes=(f"{host.name} is taken out, and added again with its old settings once it answers",),
            consequences=("install it while this waits for its SSH",), refusals=_raised(request, refusals),
        )
        return self._prepared(host, cluster, plan, accept=request.accept_fingerprint, old_key=host.host_key, wait_s=request.wait_s)

    def degrade(self, tx: Session, request: face.DeclareDegraded, user: str) -> Prepared:
        host, cluster = self._host(tx, request.target)
        names, refusals = list(self._drivers.tenants.names(tx, host.id)), _refusals(host, HostEvent.DECLARE_DEGRADED)
        if host.connection_state not in _SILENT:
            refusals.append(WrongState(
                f"the link of {host.name} is {host.connection_state}; only a host that does not answer can be degraded",
                hint="put it into maintenance instead", state=host.connection_state, allowed=list(_SILENT),
            ))
        refusals += _unconfirmed(request, f"{host.name} is given up")
        on_it = f"{len(names)} VMs are on it; the highly available ones restart elsewhere: {', '.join(names)}" if names else "no VM is on it"
        plan = planned(
            host.name, changes=(f"{host.name} is degraded until that is cancelled",), refusals=_raised(request, refusals),
            consequences=(on_it, "make sure that it is switched off, or its VMs may run twice"),
        )
        return self._prepared(host, cluster, plan)

    def cancel_degraded(self, tx: Session, request: face.CancelDegraded, user: str) -> Prepared:
        host, cluster = self._host(tx, request.target)
        refusals = _refusals(host, HostEvent.CANCEL_DEGRADED)
        return self._prepared(host, cluster, planned(host.name, changes=(f"{host.name} is enabled again",), refusals=_raised(request, refusals)))

    def set_password(self, tx: Session, request: face.SetClusterPassword, user: str) -> Prepared:
        cluster = hierarchy.find_cluster(tx, request.target)
        _refuse_cluster(cluster, mismatch_too=False)
        if complaint := "" if request.dry_run and not request.password else password.rule(request.password):
            raise InvalidInput(f"the password of cluster {cluster.name} {complaint}", problems=[Problem("password", complaint)])
        found = password.hosts_of(tx, cluster.id)
        refusals: list[FleetError] = []
        if not found:
            words = f"cluster {cluster.name} has no hosts"
            refusals.append(WrongState(words, hint="the first host brings its own password", state="empty", allowed=[]))
        silent = [host.name for host in found if host.connection_state != ConnectionState.UP.value]
        if silent and not request.record:
            refusals.append(WrongState(
                f"all hosts must be up; {', '.join(silent)} {'are' if len(silent) > 1 else 'is'} not", hint="bring them back or remove them first",
                state=ConnectionState.ALERT.value, allowed=[ConnectionState.UP.value], hosts=silent,
            ))
        refusals += _unconfirmed(request, f"the password of {len(found)} hosts changes")
        hosts = ", ".join(host.name for host in found)
        what = f"the password of cluster {cluster.name} is stored" if request.record else f"the password of {hosts} is set, then stored"
        sealed = self._drivers.sealer.seal(request.password.encode(), password.context(cluster.id))
        zone = tx.execute(select(PodRow.zone_id).where(PodRow.id == cluster.pod_id)).scalar_one()
        return Prepared(
            cluster.name, f"cluster:{cluster.id}",
            planned(cluster.name, changes=(what,), consequences=("nothing else is done on this cluster meanwhile",),
                    refusals=_raised(request, refusals)),
            (Lease("zone", zone, shared=True), Lease("cluster", cluster.id)), {"sealed": sealed, "record": request.record},
        )

    def manage(self, tx: Session, request: face.ManageCluster, user: str) -> Prepared:
        cluster = hierarchy.find_cluster(tx, request.target)
        _refuse_none(cluster)
        here = ManagedState(cluster.managed)
        wanted = ManagedState.MANAGED if request.managed else ManagedState.UNMANAGED
        refusals: list[FleetError] = []
        if here is wanted:
            refusals.append(WrongState(f"cluster {cluster.name} is {here.value} already", state=here.value, allowed=[]))
        hosts = [host.name for host in password.hosts_of(tx, cluster.id)]
        consequences = () if request.managed else (f"nothing is sent to {', '.join(hosts) or 'its hosts'} any more; their VMs run on", )
        if not request.managed:
            refusals += _unconfirmed(request, f"nothing is sent to the hosts of {cluster.name} any more")
        changes, refused = (f"cluster {cluster.name} becomes {wanted.value}",), _raised(request, refusals)
        plan = planned(cluster.name, changes=changes, consequences=consequences, refusals=refused)
        return Prepared(cluster.name, f"cluster:{cluster.id}", plan, (Lease("cluster", cluster.id),), {"managed": request.managed})

    def _host(self, tx: Session, target: str) -> tuple[HostRow, ClusterRow]:
        host = hierarchy.find_host(tx, target)
        _, cluster = access.host_and_cluster(tx, host.id)
        access.refuse_without_hypervisor(host, cluster)
        return host, cluster

    def _prepared(self, host: HostRow, cluster: ClusterRow, plan: Any, **parameters: Any) -> Prepared:
        return Prepared(host.name, f"host:{host.id}", plan, _leases(cluster.id, host.id), parameters)


def _leases(cluster_id: str, host_id: str) -> tuple[Lease, ...]:
    return Lease("cluster", cluster_id, shared=True), Lease("host", host_id)


def _refusals(host: HostRow, event: HostEvent) -> list[FleetError]:
    refused = transitions.refusal(host, event)
    return [refused] if refused is not None else []


def _raised(request: Any, refusals: list[FleetError]) -> list[FleetError]:
    """The first one, with its details, which a plan does not keep; a dry run shows them all."""
    if refusals and not request.dry_run:
        raise refusals[0]
    return refusals


def _unconfirmed(request: Any, what: str) -> Iterable[FleetError]:
    if not request.confirmed and not request.dry_run:
        yield ConfirmationRequired(what, hint="confirm in the dialog, or give --yes")


def _refuse_cluster(cluster: ClusterRow, mismatch_too: bool = True) -> None:
    """Raises when nothing may be sent to the cluster's hosts."""
    _refuse_none(cluster)
    if cluster.managed != ManagedState.MANAGED.value:
        raise WrongState(f"cluster {cluster.name} is not managed ({cluster.managed})", hint="manage it again first", state=cluster.managed,
                         allowed=[ManagedState.MANAGED.value])
    if mismatch_too:
        access.refuse_mismatch(cluster)


def _refuse_none(cluster: ClusterRow) -> None:
    if cluster.hypervisor == hierarchy.NO_HYPERVISOR:
        raise WrongState(f"cluster {cluster.name} runs no hypervisor: it holds the machine this site itself runs on",
                         hint="make a cluster of its own: `fleet cluster create`", state=cluster.hypervisor, allowed=list(hierarchy.HYPERVISORS))


def operations(drivers: Drivers) -> tuple[OperationKind, ...]:
    """Every kind this slice adds to the catalogue."""
    ask = _Requests(drivers)
    add = adding.STEPS
    ends: dict[str, Any] = {"succeeded": adding.added, "failed": adding.failed, "cancelled": adding.cancelled}
    return (
        OperationKind("host.add", "add host", add, ask.add, adding.begin, request=face.AddHost,
                      undo_text="`fleet host remove` takes it out again", **ends),
        OperationKind("host.retry", "retry adding host", add, ask.retry, adding.begin, request=face.RetryHost, **ends),
        OperationKind("host.reconnect", "reconnect", (Step("drop", leaving.drop_link), Step("connect", leaving.await_link)), ask.reconnect,
                      request=face.ReconnectHost),
        OperationKind("host.remove", "remove host", (
            Step("withdraw", leaving.withdraw), Step("release-vms", leaving.release_vms, attempts=2), Step("forget", leaving.forget)),
            ask.remove, request=face.RemoveHost, danger="destructive"),
        OperationKind("host.reinstall", "re-install host", (
            Step("take-out", leaving.begin_anew), Step("wait-for-ssh", adding.wait_for_new_key), *add),
            ask.reinstall, request=face.ReinstallHost, danger="disruptive", **ends),
        OperationKind("host.degrade", "declare degraded", (Step("restart-vms", leaving.restart_vms, attempts=2),), ask.degrade, leaving.declare,
                      request=face.DeclareDegraded, danger="disruptive", undo_text="cancel degraded, once it answers"),
        OperationKind("host.cancel-degraded", "cancel degraded", (Step("look", leaving.look_again),), ask.cancel_degraded,
                      succeeded=leaving.no_longer_degraded, request=face.CancelDegraded),
        OperationKind("cluster.password", "set cluster password", password.STEPS, ask.set_password, request=face.SetClusterPassword,
                      danger="disruptive"),
        OperationKind("cluster.manage", "manage cluster", (Step("let-go", managing.let_go),), ask.manage, managing.begin, managing.done,
                      managing.failed, managing.cancelled, danger="disruptive", request=face.ManageCluster),
    )

"""What our own hosts offer instances: zones, guest networks, images, sizes, storage; and the operations by which something is done there."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend import errors
from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import FleetError, InternalError, InvalidInput, Problem, TimedOut, Unreachable, WrongState
from fleet_tui.backend.hosts.hierarchy import find_zone
from fleet_tui.backend.hosts.queries import why_not
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hypervisors import Storage
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.offerings import find_offering
from fleet_tui.backend.machines.rows import OfferingRow
from fleet_tui.backend.networks import guest
from fleet_tui.backend.networks.rows import NetworkRow, PhysicalNetworkRow
from fleet_tui.backend.operations import AWAITED, OperationRecord, OperationRequest, OperationState, Submitted
from fleet_tui.backend.operations.catalogue import Lease, OperationCancelled
from fleet_tui.backend.operations.context import check_here
from fleet_tui.backend.operations.leases import holders
from fleet_tui.backend.operations.ownership import ShuttingDown
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.providers import Placement
from fleet_tui.backend.providers.cloud_images import choose
from fleet_tui.backend.providers.rows import OwnMachineRow
from fleet_tui.backend.store import Store, new_id

Say = Callable[[str], None]
T = TypeVar("T")

NOBODY = "(fleetd)"
"""Who asks for a VM when no operation of its instance is under way. No user is called so, so no role and no VM is anybody's by that."""
_LONGEST_S = 2 * 3600.0
"""Bound on one operation of a VM; its own limits end it long before."""
_LOOK_S = 0.25


class Engine(Protocol):
    """What is asked of the operations engine."""

    def submit(self, kind_name: str, request: OperationRequest, user: str) -> Submitted: ...

    def show(self, operation_id: str) -> OperationRecord: ...

    def cancel(self, operation_id: str, user: str) -> OperationRecord: ...


class Ground:
    """Our hosts, for whoever makes machines there.

    Args:
        engine: asked for when something is first done, for it is composed after us.
        workshop: folder where the seeds of machines are built, of this daemon alone; the system's temporary one without it.
    """

    def __init__(
        self, store: Store, machines: Machines, engine: Callable[[], Engine], clock: Clock | None = None, workshop: Path | None = None,
    ) -> None:
        self.store, self.machines, self.clock = store, machines, clock or SystemClock()
        self.workshop = workshop
        self._engine = engine
        self._leaving = threading.Event()

    def tidy(self) -> None:
        """Remove what a daemon that was killed left half built. Before anything is done here."""
        if self.workshop is not None:
            shutil.rmtree(self.workshop, ignore_errors=True)

    def leave(self) -> None:
        """The daemon is stopping: whoever waits here lets go, and goes on when one starts again."""
        self._leaving.set()

    # --- what there is -----------------------------------------------------------------------------------------------

    def place(self, tx: Session, placement: Placement) -> tuple[ZoneRow, NetworkRow]:
        """Zone and guest network of a virtual network.

        Raises:
            InvalidInput: one is not told, or the network is of another zone.
            NotFound: one is gone.
        """
        for name, value in (("zone", placement.zone), ("guest_network", placement.guest_network)):
            if not value:
                problem = Problem(name, "is needed where instances run on own hosts")
                raise InvalidInput(f"the virtual network names no {name.replace('_', ' ')}", problems=[problem])
        zone, network = find_zone(tx, placement.zone), guest.find(tx, placement.guest_network)
        if tx.get_one(PhysicalNetworkRow, network.physical_id).zone_id != zone.id:
            told = f"guest network {network.name} is not in zone {zone.name}"
            raise InvalidInput(told, problems=[Problem("guest_network", "is of another zone")])
        return zone, network

    def image(self, tx: Session, zone: ZoneRow, wanted: str) -> str:
        """Path of the cloud image wanted, or of the zone's newest."""
        return choose(tx, zone, wanted).path

    def offering(self, tx: Session, wanted: str) -> OfferingRow:
        """The size wanted. Without a wish there must be only one.

        Raises:
            NotFound: there is no such size.
            InvalidInput: it is not told, and there are several.
        """
        if wanted:
            found = find_offering(tx, wanted)
            if found.system_kind:
                raise InvalidInput(f"offering {found.name} is for {found.system_kind}", problems=[Problem("machine_type", "is none for guests")])
            return found
        rows = tx.scalars(select(OfferingRow).where(OfferingRow.system_kind == "").order_by(OfferingRow.name)).all()
        if len(rows) != 1:
            names = ", ".join(row.name for row in rows[:8]) or "none yet"
            problem = Problem("machine_type", f"is needed; there are: {names}")
            raise InvalidInput("nothing says how large the machine is to be", problems=[problem], hint="set machine_type to the name of an offering")
        return rows[0]

    def cluster(self, tx: Session, zone: ZoneRow, network: NetworkRow) -> ClusterRow:
        """The cluster of a zone with most hosts that take VMs of a network now.

        Raises:
            WrongState: none does; says why of each.
        """
        labels = tx.get_one(PhysicalNetworkRow, network.physical_id).nic_labels
        query = (
            select(ClusterRow, PodRow, HostRow).join(PodRow, ClusterRow.pod_id == PodRow.id).outerjoin(HostRow, HostRow.cluster_id == ClusterRow.id)
            .where(PodRow.zone_id == zone.id).order_by(ClusterRow.name, ClusterRow.id)
        )
        open_hosts: dict[str, int] = {}
        rows: dict[str, ClusterRow] = {}
        against: dict[str, str] = {}
        for cluster, pod, host in tx.execute(query):
            rows[cluster.id] = cluster
            if cluster.hypervisor not in labels:
                against[cluster.id] = f"{cluster.name}: {network.name} has no network card for {cluster.hypervisor}"
            elif host is None:
                against[cluster.id] = f"{cluster.name}: has no hosts"
            elif why := why_not(host, cluster, pod, zone):
                against.setdefault(cluster.id, f"{cluster.name}: {why}")
            else:
                open_hosts[cluster.id] = open_hosts.get(cluster.id, 0) + 1
        if not open_hosts:
            told = f"no cluster of zone {zone.name} takes a machine now: {'; '.join(against.values()) or 'it has none'}"
            raise WrongState(told, hint="enable one, or use another zone", state="no-cluster")
        return rows[max(open_hosts, key=lambda cluster_id: open_hosts[cluster_id])]

    def storage(self, cluster_id: str) -> Storage:
        """What the hosts of a cluster share, as one that answers sees it.

        Raises:
            Unreachable: none does.
        """
        with self.store.read() as tx:
            hosts = tx.scalars(select(HostRow.id).where(HostRow.cluster_id == cluster_id).order_by(HostRow.name)).all()
            name = tx.get_one(ClusterRow, cluster_id).name
        last: FleetError | None = None
        for host_id in sorted(hosts, key=lambda one: not self.machines.links.is_up(one)):
            try:
                return self.machines.links.hypervisor(host_id).storage
            except FleetError as error:
                last = error
        why = f": {last.message}" if last is not None else ": it has none"
        raise Unreachable(f"no host of cluster {name} answers{why}", hint="look at its hosts", reason="unreachable")

    # --- doing something ---------------------------------------------------------------------------------------------

    def do(self, kind: str, request: OperationRequest, machine_id: str) -> None:
        """Have an operation of a machine's VM done, for whoever asked for what is done to its instance: their role decides (HST-3), and a VM
        that is made is theirs. One that is under way already is waited for.

        When cancel is asked of the step that waits here, ours is cancelled too and still waited for: what it made is on record once it has ended.

        Raises:
            FleetError: what it failed with, or was refused with.
            OperationCancelled, ShuttingDown: let them pass.
        """
        asker = self._asker(machine_id)
        submitted = self._engine().submit(kind, replace(request, request_id=f"{AWAITED}{new_id('r')}"), asker)
        if submitted.operation is None:
            raise InternalError(f"{kind} of {request.target} gave no operation")
        operation_id = submitted.operation.id

        def ended() -> OperationRecord | None:
            record = self._engine().show(operation_id)
            return record if record.state.is_final else None

        def pass_cancel_on() -> None:
            try:
                check_here()
            except OperationCancelled:
                if not self._is_ours(operation_id):
                    raise  # a person's own: it goes on
                if self._engine().show(operation_id).state not in (OperationState.CANCELLING, OperationState.CANCELLED):
                    with suppress(WrongState):  # it has just ended
                        self._engine().cancel(operation_id, asker)

        record = self.wait(ended, pass_cancel_on)
        if record is None:
            raise TimedOut(f"{kind} of {request.target} did not end ({operation_id})", hint="look at that operation")
        if record.state is OperationState.SUCCEEDED:
            return
        check_here()
        if record.error is not None:
            raise errors.from_json({"code": record.error.code, "message": record.error.message, "hint": record.error.hint})
        raise WrongState(f"{kind} of {record.target} was {record.state.value} ({operation_id})", hint="try again", state=record.state.value)

    def _asker(self, machine_id: str) -> str:
        """The user of the operation that has the machine's instance now."""
        with self.store.read() as tx:
            row = tx.get(OwnMachineRow, machine_id)
            held = holders(tx, [Lease("instance", row.instance_id)], "") if row is not None else ()
        return held[0].user if held else NOBODY

    def _is_ours(self, operation_id: str) -> bool:
        """Whether it was asked for by a step that waits for it, this one or the same before a crash."""
        with self.store.read() as tx:
            return (tx.get_one(OperationRow, operation_id).request_id or "").startswith(AWAITED)

    def wait(self, look: Callable[[], T | None], check: Callable[[], None] = check_here) -> T | None:
        """The first that ``look`` finds; ``None`` when it took too long. ``check`` is called between two looks.

        Raises:
            OperationCancelled: cancel was asked of the step that waits here.
            ShuttingDown: the daemon is stopping.
        """
        deadline = self.clock.monotonic() + _LONGEST_S
        while (found := look()) is None:
            if self._leaving.is_set():
                raise ShuttingDown
            if self.clock.monotonic() > deadline:
                return None
            check()
            self._leaving.wait(_LOOK_S)
        return found

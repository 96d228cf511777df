"""A fleet whose VMs have networks: fake hosts with wires, a physical network over their ``eth1``, and the verbs of both slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import String, Text, select
from sqlalchemy.orm import Session

from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.machines import CreateVm
from fleet_tui.backend.machines.cards import NetworkTenants
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.networks import CheckDrift, RepairDrift, RestartNetwork, SweepVlans, guest
from fleet_tui.backend.networks import operations as network_operations
from fleet_tui.backend.networks.drivers import Locks, Networks
from fleet_tui.backend.networks.fake_wires import FakeWiring
from fleet_tui.backend.networks.rows import InterfaceRow, NetworkOfferingRow, NetworkRow, PhysicalNetworkRow, VlanRangeRow
from fleet_tui.backend.networks.states import GuestType, Isolation, NetworkState, PhysicalState, Scope
from fleet_tui.backend.operations.runner import nothing
from fleet_tui.backend.remote import Shell
from fleet_tui.backend.store import Base, Store
from tests.backend.machines import desk as verbs
from tests.backend.machines.desk import Desk
from tests.backend.machines.yard import START, Fleet
from tests.backend.operations.bench import Bench

FIRST = 4011
"""The ID that the only network gets first: no other number of these tests has its digits."""
verbs.KINDS |= {CheckDrift: "vlan.drift", RepairDrift: "vlan.repair", SweepVlans: "vlan.sweep", RestartNetwork: "network.restart"}


class Shells:
    """Shells of fake hosts, whose ids are their names."""

    def __init__(self, world: FakeWorld) -> None:
        self._world = world

    def shell(self, host_id: str) -> Shell:
        return self._world.reach.open(self._world.login(host_id))


class CabledFleet(Fleet):
    """Networks ``shop`` and ``blog`` on physical network ``fabric``."""

    def __init__(self, store: Store, *, isolation: Isolation = Isolation.VLAN, patience_s: float = 0.2, **drivers: Any) -> None:
        super().__init__(store, **drivers)
        self.networks = Networks(NetworkTenants(), clock=self.clock, wiring=FakeWiring(self.world, Shells(self.world)), patience_s=patience_s)
        self.machines = Machines(self.links, self.machines.rules, clock=self.clock, networks=self.networks)
        with store.write() as tx:
            labels = {"kvm": "eth1", "vsphere": "eth1"}
            rows: list[Base] = [
                PhysicalNetworkRow(id="pn", name="fabric", zone_id="z", isolation=isolation.value, state=PhysicalState.ENABLED.value, nic_labels=labels),
                VlanRangeRow(physical_id="pn", first=FIRST, last=FIRST, scope=Scope.GUEST_POOL.value),
                VlanRangeRow(physical_id="pn", first=100, last=110, scope=Scope.MANAGEMENT.value),
                NetworkOfferingRow(id="no", name="isolated", guest_type=GuestType.ISOLATED.value, specify_vlan=False, persistent=False),
            ]
            for row in rows:
                tx.add(row)
                tx.flush()
            for name in ("shop", "blog"):
                self._network(tx, name)

    def _network(self, tx: Session, name: str) -> None:
        tx.add(NetworkRow(id=f"n-{name}", name=name, offering_id="no", physical_id="pn", state=NetworkState.ALLOCATED.value, created_at=START, updated_at=START))

    def host(self, name: str, **fields: Any) -> str:
        return super().host(name, **{"facts": {"nics": ["eth0", "eth1"]}, **fields})

    def more_ids(self, first: int, last: int) -> None:
        with self.store.write() as tx:
            tx.add(VlanRangeRow(physical_id="pn", first=first, last=last, scope=Scope.GUEST_POOL.value))

    # What is so

    def number(self, network: str = "shop") -> int | None:
        with self.store.read() as tx:
            return guest.vlan_of(tx, f"n-{network}")

    def wired(self, host: str) -> list[int]:
        """IDs that a host has interfaces for."""
        return sorted(one["number"] for one in self.world.host(host).interfaces)

    def interfaces(self) -> dict[tuple[str, int], tuple[bool, str]]:
        """As they are on record."""
        with self.store.read() as tx:
            return {(row.host_id, row.number): (row.present, row.problem) for row in tx.scalars(select(InterfaceRow))}

    def said(self) -> list[str]:
        """Every text of every table but those of networks' own, where an ID may stand."""
        private = {"vlan", "vlan_range", "vlan_dedication", "host_interface"}
        found = []
        with self.store.read() as tx:
            for table in Base.metadata.sorted_tables:
                if table.name in private:
                    continue
                for row in tx.execute(select(table)):
                    found += [f"{table.name}.{column.name}: {value}" for column, value in zip(table.columns, row, strict=True)
                              if isinstance(column.type, (String, Text)) or isinstance(value, (dict, list))]
        return found


class CabledDesk(Desk):
    """A bench with the catalogues of VMs and networks."""

    def __init__(self, fleet: CabledFleet, checkpoint: Callable[[str], None] = nothing, executor: str = "e-1") -> None:
        networks = replace(fleet.networks, locks=Locks())  # a daemon of its own
        Bench.__init__(
            self, fleet.store, *verbs.operations(fleet.machines), *network_operations.operations(networks), executor=executor,
            resources={Machines: replace(fleet.machines, networks=networks), Networks: networks}, checkpoint=checkpoint,
        )
        self.fleet = fleet

    def create(self, name: str, host: str = "", *networks: str, start: bool = True, cluster: str = "c") -> Any:
        return self.do(CreateVm(
            target=name, cluster=cluster, offering="small", kernel="/vmlinuz", host=host, networks=networks or ("shop",), start=start,
            destroy_protected=False,
        ))

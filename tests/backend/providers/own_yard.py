"""Own hosts to make machines on: the small fleet of fakes with its guest networks, a cloud image, and operations that run where they are asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from fleet_tui.backend.hypervisors import GuestState
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.networks.rows import NetworkRow
from fleet_tui.backend.operations import OperationRecord, OperationRequest, Submitted
from fleet_tui.backend.operations.queries import ACTIVE
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.operations.runner import nothing
from fleet_tui.backend.providers import Placement, RegisterCloudImage, cloud_images
from fleet_tui.backend.providers.own_ground import Ground
from fleet_tui.backend.providers.own_hosts import OwnHosts
from fleet_tui.backend.store import Store
from tests.backend.machines.cabling import CabledDesk, CabledFleet
from tests.backend.machines.yard import START

IMAGE = "/shared/images/debian.qcow2"
PLACEMENT = Placement(zone="z", guest_network="shop")


class Yard:
    """A daemon's worth of it; :meth:`again` is the next daemon, on the same fleet."""

    def __init__(self, store: Store, contents: Path | None = None, fleet: CabledFleet | None = None, workshop: Path | None = None) -> None:
        if shutil.which("xorriso") is None:
            pytest.skip("the seeds of machines are made with xorriso (Debian package)")
        self.store, self.workshop = store, workshop
        self.said: list[str] = []
        self.checkpoint: Callable[[str], None] = nothing
        if fleet is None:
            fleet = CabledFleet(store)
            fleet.world.contents = contents
            fleet.hosts("h1", "h2")
            fleet.offering()
            for name, cidr in (("shop", "10.5.0.0/24"), ("blog", "10.6.0.0/30")):
                fleet.set(NetworkRow, f"n-{name}", cidr=cidr, gateway=cidr.replace(".0/", ".1/").partition("/")[0])
            with store.write() as tx:
                cloud_images.register(tx, RegisterCloudImage("debian", "z", IMAGE), START, "ada")
        self.fleet = fleet
        self.desk = CabledDesk(fleet, lambda point: self.checkpoint(point))
        ground = Ground(store, self.desk.runner._resources[type(fleet.machines)], lambda: self, fleet.clock, workshop)  # type: ignore[arg-type]
        ground.tidy()
        self.provider = OwnHosts(ground)
        self.meanwhile: Callable[[], None] | None = None
        """What happens whenever the provider waits for something."""
        let_go = ground._leaving.wait

        def wait(timeout: float | None = None) -> bool:
            if self.meanwhile is None:
                return let_go(timeout)
            self.meanwhile()
            return False

        ground._leaving.wait = wait  # type: ignore[method-assign]

    def again(self, *, and_go_on: bool = True) -> Yard:
        """After a crash: the next daemon goes on with what was under way."""
        self.fleet.links.forget()
        yard = Yard(self.store, fleet=self.fleet, workshop=self.workshop)
        yard.desk.claim()
        if and_go_on:
            yard.go_on()
        return yard

    def go_on(self) -> None:
        """With every operation that was under way, to its end."""
        with self.store.read() as tx:
            left = tx.scalars(select(OperationRow.id).where(OperationRow.state.in_(ACTIVE)).order_by(OperationRow.submitted_at)).all()
        for operation_id in left:
            self.desk.run(operation_id)

    def say(self, text: str) -> None:
        """A line of an operation's log: written in a transaction of its own, so nobody says anything inside one."""
        with self.store.write():
            self.said.append(text)

    # The engine, where an operation has ended when it was submitted

    def submit(self, kind_name: str, request: OperationRequest, user: str) -> Submitted:
        submitted = self.desk.submission.submit(kind_name, request, user)
        assert submitted.operation is not None
        started = self.desk.claim().started
        if submitted.operation.id in started or submitted.deduplicated:
            self.desk.run(submitted.operation.id)
        return submitted

    def show(self, operation_id: str) -> OperationRecord:
        return self.desk.show(operation_id)

    def cancel(self, operation_id: str, user: str) -> OperationRecord:
        return self.desk.cancel(operation_id, user)

    # What is so

    def vm(self, name: str = "m-1") -> VmRow:
        with self.store.read() as tx:
            found = tx.query(VmRow).filter(VmRow.name == name).one()
            return found

    def runs(self, name: str = "m-1") -> tuple[str, ...]:
        return self.fleet.world.running_on(self.vm(name).guest_id)

    def files(self) -> set[str]:
        return {identity.partition(":")[2] for identity in self.fleet.world.ledger.files}

    def disks_of(self, name: str = "m-1") -> list[str]:
        """As the host has them that knows its guest."""
        vm = self.vm(name)
        guest = next(self.fleet.world.ledger.places(vm.guest_id))
        return [disk["path"] for disk in guest.disks]

    def state_of(self, name: str = "m-1") -> list[GuestState]:
        return [GuestState(guest.state) for guest in self.fleet.world.ledger.places(self.vm(name).guest_id)]

"""A host that leaves by force, or is given up for now, leaves no VM behind and none running twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_tui.backend.hosts import DeclareDegraded, RemoveHost
from fleet_tui.backend.hosts.drivers import Drivers
from fleet_tui.backend.hosts.links import Links
from fleet_tui.backend.hosts.operations import operations
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hypervisors import GuestSpec
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.rows import OfferingRow, VmRow
from fleet_tui.backend.machines.tenants import VmTenants
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.store import Store
from tests.backend.hosts.fleet import Fleet, Works
from tests.backend.operations.bench import Bench
from tests.waiting import until


@pytest.fixture
def fleet(store: Store) -> Fleet:
    """kvm-1 with web (highly available), db (not) and disk (on local storage), kvm-2 with nothing, and old, which stopped on kvm-1."""
    found = Fleet(store, 2)
    with store.write() as tx:
        tx.add(OfferingRow(id="of-1", name="small", cores=1, mhz=1000, memory_mib=64))
        tx.flush()
        now = found.clock.now()
        for name, more in (("web", {"ha": True}), ("db", {}), ("disk", {"ha": True, "has_local_disk": True})):
            tx.add(_vm(name, now, state="running", host_id="h-1", **more))
            found.world.add_guest("kvm-1", GuestSpec(f"g-{name}", name, 1, 64 << 20, 64 << 20, 1000))
        tx.add(_vm("old", now, state="stopped", last_host_id="h-1"))
    return found


def _vm(name: str, now: Any, **more: Any) -> VmRow:
    return VmRow(id=f"v-{name}", guest_id=f"g-{name}", name=name, cluster_id="c-1", offering_id="of-1", cores=1, mhz=1000, memory_mib=64,
                 created_at=now, updated_at=now, **more)


@pytest.fixture
def links(fleet: Fleet) -> Iterator[Links]:
    with fleet.links() as links:
        until(lambda: fleet.state(1) == fleet.state(2) == ("up", ""))
        yield links


@pytest.fixture
def started() -> list[str]:
    return []


@pytest.fixture
def works(fleet: Fleet, links: Links, started: list[str]) -> Works:
    """Host operations over real VM rows; starts elsewhere are only written down."""

    def submit(kind: str, request: Any, user: str) -> Any:
        started.append(f"{kind} {request.target} {request.request_id.split(':')[-1]}")
        return SimpleNamespace(operation=SimpleNamespace(id="o-1"))

    engine: Any = SimpleNamespace(submit=submit)
    found = Works(fleet, links)
    drivers = Drivers(links, fleet.reach, fleet.sealer, found.lines, VmTenants(Machines(links), lambda: engine))
    found.bench = Bench(fleet.store, *operations(drivers), resources={Drivers: drivers})
    return found


def vm(fleet: Fleet, name: str) -> VmRow:
    with fleet.store.read() as tx:
        return tx.get_one(VmRow, f"v-{name}")


@pytest.mark.parametrize("dead", [False, True])
def test_by_force_every_vm_is_off_there_and_the_highly_available_start_elsewhere(
    fleet: Fleet, works: Works, started: list[str], dead: bool
) -> None:
    if dead:
        fleet.world.power_off("kvm-1")
        until(fleet.stands(1, "alert", "unreachable"))
    record = works.through("host.remove", RemoveHost(target="kvm-1", force=True, confirm="kvm-1"))
    assert record.state is OperationState.SUCCEEDED, record.error
    assert {name: (vm(fleet, name).state, vm(fleet, name).host_id) for name in ("web", "db", "disk")} == dict.fromkeys(("web", "db", "disk"), ("stopped", None))
    assert started == ["vm.start v-web v-web"] and vm(fleet, "old").last_host_id is None
    assert not any(fleet.world.running_on(f"g-{name}") for name in ("web", "db", "disk"))
    assert any("disk cannot be restarted elsewhere" in line for line in works.said())
    with fleet.store.read() as tx:
        assert tx.get(HostRow, "h-1") is None


def test_degraded_the_highly_available_start_elsewhere_and_the_others_stay_unknown(fleet: Fleet, works: Works, started: list[str]) -> None:
    fleet.world.power_off("kvm-1")
    until(fleet.stands(1, "alert", "unreachable"))
    assert works.through("host.degrade", DeclareDegraded(target="kvm-1", confirmed=True)).state is OperationState.SUCCEEDED
    assert started == ["vm.start v-web v-web"]
    assert (vm(fleet, "web").state, vm(fleet, "web").host_id) == ("crashed", None)
    assert {(vm(fleet, name).state, vm(fleet, name).host_id) for name in ("db", "disk")} == {("unknown", "h-1")}


@pytest.mark.parametrize("verb", ["host.remove", "host.degrade"])
def test_killed_anywhere_the_highly_available_are_still_started(fleet: Fleet, works: Works, started: list[str], verb: str) -> None:
    fleet.world.power_off("kvm-1")
    until(fleet.stands(1, "alert", "unreachable"))
    asked: Any = RemoveHost(target="kvm-1", force=True, confirm="kvm-1") if verb == "host.remove" else DeclareDegraded(target="kvm-1", confirmed=True)
    operation = works.bench.submission.submit(verb, asked, "ada").operation
    assert operation is not None and works.bench.claim().started
    writes, real = [0], fleet.store.write

    class Killed(BaseException):
        pass

    kill_at = [1]

    me = threading.get_ident()

    def write() -> Any:
        if threading.get_ident() != me:  # the watch over links
            return real()
        writes[0] += 1
        if writes[0] == kill_at[0]:
            raise Killed
        return real()

    fleet.store.write = write  # type: ignore[method-assign]
    for kill_at[0] in range(1, 60):
        writes[0] = 0
        try:
            record = works.bench.run(operation.id)
        except Killed:
            continue
        break
    fleet.store.write = real  # type: ignore[method-assign]
    assert record.state is OperationState.SUCCEEDED, record.error
    assert set(started) == {"vm.start v-web v-web"}


def test_a_vm_on_its_way_there_is_left_to_its_source(fleet: Fleet, works: Works) -> None:
    with fleet.store.write() as tx:
        row = tx.get_one(VmRow, "v-db")
        row.host_id, row.destination_id, row.state = "h-2", "h-1", "migrating"
    works.through("host.remove", RemoveHost(target="kvm-1", force=True, confirm="kvm-1"))
    row = vm(fleet, "db")
    assert (row.state, row.host_id, row.destination_id) == ("unknown", "h-2", None)

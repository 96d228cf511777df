"""One maintenance from asking to closing, by keys alone, in an 80x24 terminal: a real daemon, a real console, simulated hosts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from fleet_tui.backend.hosts import HostRecord, ListHosts
from fleet_tui.backend.machines import ListVms, StopVm, VmRecord
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.maintenance import MaintenanceRecord, ShowMaintenance
from tests.journeys.site import Site, site
from tests.terminal.terminal import Terminal
from tests.waiting import until

pytestmark = pytest.mark.slow

ESC = "\x1b[27u"
SAVE = "\x0f"
KEPT = 2
"""VMs left running on the host, the smallest ones, so that the moves take seconds."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Site]:
    with site(flags=("--site", "paris", "--simulate", "--instances", "2", "--hosts", "6", "--seed", "7")) as found:
        yield found


def running(fleet: Site, host: str) -> list[VmRecord]:
    return [vm for vm in fleet.call(ListVms(host=host)).vms if vm.state is VmState.RUNNING]


def quiet_host(fleet: Site) -> HostRecord:
    """A KVM host whose neighbours can take what is left on it, with all but its smallest VMs stopped."""

    def free() -> HostRecord | None:
        hosts = [h for h in fleet.call(ListHosts()) if h.allocatable and h.hypervisor == "kvm" and h.vms]
        places = [h.location for h in hosts]
        return next((h for h in hosts if places.count(h.location) > 2 and not any(v.has_device for v in running(fleet, h.name))), None)

    host = until(free, 60.0, "a host among others")
    assert host is not None
    guests = sorted((vm for vm in running(fleet, host.name) if vm.kind == "guest"), key=lambda vm: vm.memory_mib)
    for vm in guests[KEPT:]:
        fleet.ended(fleet.submit(StopVm(target=vm.id, grace_s=0.0, confirmed=True)).id)
    return host


def session(fleet: Site, host: HostRecord) -> MaintenanceRecord:
    found: MaintenanceRecord = fleet.call(ShowMaintenance(host.id))
    return found


def test_a_whole_maintenance_by_keys(fleet: Site) -> None:
    host = quiet_host(fleet)
    start = "from fleet_tui.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    environment = {"FLEET_HOME": str(fleet.home), "XDG_CONFIG_HOME": str(fleet.home / "none"), "FLEET_SITE": ""}
    terminal = Terminal([sys.executable, "-c", start, "--no-start"], (80, 24), **environment)

    def step(*keys: str, shows: str) -> str:
        for key in keys:
            terminal.press(key)
            terminal.settle(0.2)
        return terminal.wait_for(shows)

    try:
        terminal.wait_for("link ok")
        step("3", shows=rf"HOST(?s:.*){host.name}")
        step("/", host.name, "enter", shows=rf"/{host.name}")
        step("m", shows=r"Forecast: nothing is changed(?s:.*)would move(?s:.*)M starts the maintenance")
        before = {vm.id: vm.state for vm in fleet.call(ListVms()).vms}

        step("M", shows=rf"Take {host.name} into maintenance(?s:.*)would move")
        step(SAVE, shows="say why")
        step("replace DIMM A3", "\t", "4711", "\t", "+2h", shows=r"\+2h")
        for _ in range(20):  # something of the simulated fleet's own may be on its way to the host just now
            if re.search("reparing for maintenance|Ready for", step(SAVE, shows=r"reparing for|Ready for|on its way|migrat|busy")):
                break
        step(shows=r"\[3\](?s:.*)replace DIMM A3 · until .* · ticket 4711|Ready for maintenance")
        terminal.wait_for(r"■ Ready for maintenance(?s:.*)\[4\] 5 6 7 8 9  ready")
        assert running(fleet, host.name) == []

        step("M", shows=r"\[5\]")
        count = len(session(fleet, host).checklist)
        step("M", *[" "] * count, ESC, shows="see that the host is well")
        step("N", "fan 2 is loud", "enter", shows="noted")
        step("M", shows=r"\[6\](?s:.*)M ends the maintenance")
        told = session(fleet, host)
        assert all(item.done for item in told.checklist) and told.notes[-1].text == "fan 2 is loud"

        step("M", shows="Leave it")
        step("enter", shows=r"\[6\]")  # enter on the focused button refuses
        step("M", "y", shows=r"\[8\] 9  migrate back")
        step("M", shows=rf"Migrate back to {host.name}(?s:.*)✓")
        moved = [vm for vm in told.vms if vm.state.value == "moved"]
        step("y", shows=rf"{len(moved)} back here(?s:.*)M closes the session")
        step("M", "y", shows="Forecast: nothing is changed")

        assert session(fleet, host).closed_at is not None
        assert {vm.id for vm in running(fleet, host.name)} >= {vm.vm_ref.partition(":")[2] for vm in moved}
        after = {vm.id: vm.state for vm in fleet.call(ListVms()).vms}
        stopped = {vm for vm, state in before.items() if state is VmState.RUNNING and after.get(vm) is VmState.STOPPED}
        assert not stopped, "no VM was stopped by it"
        terminal.press("q", "q", "q", "q")
    finally:
        terminal.close()

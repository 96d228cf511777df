"""Real hosts under a real daemon: taken in, filled with guests whose counters never stop, and looked at past the product."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as v
from fleet_tui.backend import maintenance as m
from fleet_tui.backend.errors import ConfirmationRequired, NotFound
from fleet_tui.backend.hypervisors.domain_xml import SERIAL_LOG
from tests.journeys.site import Site, site
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.waiting import until


@contextmanager
def real_fleet(lab: Lab, *flags: str) -> Iterator[Site]:
    """Three real hosts in an enabled cluster, and an offering."""
    with site(flags=flags) as found:
        found.call(h.CreateZone("z1", request_id="z"))
        found.call(h.CreatePod("p1", "z1", request_id="p"))
        found.call(h.CreateCluster("c1", "z1", "p1", request_id="c"))
        for kind, name in (("zone", "z1"), ("pod", "p1"), ("cluster", "c1")):
            found.call(h.SetAllocation(kind, name, True))
        for host in lab.hosts:
            add(found, lab, host)
        for host in lab.hosts:
            until(lambda name=host.name: found.call(h.ShowHost(name)).connection_state == "up", 90, f"{host.name} is up")  # type: ignore[misc]
        found.call(v.CreateOffering("tiny", cores=1, mhz=100, memory_mib=128, request_id="o"))
        yield found


def add(fleet: Site, lab: Lab, host: Host) -> None:
    asked = h.AddHost(target=host.address, cluster="c1", user="root", private_key=lab.key)
    with pytest.raises(ConfirmationRequired) as refused:
        fleet.client().call(replace(asked, request_id=f"look-{host.name}"))
    fleet.do(replace(asked, accept_fingerprint=refused.value.details["fingerprint"]), timeout=90)


def create(fleet: Site, lab: Lab, name: str, host: str, words: str = "", *, disk_mib: int = 0) -> None:
    fleet.do(v.CreateVm(
        target=name, cluster="c1", offering="tiny", host=host, kernel=str(lab.boot.kernel), initrd=str(lab.boot.initrd), owners=("ada",),
        cmdline=f"console=ttyS0 quiet {words}".rstrip(), disk_mib=disk_mib, local_disk=bool(disk_mib),
    ), timeout=120)
    counts_on(lab, name, 0)


def ticks(lab: Lab, name: str) -> list[int]:
    """Every number it counted, on whichever host its serial line was written then."""
    found: set[int] = set()
    for host in lab.hosts:
        if host.pid and name in host.virsh("list", "--name", "--state-running").split():
            log = SERIAL_LOG.format(id=host.virsh("domuuid", name).strip())
    for host in lab.hosts:
        text = host.run("sh", "-c", f"cat {log} 2>/dev/null || true")
        found |= {int(number) for number in re.findall(r"TICK (\d+) [^\n]*\n", text)}
    return sorted(found)


def counts_on(lab: Lab, name: str, after: int) -> int:
    """It goes on counting from where it was: it never began anew, and at most a line broken by a switch-over is missing. The last number."""
    until(lambda: (ticks(lab, name) or [0])[-1] > after + 3, 90, f"{name} counts on from {after}")
    seen = ticks(lab, name)
    missing = sorted(set(range(1, seen[-1] + 1)) - set(seen))
    assert len(missing) <= 2, f"{name} lost ticks: {missing}"
    return seen[-1]


def where(lab: Lab, name: str) -> list[str]:
    """Hosts whose libvirt says that it runs there; one without power says nothing, and runs nothing."""
    return [host.name for host in lab.hosts if host.pid and name in host.virsh("list", "--name", "--state-running").split()]


def show(fleet: Site, host: str = "kvm1") -> m.MaintenanceRecord:
    record: m.MaintenanceRecord = fleet.call(m.ShowMaintenance(host))
    return record


def moving(fleet: Site) -> list[m.Evacuee]:
    """VMs on their way; none before the session is there."""
    with contextlib.suppress(NotFound):
        return [vm for vm in fleet.client().call(m.ShowMaintenance("kvm1")).vms if vm.state is m.MoveState.MOVING]
    return []

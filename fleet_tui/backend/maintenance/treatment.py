"""What is done with one VM of a host that is emptied (the table of spec 8.4). Pure: what there is in, what to do out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import VmState

RECREATED = frozenset({"console-proxy", "storage-vm"})
"""System VMs that hold nothing of their own: where one cannot be moved it is destroyed and made anew."""


class Way(str, Enum):
    """How a VM leaves."""

    MOVE = "move"
    """Live migration."""
    MOVE_WITH_DISK = "move with its disk"
    RESTART = "restart elsewhere"
    """A container: stopped here, started there."""
    STAY = "stay"
    """It does not run; it is counted and stays."""
    STOP = "stop"
    """Only ever chosen when stopping was allowed."""
    RECREATE = "recreate elsewhere"
    BLOCK = "block"
    """It cannot go, and nobody allowed to stop it."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """A way, and why no better one."""

    way: Way
    why: str = ""
    hint: str = ""

    @property
    def needs_destination(self) -> bool:
        return self.way in (Way.MOVE, Way.MOVE_WITH_DISK, Way.RESTART)


def of(vm: VmRow, hypervisor: str, local_storage: str, allow_stop: bool) -> Treatment:
    """How that VM would leave if there is a destination."""
    if vm.state == VmState.STOPPED.value:
        return Treatment(Way.STAY)
    if vm.has_device:
        return without_destination(vm, allow_stop, "it has a virtual GPU or pass-through device, which cannot move while it runs")
    if not vm.has_local_disk:
        return Treatment(Way.RESTART if is_container(vm, hypervisor) else Way.MOVE)
    if local_storage == "migrate":
        return Treatment(Way.MOVE_WITH_DISK)
    why = "it has a disk on the host's own storage, and maintenance.local.storage.strategy is"
    if local_storage == "stop":
        return without_destination(vm, allow_stop, f"{why} stop")
    return Treatment(Way.BLOCK, f"{why} error", "move or stop it by hand, or have local disks moved along")


def is_container(vm: VmRow, hypervisor: str) -> bool:
    return hypervisor == "lxc" and vm.kind == "guest"


def resumed(vm: VmRow, hypervisor: str, destination_id: str | None) -> Treatment | None:
    """How one goes on whose attempt a crash cut short: ``None`` when it is to be found out first what became of it."""
    if vm.kind in RECREATED and (vm.host_id is None or vm.state == VmState.STARTING.value):
        return Treatment(Way.RECREATE, "the daemon ended before it was made anew")
    return Treatment(Way.RESTART) if is_container(vm, hypervisor) and destination_id else None


def without_destination(vm: VmRow, allow_stop: bool, why: str) -> Treatment:
    """What is done with one that cannot be moved."""
    if vm.kind in RECREATED:
        return Treatment(Way.RECREATE, why)
    if allow_stop:
        return Treatment(Way.STOP, why)
    return Treatment(Way.BLOCK, why, "stop it by hand, or ask again with allow-stop (admin)")

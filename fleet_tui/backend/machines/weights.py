"""Who gets how much of a host's CPU when there is not enough for all (spec 9.4)."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.hosts.hierarchy import find_host
from fleet_tui.backend.machines import WeightRecord
from fleet_tui.backend.machines.capacity import TAKING
from fleet_tui.backend.machines.rows import OfferingRow, VmRow


def show_weights(tx: Session, target: str) -> tuple[WeightRecord, ...]:
    """Share = w / sum of w over the VMs on the host, w = MHz x cores; as whole MHz of the machine, rounded down.

    Cores are strict: no VM uses more than its own, so what a share gives beyond that is nobody's guarantee.
    """
    host = find_host(tx, target)
    query = select(VmRow.name, VmRow.cores, VmRow.mhz, OfferingRow.limit_cpu).join(OfferingRow, VmRow.offering_id == OfferingRow.id)
    found = tx.execute(query.where(VmRow.host_id == host.id, VmRow.state.in_(TAKING))).all()
    total, raw = sum(vm.cores * vm.mhz for vm in found), host.cores * host.mhz
    return tuple(
        WeightRecord(vm.name, weight, weight / total, min(raw * weight // total, alone), alone)
        for vm in sorted(found, key=lambda vm: (-vm.cores * vm.mhz, vm.name))
        for weight in (vm.cores * vm.mhz,)
        for alone in (min(weight, vm.cores * host.mhz) if vm.limit_cpu else vm.cores * host.mhz,)
    )

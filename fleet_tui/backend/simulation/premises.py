"""A simulated site's zones, hosts and VMs: into the store's rows, and into the world of fake hypervisors, which tell the same story."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.hosts.access import key_context
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PatchRow, PodRow, ZoneRow
from fleet_tui.backend.hypervisors import GuestState
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import File, Guest, Host
from fleet_tui.backend.machines.rows import MoveRow, OfferingRow, VmRow
from fleet_tui.backend.machines.states import ON_HOST, MovePhase, VmState
from fleet_tui.backend.maintenance import MoveState, Step
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow
from fleet_tui.backend.remote.fake import Machine
from fleet_tui.backend.secrets import Sealer
from fleet_tui.backend.simulation import cabling
from fleet_tui.backend.simulation.blueprint import GIB, HostPlan, identity
from fleet_tui.backend.simulation.rows import insert_rows
from fleet_tui.backend.simulation.vm_plans import MHZ, OFFERINGS, ClusterPlan, VmPlan

_BASE_MEMORY = 2 * GIB
"""What a hypervisor takes for itself."""
_VERSIONS: Mapping[str, str] = {"kvm": "9.0.0", "vsphere": "8.0.2", "xenserver": "8.4.0"}
_PATCHES: tuple[tuple[str, str, int, str, str], ...] = (
    ("kvm", "qemu-7.2.9", 190, "important", "migration of guests with more than 255 CPUs"),
    ("kvm", "libvirt-9.0.0-4", 75, "normal", "leak of file descriptors when a job is aborted"),
    ("kvm", "qemu-7.2.13", 24, "critical", "a guest can write outside of a virtio ring"),
    ("vsphere", "ESXi80U2b", 210, "important", "purple screen when a datastore is removed"),
    ("vsphere", "ESXi80U2d", 88, "normal", "vMotion over several NICs stalls"),
    ("vsphere", "ESXi80U2e", 30, "critical", "a guest can run code on the host by its USB controller"),
    ("xenserver", "XS84E001", 160, "important", "storage manager: coalescing stops after an error"),
    ("xenserver", "XS84E004", 61, "normal", "new guest tools"),
    ("xenserver", "XS84E007", 9, "critical", "a guest can read memory of the host"),
)
"""(hypervisor, patch, days since its release, severity, note), oldest first: a host that has two of them has the first two."""
_KEY = b"simulated: every simulated host lets any key in"


def enter(tx: Session, world: FakeWorld, sealer: Sealer, clusters: Sequence[ClusterPlan], vms: Sequence[VmPlan], now: datetime, seed: int) -> None:
    """Rows and world of the whole site. The world last: it is not undone with the transaction, but made again the same."""
    hosts = [host for cluster in clusters for host in cluster.hosts]
    on: dict[str, list[VmPlan]] = {}
    for vm in vms:
        on.setdefault(vm.host.id, []).append(vm)
    machines = {host.id: Machine(host.address, host.name, link="unreachable" if host.reason in ("unreachable", "off") else "") for host in hosts}
    masters = {cluster.hosts[0].id for cluster in clusters if cluster.has_masters}
    _insert_hierarchy(tx, clusters)
    insert_rows(tx, HostRow, [_host(host, machines[host.id], on.get(host.id, ()), host.id in masters, sealer, now) for host in hosts])
    insert_rows(tx, PatchRow, list(_patches(now)))
    insert_rows(tx, OfferingRow, [_offering(offering.name) for offering in OFFERINGS])
    insert_rows(tx, VmRow, [_vm(vm, now) for vm in vms])
    for host in hosts:
        if host.resource_state == "Maintenance":
            _insert_session(tx, host, [vm for vm in vms if vm.came_from is host], now, seed)
    laid = cabling.lay(tx, clusters, vms, now, seed)
    world.adopt(
        (_world_host(host, host.id in masters, laid) for host in hosts),
        (_guest(vm, now, laid) for vm in vms),
        machines.values(),
        (File(f"{vm.host.name if vm.has_local_disk else vm.cluster}:{disk['path']}", disk["size_bytes"]) for vm in vms for disk in _disks(vm)),
    )


# --- the hierarchy ---------------------------------------------------------------------------------------------------


def _insert_hierarchy(tx: Session, clusters: Sequence[ClusterPlan]) -> None:
    zones = sorted({cluster.zone for cluster in clusters})
    pods = sorted({(cluster.zone, cluster.pod) for cluster in clusters})
    insert_rows(tx, ZoneRow, [
        {"id": f"z-{zone}", "name": zone, "allocation": "Enabled", "network_type": "advanced", "dns": ["9.9.9.9", f"10.{n}.0.53"],
         "guest_cidr": f"10.1{n}.0.0/16"}
        for n, zone in enumerate(zones, 1)
    ])
    insert_rows(tx, PodRow, [
        {"id": f"p-{pod}", "name": pod, "zone_id": f"z-{zone}", "allocation": "Enabled", "gateway": f"10.9.{n}.1", "netmask": "255.255.255.0",
         "start_ip": f"10.9.{n}.10", "end_ip": f"10.9.{n}.250"}
        for n, (zone, pod) in enumerate(pods, 1)
    ])
    insert_rows(tx, ClusterRow, [
        {"id": f"c-{cluster.name}", "name": cluster.name, "pod_id": f"p-{cluster.pod}", "hypervisor": cluster.hypervisor, "allocation": "Enabled",
         "cpu_hundredths": cluster.cpu_ratio, "ram_hundredths": cluster.ram_ratio,
         "ratio_is_own": (cluster.cpu_ratio, cluster.ram_ratio) != (100, 100)}
        for cluster in clusters
    ])


def _host(host: HostPlan, machine: Machine, vms: Sequence[VmPlan], is_master: bool, sealer: Sealer, now: datetime) -> dict[str, Any]:
    used = _BASE_MEMORY + sum(vm.memory_bytes for vm in vms if vm.state in ON_HOST)
    since = now - timedelta(minutes=47)
    is_up = host.connection_state == "up"
    return {
        "id": host.id, "name": host.name, "cluster_id": f"c-{host.cluster}", "address": host.address, "resource_state": host.resource_state,
        "state_since": now - timedelta(hours=2, minutes=10) if host.resource_state != "Enabled" else now - timedelta(days=90),
        "connection_state": host.connection_state, "reason": host.reason, "connection_since": now - timedelta(days=12) if is_up else since,
        "expected_off_until": now + timedelta(minutes=30) if host.connection_state == "disconnected" else None,
        "ssh_user": "root", "ssh_port": 22, "key_sealed": sealer.seal(_KEY, key_context(host.id)), "host_key": machine.host_key.text,
        "accepted_key": machine.host_key.fingerprint, "hypervisor_version": _VERSIONS[host.hypervisor], "arch": "x86_64", "serial": host.serial,
        "uuid": _uuid(host), "patch_level": _level(host), "is_master": is_master,
        "facts": {"host_name": host.name, "hypervisor": host.hypervisor, "pools": ["default"], "nics": ["eth0", "eth1"]}, "mhz": MHZ,
        "location_note": host.note, "cores": host.cores, "memory_bytes": host.memory_gib * GIB, "memory_used_bytes": used,
        "disk_bytes": host.disk_gib * GIB, "disk_used_bytes": int(host.disk_gib * GIB * host.disk_used), "load": host.load,
        "measured_at": now if is_up else since,
    }


def _uuid(host: HostPlan) -> str:
    return str(uuid.UUID(int=random.Random(host.id).getrandbits(128), version=4))


def _level(host: HostPlan) -> str:
    """The patches it has, as it reports them."""
    return " ".join([patch for kind, patch, *_ in _PATCHES if kind == host.hypervisor][:host.patches])


def _patches(now: datetime) -> Iterator[dict[str, Any]]:
    for kind, patch, days, severity, note in _PATCHES:
        released = now - timedelta(days=days)
        yield {
            "id": f"patch-{patch}", "hypervisor": kind, "hypervisor_version": _VERSIONS[kind], "patch": patch, "note": note,
            "released": released.date().isoformat(), "severity": severity, "superseded_by": "", "imported_at": released + timedelta(days=1),
        }


# --- VMs -------------------------------------------------------------------------------------------------------------


def _offering(name: str) -> dict[str, Any]:
    offering = next(found for found in OFFERINGS if found.name == name)
    return {
        "id": f"of-{name}", "name": name, "cores": offering.cores, "mhz": offering.mhz, "memory_mib": offering.memory_mib,
        "limit_cpu": offering.limit_cpu, "ha": offering.ha, "tags": [], "system_kind": offering.system_kind,
    }


def _vm(vm: VmPlan, now: datetime) -> dict[str, Any]:
    runs = vm.state in ON_HOST
    created = now - timedelta(days=vm.uptime_days + 20)
    return {
        "id": vm.id, "guest_id": vm.guest, "name": vm.name, "kind": vm.kind, "cluster_id": f"c-{vm.cluster}", "offering_id": f"of-{vm.offering.name}",
        "state": vm.state.value, "host_id": vm.host.id, "destination_id": None, "last_host_id": vm.host.id,
        "stopped_at": None if runs else now - timedelta(hours=vm.stopped_h), "cores": vm.offering.cores, "mhz": vm.offering.mhz,
        "memory_mib": vm.offering.memory_mib, "cpu_hundredths": vm.cpu_ratio, "ram_hundredths": vm.ram_ratio,
        "boot": {"kernel": "", "initrd": "", "cmdline": ""}, "disks": _disks(vm), "tags": list(vm.tags), "exclusion_tags": list(vm.exclusion_tags),
        "owners": list(vm.owners), "account": vm.account, "ips": [vm.ip], "destroy_protected": vm.is_protected, "ha": vm.offering.ha,
        "has_device": vm.has_device, "has_local_disk": vm.has_local_disk, "has_balloon": vm.kind == "guest" or None, "error": vm.error,
        "version": 1, "created_at": created, "updated_at": created if runs else now - timedelta(hours=vm.stopped_h),
    }


def _disks(vm: VmPlan) -> list[dict[str, Any]]:
    size = 20 * GIB + vm.memory_bytes
    where = "/var/lib/libvirt/images" if vm.has_local_disk else "/shared"
    return [{"path": f"{where}/{vm.name}.qcow2", "size_bytes": size, "source": "", "format": "qcow2", "is_local": vm.has_local_disk}]


def _guest(vm: VmPlan, now: datetime, laid: cabling.Cabling) -> Guest:
    rng = random.Random(vm.id)
    booted = now.timestamp() - vm.uptime_days * 86_400
    runs = vm.state in ON_HOST
    state = GuestState.RUNNING if runs else GuestState.CRASHED if vm.state is VmState.CRASHED else GuestState.OFF
    return Guest(
        f"{vm.guest}@{vm.host.name}", vm.guest, vm.name, vm.host.name, state.value, vm.offering.cores, vm.memory_bytes,
        vm.memory_bytes * 100 // vm.ram_ratio, vm.offering.cores * vm.offering.mhz, disks=_disks(vm), nics=laid.cards.get(vm.id, []),
        has_device=vm.has_device,
        dirty_rate=rng.uniform(0.02, 0.35) * 1e9, booted=booted, arrived=booted, stopped=0.0 if runs else now.timestamp() - vm.stopped_h * 3600,
    )


def _world_host(host: HostPlan, is_master: bool, laid: cabling.Cabling) -> Host:
    return Host(
        host.name, host.address, host.hypervisor, host.cluster, host.cores, MHZ, host.memory_gib * GIB, host.disk_gib * GIB,
        int(host.disk_gib * GIB * host.disk_used), host.load, version=_VERSIONS[host.hypervisor], serial=host.serial, uuid=_uuid(host),
        patch_level=_level(host), is_on=host.reason != "off", link="" if host.reason == "off" else host.reason, is_master=is_master,
        in_mode=host.hypervisor == "xenserver" and host.resource_state == "Maintenance", interfaces=laid.interfaces.get(host.id, []),
    )


# --- the maintenance that is open ------------------------------------------------------------------------------------


def _insert_session(tx: Session, host: HostPlan, moved: Sequence[VmPlan], now: datetime, seed: int) -> None:
    """Its VMs were moved away two hours ago, one after the other."""
    rng = random.Random(f"session:{host.id}:{seed}")
    begun, session = now - timedelta(hours=2, minutes=15), identity(rng, "m")
    insert_rows(tx, SessionRow, [{
        "id": session, "host_id": host.id, "open_host_id": host.id, "step": Step.WORK.value, "reason": "replace DIMM A3", "ticket": "4711",
        "owner": "anna", "started_at": begun, "planned_end": now + timedelta(hours=1, minutes=20),
        "checklist": [
            {"text": text, "done": done, "by": "anna" if done else ""}
            for text, done in (("the work that this is for is done", False), ("firmware is that of its neighbours", True), ("rebooted", False))
        ],
        "notes": [{"time": (now - timedelta(minutes=50)).isoformat(), "user": "anna", "text": "the vendor's technician is in the room"}],
        "announced_at": begun - timedelta(hours=20), "announced_to": sorted({owner for vm in moved for owner in vm.owners}),
    }])
    at, moves, evacuees = begun + timedelta(seconds=20), [], []
    for position, vm in enumerate(sorted(moved, key=lambda vm: (-vm.memory_bytes, vm.name)), 1):
        took, paused = int(vm.memory_bytes / 9e8 * 1000) + 400, rng.randint(70, 260)
        moves.append({
            "id": identity(rng, "mv"), "vm_id": vm.id, "source_id": host.id, "destination_id": vm.host.id, "phase": MovePhase.DONE.value,
            "percent": 100, "detail": "", "attempt": 1, "outcome": "moved", "error": "", "downtime_ms": paused, "elapsed_ms": took,
            "operation_id": None, "started_at": at, "ended_at": at + timedelta(milliseconds=took),
        })
        evacuees.append({
            "session_id": session, "vm_id": vm.id, "position": position, "name": vm.name, "state": MoveState.MOVED.value, "attempt": 1,
            "destination_id": vm.host.id, "elapsed_ms": took, "downtime_ms": paused,
        })
        at += timedelta(milliseconds=took + 300)
    insert_rows(tx, MoveRow, moves)
    insert_rows(tx, EvacueeRow, evacuees)

"""A fleet of hosts and VMs in several states, for pictures and for tests of their screens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from fleet_tui.backend import hosts as h
from fleet_tui.backend import telemetry
from fleet_tui.backend.api import ZoneRoom
from fleet_tui.backend.hosts.states import Allocation
from fleet_tui.backend.identity import Role
from tests.fleet_stub import NOW, StubSession, operation
from tests.infrastructure_stub import cluster, evacuee, kvm, moving, pod, session, vm, zone


def said(seq: int, label: str, phase: str, text: str, level: str = "info", ref: str = "vm") -> telemetry.LogLine:
    return telemetry.LogLine(
        seq, NOW + timedelta(seconds=seq), "worker", phase, level, text, f"{ref}:{ref[0]}-{label}", label, seq, "o-m"
    )


def hosts_fleet(role: Role = Role.ROOT_ADMIN) -> StubSession:
    """Two zones, three clusters, eleven hosts; one of them in maintenance, one out of reach, one disabled."""
    stub = StubSession(role)
    stub.zones = [zone("paris", pods=2, clusters=2, hosts=9), zone("lyon", allocation=Allocation.DISABLED, hosts=2)]
    stub.pods = [pod("pod-1", "paris"), pod("pod-2", "paris"), pod("pod-9", "lyon")]
    stub.clusters = [
        cluster("kvm-a", "paris", "pod-1", hosts=7), cluster("xen-1", "paris", "pod-2", hypervisor="xenserver", mismatch={"xen-01": "old password"}),
        cluster("spare", "lyon", "pod-9"),
    ]  # fmt: skip
    stub.hosts = [
        kvm("kvm-02"), kvm("kvm-03"), kvm("kvm-05"), kvm("kvm-11", patches_behind=1),
        kvm("kvm-09", patches_behind=4, patches_critical=2),
        kvm("kvm-17", resource_state="PrepareForMaintenance", allocatable=False, why_not="it is being emptied", vms=5, operation_id="o-m",
            operation="maintain: evacuate 9/14", state_since=NOW - timedelta(seconds=130)),
        kvm("kvm-08", connection_state="alert", reason="no-service", allocatable=False, why_not="its link is not up"),
        kvm("xen-01", "paris/pod-2/xen-1", hypervisor="xenserver", version="8.2.1", is_master=True),
        kvm("xen-02", "paris/pod-2/xen-1", hypervisor="xenserver", version="8.2.1", resource_state="Disabled", allocatable=False, why_not="it is disabled"),
        kvm("spare-1", "lyon/pod-9/spare", allocatable=False, why_not="zone lyon is disabled", vms=0, cpu_used=0.0, ram_used=0.0),
        kvm("spare-2", "lyon/pod-9/spare", resource_state="Error", connection_state="error", allocatable=False, vms=0, cpu_used=0.0, ram_used=0.0,
            error="serial SN00001 is that of kvm-01 already", why_not="it was not added"),
    ]  # fmt: skip
    for row in (
        vm("db-7", "kvm-17", "migrating", memory_mib=16384, move=moving("db-7", "kvm-17", "kvm-03"), operation_id="o-m", operation="migrate"),
        vm("mail-1", "kvm-17", "migrating", memory_mib=8192, move=moving("mail-1", "kvm-17", "kvm-11", "switch", 98), operation_id="o-m"),
        vm("gpu-02", "kvm-17", memory_mib=32768, has_device=True), vm("ci-12", "kvm-17"), vm("ci-13", "kvm-17"),
        vm("web-3", "kvm-11", memory_mib=2048), vm("r-114-VM", "kvm-02", kind="router", memory_mib=256, owners=()),
        vm("old-1", "kvm-03", on_old_ratio=True), vm("crash-1", "kvm-05", "crashed", error="QEMU ended with signal 9"),
        vm("off-1", "", "stopped", last_host="kvm-02"), *(vm(f"app-{n}", "kvm-05", memory_mib=1024) for n in range(1, 8)),
    ):  # fmt: skip
        stub.put_vm(row)
    stub.put_session(session())
    stub.put_session(session("kvm-05", "Enabled", closed_at=NOW - timedelta(days=40), started_at=NOW - timedelta(days=40), operation_id=None))
    stub.patches = [
        h.PatchRecord("kvm", "9.2.0", "KVM-2026-11", "2026-11-02", "critical", "guest can write past its memory", "", 2),
        h.PatchRecord("kvm", "9.2.0", "KVM-2026-07", "2026-07-14", "important", "migration over IPv6", "", 4),
        h.PatchRecord("kvm", "9.2.0", "KVM-2026-03", "2026-03-01", "normal", "", "KVM-2026-07", 0),
        h.PatchRecord("xenserver", "8.2.1", "XS82E042", "2026-10-20", "important", "host restart needed", "", 0),
    ]
    stub.add(operation("o-m", "kvm-17", kind="host.maintain", title="maintain", target_ref="host:h-kvm-17"))
    stub.rooms = (ZoneRoom("paris", 0.61, 0.09, 0.78, 0.04, False, 69), ZoneRoom("lyon", 0.25, 0.0, 0.2, 0.0, True, 0))
    words = (
        ("db-7", "copy", "1.9 GiB/s, 4.6 GiB left, dirtying 0.3 GiB/s", "info"), ("mail-1", "switch", "paused, sending 31 MiB", "info"),
        ("mail-1", "verify", "running on kvm-11, address answers", "info"), ("gpu-02", "check", "cannot move: pass-through device", "error"),
    )  # fmt: skip
    for n in range(1, 25):
        stub.add(said(n, *words[n % 4]))
    return stub


def ready(stub: StubSession) -> StubSession:
    """kvm-17 empty and ready."""
    row = stub.sessions["kvm-17"]
    from fleet_tui.backend.maintenance import Step

    gone = tuple(replace(v, state=type(v.state)("moved"), destination=v.destination or "kvm-05", attempt=1, elapsed_ms=9000, downtime_ms=110,
                         error="", hint="") for v in row.vms)  # fmt: skip
    stub.put_session(replace(row, resource_state="Maintenance", step=Step.READY, vms=gone, blockers=(), operation_id=None, estimate_s=None))
    host = next(h for h in stub.hosts if h.name == "kvm-17")
    stub.put_host(replace(host, resource_state="Maintenance", vms=0, operation_id=None, operation=""))
    return stub


__all__ = ["evacuee", "hosts_fleet", "ready", "said"]

"""Zones, hosts, VMs and maintenance sessions in memory, for the session without a daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from queue import Empty, SimpleQueue
from typing import Any

from fleet_tui.backend import api, hosts, machines, maintenance, operations
from fleet_tui.backend.errors import InvalidInput, NotFound, Problem
from fleet_tui.backend.hosts.states import Allocation
from fleet_tui.backend.machines.states import MovePhase, VmState
from fleet_tui.backend.maintenance import MoveState, Step

NOW = datetime(2026, 11, 20, 14, 2, 11, tzinfo=timezone.utc)
GIB = 1024**3


def zone(name: str, **fields: Any) -> hosts.ZoneRecord:
    values: dict[str, Any] = {"id": f"z-{name}", "name": name, "allocation": Allocation.ENABLED, "network_type": "advanced", "dns": (),
                              "guest_cidr": "", "pods": 1, "clusters": 1, "hosts": 0}  # fmt: skip
    return hosts.ZoneRecord(**{**values, **fields})


def pod(name: str, zone: str, **fields: Any) -> hosts.PodRecord:
    values: dict[str, Any] = {"id": f"p-{name}", "name": name, "zone": zone, "allocation": Allocation.ENABLED, "gateway": "", "netmask": "",
                              "start_ip": "", "end_ip": "", "clusters": 1, "hosts": 0}  # fmt: skip
    return hosts.PodRecord(**{**values, **fields})


def cluster(name: str, zone: str, pod: str, **fields: Any) -> hosts.ClusterRecord:
    values: dict[str, Any] = {
        "id": f"c-{name}", "name": name, "zone": zone, "pod": pod, "allocation": Allocation.ENABLED, "hypervisor": "kvm", "arch": "x86_64",
        "managed": "Managed", "cpu_ratio": 4.0, "ram_ratio": 1.0, "ratio_origin": "own", "dedicated_account": "", "mismatch": {}, "hosts": 0,
    }  # fmt: skip
    return hosts.ClusterRecord(**{**values, **fields})


def kvm(name: str, place: str = "paris/pod-1/kvm-a", **fields: Any) -> hosts.HostRecord:
    """A host that is well unless told otherwise."""
    number = int("".join(c for c in name if c.isdigit()) or 1)
    values: dict[str, Any] = {
        "id": f"h-{name}", "name": name, "location": place, "hypervisor": "kvm", "address": f"10.0.0.{number}", "resource_state": "Enabled",
        "connection_state": "up", "cores": 32, "memory_bytes": 256 * GIB, "memory_used_bytes": 150 * GIB, "disk_bytes": 4000 * GIB,
        "disk_used_bytes": 1200 * GIB, "load": 0.2 + number % 5 / 10, "instances": 0, "measured_at": NOW, "vms": 6 + number % 5,
        "cpu_used": 0.3 + number % 7 / 20, "ram_used": 0.4 + number % 6 / 15, "version": "9.2.0", "serial": f"SN{number:05}", "arch": "x86_64",
        "mhz": 2400, "is_secured": True, "ssh_user": "fleet", "host_key": "SHA256:mXh6f7fQm3xk0v9bq0aH6tq9B2n7mJr0xE5m1mYc1aA",
        "state_since": NOW - timedelta(days=3), "nics": ("eth0 10 Gb/s up", "eth1 10 Gb/s up"),
    }  # fmt: skip
    return hosts.HostRecord(**{**values, **fields})


def vm(name: str, host: str = "kvm-03", state: str = "running", **fields: Any) -> machines.VmRecord:
    number = sum(map(ord, name)) % 200 + 10
    kind = VmState(state)
    values: dict[str, Any] = {
        "id": f"v-{name}", "name": name, "kind": "guest", "cluster": "kvm-a", "offering": "m2.small", "state": kind, "host": host,
        "last_host": host, "cores": 2, "mhz": 2000, "memory_mib": 4096, "owners": ("ann",), "tags": (), "account": "shop",
        "destroy_protected": True, "ha": False, "has_local_disk": False, "has_device": False, "exclusion_tags": (), "ips": (f"10.1.40.{number}",),
        "on_old_ratio": False, "move": None, "operation_id": None, "operation": "", "error": "", "version": 1,
        "created_at": NOW - timedelta(days=40), "updated_at": NOW - timedelta(hours=2),
    }  # fmt: skip
    return machines.VmRecord(**{**values, **fields})


def moving(name: str, source: str, destination: str, phase: str = "copy", percent: int = 71, **fields: Any) -> machines.MoveRecord:
    values: dict[str, Any] = {
        "id": f"mv-{name}", "vm": name, "vm_id": f"v-{name}", "source": source, "destination": destination, "phase": MovePhase(phase),
        "percent": percent, "detail": "1.9 GiB/s, 4.6 GiB left", "attempt": 1, "outcome": "", "error": "", "downtime_ms": None,
        "elapsed_ms": None, "operation_id": "o-m", "started_at": NOW - timedelta(seconds=9), "ended_at": None,
    }  # fmt: skip
    return machines.MoveRecord(**{**values, **fields})


def evacuee(name: str, state: str, memory_mib: int = 4096, **fields: Any) -> maintenance.Evacuee:
    values: dict[str, Any] = {
        "vm": name, "vm_ref": f"vm:v-{name}", "kind": "guest", "memory_mib": memory_mib, "state": MoveState(state), "phase": "", "percent": 0,
        "detail": "", "attempt": 0, "attempts": 5, "destination": "", "error": "", "hint": "", "next_try_at": None, "elapsed_ms": None,
        "downtime_ms": None, "back": "",
    }  # fmt: skip
    return maintenance.Evacuee(**{**values, **fields})


EVACUEES = (
    evacuee("gpu-02", "blocked", 32768, error="pass-through device", hint="Stop it by hand, or restart with allow-stop (admin)."),
    evacuee("db-7", "moving", 16384, phase="copy", percent=71, attempt=1, destination="kvm-03", detail="1.9 GiB/s, 4.6 GiB left"),
    evacuee("mail-1", "moving", 8192, phase="switch", percent=98, attempt=1, destination="kvm-11"),
    evacuee("ci-12", "waiting", destination="kvm-03"), evacuee("ci-13", "waiting", destination="kvm-05"),
    evacuee("r-114-VM", "moved", 256, kind="router", attempt=1, destination="kvm-02", elapsed_ms=41_000, downtime_ms=180, percent=100),
    evacuee("web-3", "moved", 2048, attempt=2, destination="kvm-11", elapsed_ms=12_000, downtime_ms=140, percent=100),
    *(evacuee(f"app-{n}", "moved", 1024, attempt=1, destination="kvm-05", elapsed_ms=9_000, downtime_ms=90, percent=100) for n in range(1, 8)),
)


def session(host: str = "kvm-17", state: str = "PrepareForMaintenance", **fields: Any) -> maintenance.MaintenanceRecord:
    values: dict[str, Any] = {
        "id": f"s-{host}", "host": host, "host_ref": f"host:h-{host}", "hypervisor": "kvm", "resource_state": state,
        "state_since": NOW - timedelta(seconds=130), "step": Step.PREPARE, "reason": "replace DIMM A3", "ticket": "4711", "owner": "op1",
        "started_at": NOW - timedelta(seconds=130), "planned_end": NOW + timedelta(hours=2, minutes=28), "closed_at": None, "is_overrun": False,
        "allow_stop": False, "vms": EVACUEES, "parallel": 2, "estimate_s": 100.0,
        "checklist": tuple(maintenance.CheckItem(text, False) for text in ("power off", "replace the part", "power on", "check the logs")),
        "notes": (maintenance.Note(NOW - timedelta(seconds=60), "op1", "DIMM is in the rack drawer"),),
        "blockers": (maintenance.Blocker("in_use", "gpu-02", "cannot move: pass-through device.", "Stop it by hand, or restart with allow-stop (admin)."),),
        "announced_at": None, "announced_to": (), "operation_id": "o-m", "own_mode": "", "master": "",
    }  # fmt: skip
    return maintenance.MaintenanceRecord(**{**values, **fields})


def amount(raw: int, ratio: float, used: float, reserved: float = 0.0) -> machines.Amount:
    capacity = int(raw * ratio)
    return machines.Amount(raw, capacity, int(capacity * used), int(capacity * reserved))


class Echo:
    """A guest's serial line that answers with what was typed, in green."""

    def __init__(self) -> None:
        self.typed, self.is_closed = b"", False
        self._said: SimpleQueue[bytes | None] = SimpleQueue()

    def send(self, data: bytes) -> None:
        self.typed += data
        self._said.put(b"\x1b[32m" + data.replace(b"\r", b"\r\n") + b"\x1b[0m")

    def hang_up(self) -> None:
        self._said.put(None)

    def receive(self, timeout_s: float) -> bytes | None:
        try:
            return self._said.get(timeout=min(timeout_s, 0.05))
        except Empty:
            return b""

    def close(self) -> None:
        self.is_closed = True


class InfrastructureStub:
    """Answers about hosts, VMs and maintenance."""

    zones: list[hosts.ZoneRecord]
    pods: list[hosts.PodRecord]
    clusters: list[hosts.ClusterRecord]
    hosts: list[hosts.HostRecord]
    vms: dict[str, machines.VmRecord]
    sessions: dict[str, maintenance.MaintenanceRecord]
    patches: list[hosts.PatchRecord]
    offerings: list[machines.OfferingRecord]
    forecast: maintenance.ForecastRecord | None
    touch: Callable[..., None]
    """Of the session that it is part of: an event about an object."""

    def begin_infrastructure(self) -> None:
        self.zones, self.pods, self.clusters, self.patches = [], [], [], []
        self.vms, self.sessions, self.forecast = {}, {}, None
        self.rooms: tuple[api.ZoneRoom, ...] = ()
        self.echo = Echo()
        self.offerings = [machines.OfferingRecord("of-1", "m2.small", 2, 2000, 4096, False, False, (), "", 3)]

    def console(self, target: str) -> Echo:
        self._vm(target)
        return self.echo

    def count_vms(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in self.vms.values():
            found[row.state.value] = found.get(row.state.value, 0) + 1
        return {**found, "total": len(self.vms)} if found else {}

    def count_kept(self) -> int:
        return sum("Maintenance" in h.resource_state for h in self.hosts)

    def beneath(self) -> tuple[api.Attention, ...]:
        kept = [h for h in self.hosts if "Maintenance" in h.resource_state]
        return tuple(
            api.Attention("maintenance", h.name, f"maintenance:{h.id}", "preparing for maintenance, op1", "replace DIMM A3", NOW.timestamp() - 130)
            for h in kept
        )

    def put_host(self, row: hosts.HostRecord) -> None:
        self.hosts = [h for h in self.hosts if h.id != row.id] + [row]
        self.touch(f"host:{row.id}")

    def put_vm(self, row: machines.VmRecord) -> None:
        self.vms[row.id] = row
        self.touch(f"vm:{row.id}")

    def put_session(self, row: maintenance.MaintenanceRecord) -> None:
        self.sessions[row.host] = row
        self.touch(f"maintenance:{row.id}")

    def _host(self, name: str) -> hosts.HostRecord:
        wanted = name.removeprefix("host:")
        for row in self.hosts:
            if wanted in (row.id, row.name):
                return row
        raise NotFound(f"there is no host {name!r}")

    def _vm(self, name: str) -> machines.VmRecord:
        wanted = name.removeprefix("vm:")
        for row in self.vms.values():
            if wanted in (row.id, row.name):
                return row
        raise NotFound(f"there is no VM {name!r}")

    def _session(self, target: str) -> maintenance.MaintenanceRecord:
        wanted = target.removeprefix("maintenance:").removeprefix("host:").removeprefix("h-")
        for row in self.sessions.values():
            if wanted in (row.id, row.host):
                return row
        raise NotFound(f"there is no maintenance session of {target!r}")

    def _ListZones(self, _request: Any) -> Any:
        return tuple(self.zones)

    def _ListPods(self, _request: Any) -> Any:
        return tuple(self.pods)

    def _ListClusters(self, _request: Any) -> Any:
        return tuple(self.clusters)

    def _ShowHost(self, request: Any) -> Any:
        return self._host(request.name)

    def _ListPatches(self, request: Any) -> Any:
        return tuple(p for p in self.patches if request.hypervisor in ("", p.hypervisor))

    def _ListOfferings(self, _request: Any) -> Any:
        return tuple(self.offerings)

    def _ListVms(self, request: machines.ListVms) -> machines.VmPage:
        rows = sorted((r for r in self.vms.values() if request.host in ("", r.host) and request.cluster in ("", r.cluster)), key=lambda r: r.name)
        if request.refs:
            rows = [r for r in rows if f"vm:{r.id}" in request.refs]
            return machines.VmPage(tuple(rows), "", len(self.vms))
        total = len(rows)
        rows = [r for r in rows if r.name > request.after]
        page = rows[: request.limit]
        return machines.VmPage(tuple(page), page[-1].name if len(rows) > len(page) else "", total)

    def _ShowVm(self, request: Any) -> Any:
        return self._vm(request.target)

    def _ReadGuestLog(self, request: Any) -> machines.GuestLog:
        text = "Linux 6.1 booting\r\n\x1b[32m[  OK  ]\x1b[0m started everything\r\ntick 41\r\ntick 42\r\nlogin: "
        return machines.GuestLog(len(text), text[request.after :])

    def _ShowCapacity(self, request: machines.ShowCapacity) -> Any:
        def record(name: str, host: str, used: float) -> machines.CapacityRecord:
            return machines.CapacityRecord(host, name, amount(32 * 2400, 4.0, used, 0.09), amount(256 * GIB, 1.0, used + 0.1, 0.04),
                                           amount(32, 1.0, used), 4.0, 1.0, used < 0.6, 8)  # fmt: skip

        rows = [h for h in self.hosts if request.target in ("", h.id, h.name, f"host:{h.id}")]
        return tuple(record(h.location, h.name, h.cpu_used) for h in rows)

    def _ShowWeights(self, request: machines.ShowWeights) -> Any:
        mine = sorted((r for r in self.vms.values() if r.host == request.host), key=lambda r: r.name)
        total = sum(r.cores * r.mhz for r in mine)
        return tuple(machines.WeightRecord(r.name, r.cores * r.mhz, r.cores * r.mhz / total, r.cores * r.mhz, r.cores * 2400) for r in mine)

    def _PlanPlacement(self, request: machines.PlanPlacement) -> machines.Placement:
        own = self.vms.get(request.vm.removeprefix("vm:"))
        verdicts = tuple(
            machines.Verdict(h.name, h.allocatable and (own is None or h.name != own.host), "" if h.allocatable else h.why_not or "not enabled")
            for h in self.hosts
        )
        return machines.Placement(next((v.host for v in verdicts if v.fits), ""), "balanced", verdicts, True)

    def _PreviewRatio(self, request: machines.PreviewRatio) -> machines.RatioPreview:
        def record(cpu: float, ram: float) -> machines.CapacityRecord:
            return machines.CapacityRecord("", request.cluster, amount(96 * 2400, cpu, 0.5), amount(768 * GIB, ram, 0.6), amount(96, 1.0, 0.5),
                                           cpu, ram, True, 40)  # fmt: skip

        cpu, ram = request.cpu or 4.0, request.ram or 1.0
        return machines.RatioPreview(request.cluster, record(4.0, 1.0), record(cpu, ram), ("db-7", "mail-1"), record(cpu, ram),
                                     ("big-1",) if cpu < 4 else (), ("db-7",) if ram > 1 else ())  # fmt: skip

    def _ShowMaintenance(self, request: Any) -> Any:
        return self._session(request.target)

    def _ListMaintenance(self, request: Any) -> Any:
        return tuple(s for s in self.sessions.values() if request.is_open is None or (s.closed_at is None) == request.is_open)

    def _ForecastHost(self, request: maintenance.ForecastHost) -> maintenance.ForecastRecord:
        name = self._host(request.target).name
        if self.forecast is not None:
            return replace(self.forecast, host=name)
        moves = tuple(
            maintenance.ForecastMove(r.name, f"vm:{r.id}", r.memory_mib, "" if r.has_device else "kvm-03" if name == "kvm-05" else "kvm-05",
                                     "pass-through device" if r.has_device else "most even cluster")
            for r in self.vms.values() if r.host == name
        )  # fmt: skip
        blocked = tuple(maintenance.Blocker("in_use", m.vm, "cannot move: pass-through device.", "Stop it by hand, or allow stopping.")
                        for m in moves if not m.destination)  # fmt: skip
        warning = maintenance.Blocker("capacity", "kvm-a", "could not lose one more host while this one is out.", "Be quick, or add a host first.")
        return maintenance.ForecastRecord(name, blocked, (warning,), moves, False, 2, 140.0)

    def _PlanRolling(self, request: Any) -> maintenance.RollingPlan:
        group = maintenance.RollingGroup
        return maintenance.RollingPlan(request.cluster, (group(("kvm-01", "kvm-02"), 14), group(("kvm-03",), 9), group(("kvm-17",), 14)),
                                       (maintenance.Blocker("in_use", "gpu-02", "pass-through device on kvm-17.", "Stop it first."),))  # fmt: skip

    def _EditMaintenance(self, request: maintenance.EditMaintenance) -> maintenance.MaintenanceRecord:
        row = self._session(request.target)
        if request.planned_end is not None and request.planned_end < NOW:
            raise InvalidInput("the session was not changed", problems=[Problem("planned_end", "it is in the past")])
        notes = (*row.notes, maintenance.Note(NOW, "op1", request.note)) if request.note else row.notes
        checks = [replace(c, done=not c.done, by="op1") if n == request.check else c for n, c in enumerate(row.checklist)]
        row = replace(row, notes=notes, checklist=tuple(checks), reason=request.reason or row.reason, ticket=request.ticket or row.ticket,
                      planned_end=request.planned_end or row.planned_end, step=request.step or row.step)  # fmt: skip
        self.put_session(row)
        return row

    def _RetryMoves(self, request: Any) -> maintenance.MaintenanceRecord:
        row = self._session(request.target)
        waiting = {MoveState.RETRY, MoveState.FAILED}
        self.put_session(replace(row, vms=tuple(replace(v, state=MoveState.WAITING, attempt=0) if v.state in waiting else v for v in row.vms)))
        return self._session(request.target)

    def _CloseMaintenance(self, request: Any) -> maintenance.MaintenanceRecord:
        row = self._session(request.target)
        self.put_session(replace(row, closed_at=NOW, step=Step.CLOSE))
        return self._session(request.target)

    def _ProbeHostKey(self, _request: Any) -> hosts.HostKeyRecord:
        return hosts.HostKeyRecord("ssh-ed25519 AAAA", "SHA256:mXh6f7fQm3xk0v9bq0aH6tq9B2n7mJr0xE5m1mYc1aA")

    def _SetAllocation(self, request: hosts.SetAllocation) -> api.Done:
        word = Allocation.ENABLED if request.enabled else Allocation.DISABLED
        for rows in (self.zones, self.pods, self.clusters):
            for n, row in enumerate(rows):
                if request.target in (row.id, row.name):
                    rows[n] = replace(row, allocation=word)  # type: ignore[type-var]
                    self.touch(f"{request.kind}:{row.id}")
        if request.kind == "host":
            self.put_host(replace(self._host(request.target), resource_state=word.value, allocatable=request.enabled))
        return api.Done(f"{request.target} is {word.value.lower()}")

    def _CreateZone(self, request: hosts.CreateZone) -> hosts.ZoneRecord:
        if any(z.name == request.name for z in self.zones):
            raise InvalidInput("the zone was not created", problems=[Problem("name", f"{request.name!r} is taken")])
        self.zones.append(zone(request.name, allocation=Allocation.DISABLED))
        self.touch(f"zone:z-{request.name}")
        return self.zones[-1]

    def _CreateCluster(self, request: hosts.CreateCluster) -> hosts.ClusterRecord:
        self.clusters.append(cluster(request.name, request.zone, request.pod, allocation=Allocation.DISABLED))
        self.touch(f"cluster:c-{request.name}")
        return self.clusters[-1]

    def _CreateOffering(self, request: machines.CreateOffering) -> machines.OfferingRecord:
        self.offerings.append(machines.OfferingRecord(f"of-{request.name}", request.name, request.cores, request.mhz, request.memory_mib,
                                                      request.limit_cpu, request.ha, (), request.system_kind, 0))  # fmt: skip
        return self.offerings[-1]

    def _ImportPatches(self, request: hosts.ImportPatches) -> api.Done:
        return api.Done(f"{len(request.text.splitlines())} patches taken in")

    def _EditHost(self, request: hosts.EditHost) -> hosts.HostRecord:
        row = self._host(request.target)
        self.put_host(replace(row, tags=request.tags or row.tags, location_note=request.location_note or row.location_note))
        return self._host(request.target)

    def _EditVm(self, request: machines.EditVm) -> machines.VmRecord:
        row = self._vm(request.target)
        self.put_vm(replace(row, tags=request.tags if request.tags is not None else row.tags))
        return self._vm(request.target)

    def plan_of(self, request: operations.OperationRequest) -> operations.Plan:
        kind = api.method_of(request).name
        said = (f"{request.target} takes no new VM from now on.", "Its VMs are moved away while they run; none is stopped.")
        if isinstance(request, maintenance.CancelMaintenance):
            said = ("migrations in flight end first, queued ones are dropped", "VMs that were moved stay where they are; B migrates them back")
        if kind == "orphan.remove":
            said = ("everything on it is erased", "nothing on record here has it: make sure that no other copy of this site's database is in use")
        return operations.Plan(kind, kind.partition(".")[2], request.target, ("validate", "act"), (request.target,), said, (), "")

    def begun(self, request: operations.OperationRequest) -> None:
        """What of an accepted operation shows at once."""
        if isinstance(request, maintenance.MaintainHost):
            host = self._host(request.target)
            self.put_host(replace(host, resource_state="PrepareForMaintenance", allocatable=False))
            self.put_session(session(host.name, reason=request.reason, ticket=request.ticket, allow_stop=request.allow_stop, planned_end=None,
                                     vms=tuple(evacuee(r.name, "waiting", r.memory_mib) for r in self.vms.values() if r.host == host.name)))  # fmt: skip
        elif isinstance(request, maintenance.CancelMaintenance):
            host = self._host(request.target)
            self.put_host(replace(host, resource_state="Enabled", allocatable=True))
            if host.name in self.sessions:
                self.put_session(replace(self.sessions[host.name], resource_state="Enabled", step=Step.MIGRATE_BACK, operation_id=None))

"""The plan of a simulated site's VMs: what runs where and how large, so that clusters are as full as clusters are. Follows from the seed alone."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fleet_tui.backend.hypervisors.fake_ledger import MASTER_KINDS
from fleet_tui.backend.machines.states import VmState
from fleet_tui.backend.simulation.blueprint import HostPlan, identity

VMS_ON_HOST = 8
MHZ = 2600
"""Of every simulated host."""


@dataclass(frozen=True, slots=True)
class Offering:
    name: str
    cores: int
    mhz: int
    memory_mib: int
    ha: bool = False
    limit_cpu: bool = False
    system_kind: str = ""


OFFERINGS: tuple[Offering, ...] = (
    Offering("tiny", 1, 1000, 1024), Offering("small", 1, 2000, 2048), Offering("medium", 2, 2000, 4096), Offering("large", 4, 2400, 16_384),
    Offering("xlarge", 8, 2400, 32_768), Offering("memory", 8, 2400, 65_536, ha=True), Offering("memory-xl", 16, 2400, 131_072, ha=True),
    Offering("capped", 2, 1000, 8192, limit_cpu=True), Offering("system-console", 1, 500, 1024, system_kind="console-proxy"),
    Offering("system-router", 1, 500, 256, system_kind="router"), Offering("system-storage", 1, 500, 512, system_kind="storage-vm"),
)
BY_NAME: Mapping[str, Offering] = {offering.name: offering for offering in OFFERINGS}
_GUEST_SIZES = ("tiny", "small", "medium", "capped", "large", "xlarge", "memory", "memory-xl")
_USED_BY: Mapping[str, tuple[str, ...]] = {
    "tiny": ("dns", "ntp", "vpn"), "small": ("web", "mon", "ldap"), "medium": ("web", "app", "mail", "git"), "capped": ("batch", "ci"),
    "large": ("app", "ci", "files", "wiki"), "xlarge": ("db", "search", "build"), "memory": ("db", "erp"), "memory-xl": ("dwh", "db"),
}
_OWNERS = (
    "anna.lindt@example.org", "bo.ek@example.org", "lin.chen@example.org", "marek.novak@example.org", "shop-team@example.org", "dba@example.org",
    "finance-it@example.org",
)
_ACCOUNTS = ("shop", "finance", "platform", "research", "")
_RATIOS = ((400, 100, 0.80), (400, 150, 0.55), (200, 100, 0.62), (300, 125, 0.48), (100, 100, 0.33), (200, 100, 0.70))
"""(CPU ratio, memory ratio, share of its memory that is used) of one cluster after the other, in hundredths."""


@dataclass(slots=True)
class VmPlan:
    """How one VM stands when the site opens."""

    id: str
    guest: str
    name: str
    kind: str
    cluster: str
    host: HostPlan
    offering: Offering
    cpu_ratio: int
    ram_ratio: int
    owners: tuple[str, ...]
    account: str
    ip: str
    uptime_days: float
    state: VmState = VmState.RUNNING
    stopped_h: float = 0.0
    error: str = ""
    tags: tuple[str, ...] = ()
    exclusion_tags: tuple[str, ...] = ()
    has_device: bool = False
    has_local_disk: bool = False
    is_protected: bool = True
    came_from: HostPlan | None = field(default=None)
    """The host in maintenance that it was moved away from."""

    @property
    def memory_bytes(self) -> int:
        return self.offering.memory_mib * 1024**2


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    name: str
    zone: str
    pod: str
    hypervisor: str
    cpu_ratio: int
    ram_ratio: int
    share: float
    hosts: tuple[HostPlan, ...]

    @property
    def has_masters(self) -> bool:
        return self.hypervisor in MASTER_KINDS


def clusters(places: Sequence[HostPlan]) -> tuple[ClusterPlan, ...]:
    """By name, each with how full it is to be."""
    names = sorted({(host.zone, host.pod, host.cluster, host.hypervisor) for host in places})
    return tuple(
        ClusterPlan(name, zone, pod, kind, *_RATIOS[turn % len(_RATIOS)], tuple(host for host in places if host.cluster == name))
        for turn, (zone, pod, name, kind) in enumerate(names)
    )


def make(plans: Sequence[ClusterPlan], seed: int) -> tuple[VmPlan, ...]:
    """About eight VMs a host, more where they are small; none on a host in maintenance."""
    rng, counters = random.Random(f"vms:{seed}"), Counter[str]()
    found = [vm for cluster in plans for vm in _of_cluster(cluster, counters, rng)]
    found += _system_vms(plans, rng)
    _spoil(found, rng)
    for vm in found:
        vm.name = vm.name or _name(vm.offering, counters, rng)
    return tuple(found)


def _of_cluster(cluster: ClusterPlan, counters: Counter[str], rng: random.Random) -> Iterator[VmPlan]:
    away = [host for host in cluster.hosts if host.resource_state == "Maintenance"]
    for host in cluster.hosts:
        if host in away:
            continue
        count = max(3, VMS_ON_HOST + rng.choice((-1, 0, 0, 1)) + (2 if away else 0))
        left_mib = host.memory_gib * 1024 * cluster.ram_ratio / 100 * cluster.share * rng.uniform(0.94, 1.06)
        left_mhz = host.cores * MHZ * cluster.cpu_ratio / 100 * 0.8
        for number in range(count + 4):
            if number >= count and left_mib < 24 * 1024:
                break
            offering = _size(left_mib / max(1, count - number), left_mib, left_mhz, rng, is_last=number >= count - 1)
            left_mib -= offering.memory_mib
            left_mhz -= offering.cores * offering.mhz
            vm = _vm(cluster, host, offering, rng)
            if away and number >= VMS_ON_HOST - 1 and rng.random() < 0.8:
                vm.came_from = away[0]
            yield vm


def _size(mean_mib: float, left_mib: float, left_mhz: float, rng: random.Random, is_last: bool) -> Offering:
    """About what is left for each, some much smaller and some larger; the last one fills up."""
    wanted = mean_mib if is_last else mean_mib * rng.choice((0.15, 0.4, 0.8, 1.0, 1.6))
    fitting = [BY_NAME[name] for name in _GUEST_SIZES]
    fitting = [size for size in fitting if size.memory_mib <= left_mib and size.cores * size.mhz <= left_mhz] or fitting[:1]
    return min(fitting, key=lambda size: abs(size.memory_mib - wanted))


def _vm(cluster: ClusterPlan, host: HostPlan, offering: Offering, rng: random.Random, name: str = "") -> VmPlan:
    octets = (1 if cluster.zone.endswith("a") else 2, rng.randint(1, 250), rng.randint(2, 250))
    return VmPlan(
        id=identity(rng, "v"), guest=str(uuid.UUID(int=rng.getrandbits(128), version=4)), name=name, kind=offering.system_kind or "guest",
        cluster=cluster.name, host=host, offering=offering, cpu_ratio=cluster.cpu_ratio, ram_ratio=cluster.ram_ratio,
        owners=tuple(rng.sample(_OWNERS, rng.choice((1, 1, 2)))) if not offering.system_kind else (), account=rng.choice(_ACCOUNTS),
        ip=f"10.1{octets[0]}.{octets[1]}.{octets[2]}", uptime_days=rng.uniform(0.5, 190.0),
        tags=tuple(sorted({rng.choice(("prod", "prod", "staging", "dev")), rng.choice(("backup", "no-backup", "pci"))})),
        is_protected=rng.random() < 0.7,
    )


def _name(offering: Offering, counters: Counter[str], rng: random.Random) -> str:
    role = rng.choice(_USED_BY[offering.name])
    counters[role] += 1
    return f"{role}-{counters[role]}"


def _system_vms(plans: Sequence[ClusterPlan], rng: random.Random) -> Iterator[VmPlan]:
    """Of each zone a console proxy and a storage VM, of each cluster a router."""
    number = 1
    for zone in sorted({cluster.zone for cluster in plans}):
        mine = [cluster for cluster in plans if cluster.zone == zone and _open(cluster)]
        for letter, offering in (("s", "system-storage"), ("v", "system-console")):
            number += 1
            if mine:
                yield _vm(mine[0], rng.choice(_open(mine[0])), BY_NAME[offering], rng, f"{letter}-{number}-VM")
    number = 114
    for cluster in plans:
        if _open(cluster):
            yield _vm(cluster, rng.choice(_open(cluster)), BY_NAME["system-router"], rng, f"r-{number}-VM")
        number += 17


def _open(cluster: ClusterPlan) -> list[HostPlan]:
    return [host for host in cluster.hosts if host.takes_machines]


def _spoil(plans: list[VmPlan], rng: random.Random) -> None:
    """The odd ones: devices, local disks, neighbours that avoid each other, and some that do not run."""
    guests = [vm for vm in plans if vm.kind == "guest" and vm.host.takes_machines and vm.came_from is None]
    rng.shuffle(guests)
    large = sorted(guests, key=lambda vm: -vm.memory_bytes)
    for vm, name in zip(large[:2], ("gpu-01", "gpu-02"), strict=False):
        vm.name, vm.has_device, vm.tags = name, True, ("gpu", "prod")
        guests.remove(vm)
    for number, vm in enumerate(guests[:max(1, len(guests) // 60)] if guests else (), 1):
        vm.name, vm.has_local_disk, vm.tags = f"scratch-{number}", True, ("dev", "local-disk")
    rest = guests[max(1, len(guests) // 60):]
    for number, vm in enumerate(_apart(rest, 3), 1):
        vm.name, vm.exclusion_tags = f"mx-{number}", ("mail-cluster",)
        rest.remove(vm)
    for vm in rest[:len(rest) // 28]:
        vm.state, vm.stopped_h = VmState.STOPPED, rng.choice((0.4, 5.0, 60.0))
    for vm in rest[len(rest) // 28:][:1 + len(rest) // 120]:
        vm.state, vm.stopped_h, vm.error = VmState.CRASHED, rng.uniform(0.2, 9.0), "it ended by itself: guest panicked"
    for vm in rest[-(len(rest) // 14):]:
        vm.ram_ratio = vm.cpu_ratio = 100


def _apart(plans: Sequence[VmPlan], count: int) -> list[VmPlan]:
    """Small ones of one cluster on hosts of their own."""
    found: list[VmPlan] = []
    for vm in plans:
        if vm.offering.memory_mib <= 4096 and (not found or vm.cluster == found[0].cluster) and vm.host not in [other.host for other in found]:
            found.append(vm)
    return found[:count]

"""Room on hosts: the formulas of spec 9.3, in whole MHz, bytes and cores; ratios are hundredths.

A VM takes ``amount x ratio now / ratio at its start`` of its host. Such shares are added up exactly, over a common denominator,
and rounded up once, so ``used + reserved + wanted <= capacity`` means exactly that, and a hundred small VMs lose nothing to rounding.

There is no counter to keep: what is taken is summed from the VMs' rows, in the transaction that takes more, under the host's row lock
(``hosts.transitions.lock``). Two starts can never both take the last room (CAP-6), and nothing can drift.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite, lcm
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hosts.states import ResourceState
from fleet_tui.backend.machines import Amount
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.machines.states import ON_HOST, VmState

MIB = 1024**2
TAKING = tuple(sorted(state.value for state in ON_HOST))
RATIO_LIMIT, XENSERVER_LIMIT = 10_000, 400
"""Hundredths. XenServer's balloon goes no lower than a quarter (spec 9.1)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of the whole fleet that decide about room (spec 9.2, ENG-9)."""

    cpu_factor: int = 100
    """``cpu.overprovisioning.factor``, hundredths: what a cluster has that has no ratio of its own."""
    ram_factor: int = 100
    skip_s: float = 3600.0
    """``capacity.skipcounting.hours``, which is in seconds despite its name: so long a stopped VM's room stays reserved."""
    cpu_threshold: int = 85
    """Percent of a cluster's capacity above which nothing new is deployed into it."""
    ram_threshold: int = 85
    moves_out: int = 2
    """Migrations out of one host at once."""
    moves_in: int = 2


class Size(NamedTuple):
    """What a VM needs. A ratio of 0 stands for its cluster's present one: it is to be started now."""

    cores: int
    mhz: int
    memory_bytes: int
    cpu_ratio: int = 0
    ram_ratio: int = 0


@dataclass(slots=True)
class Load:
    """What VMs take, by the ratio they were started with."""

    cpu: dict[int, int] = field(default_factory=dict)
    """MHz x cores."""
    ram: dict[int, int] = field(default_factory=dict)
    """Bytes."""
    cores: int = 0
    vms: int = 0
    largest: dict[int, int] = field(default_factory=dict)
    """Bytes of the VM with most memory, by memory ratio."""

    def add(self, cpu_ratio: int, ram_ratio: int, cpu: int, ram: int, cores: int, vms: int, largest: int) -> None:
        self.cpu[cpu_ratio] = self.cpu.get(cpu_ratio, 0) + cpu
        self.ram[ram_ratio] = self.ram.get(ram_ratio, 0) + ram
        self.cores += cores
        self.vms += vms
        self.largest[ram_ratio] = max(self.largest.get(ram_ratio, 0), largest)


@dataclass(slots=True)
class Taken:
    """Of one host."""

    used: Load = field(default_factory=Load)
    reserved: Load = field(default_factory=Load)
    """By VMs stopped lately, which may come back."""


def share(amounts: Mapping[int, int], ratio: int) -> int:
    """``sum(amount x ratio / ratio at start)``, exact, rounded up."""
    common = lcm(*amounts)
    return -(-sum(amount * (common // began) for began, amount in amounts.items()) * ratio // common)


def together(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {ratio: one.get(ratio, 0) + other.get(ratio, 0) for ratio in {*one, *other}}


def amount(raw: int, ratio: int, used: Mapping[int, int], reserved: Mapping[int, int], *, is_enabled: bool) -> Amount:
    """One resource of one host. ``used + reserved`` is the exact sum rounded up, so ``free`` is exact."""
    taken = share(used, ratio)
    return Amount(raw, raw * ratio // 100 if is_enabled else 0, taken, share(together(used, reserved), ratio) - taken)


def amounts(host: HostRow, cpu_ratio: int, ram_ratio: int, taken: Taken) -> tuple[Amount, Amount, Amount]:
    """CPU (MHz), RAM (bytes) and cores of a host. One that is not ``Enabled`` has a capacity of 0; what is used stays visible (CAP-2)."""
    enabled = host.resource_state == ResourceState.ENABLED.value
    cores = Amount(host.cores, host.cores if enabled else 0, taken.used.cores, taken.reserved.cores)
    return (
        amount(host.cores * host.mhz, cpu_ratio, taken.used.cpu, taken.reserved.cpu, is_enabled=enabled),
        amount(host.memory_bytes, ram_ratio, taken.used.ram, taken.reserved.ram, is_enabled=enabled),
        cores,
    )


def total(parts: Iterable[Amount]) -> Amount:
    found = list(parts)
    return Amount(*(sum(getattr(part, name) for part in found) for name in ("raw", "capacity", "used", "reserved")))


def minimum_memory(memory_bytes: int, ram_ratio: int) -> int:
    """What the balloon may take a guest down to (spec 9.3), in whole MiB and never below one."""
    return max(memory_bytes * 100 // ram_ratio // MIB, 1) * MIB


def count(tx: Session, rules: Rules, now: datetime, hosts: Collection[str] | None = None, without: str = "") -> dict[str, Taken]:
    """What is taken on each host, or on these, by every VM but ``without``. A host with nothing on it is not in it."""
    found: dict[str, Taken] = {}

    def gather(place: Any, into: str, *conditions: Any) -> None:
        for host_id, cpu_ratio, ram_ratio, cpu, memory_mib, cores, vms, most in tx.execute(_sums(place, hosts, without, *conditions)):
            load: Load = getattr(found.setdefault(host_id, Taken()), into)
            load.add(cpu_ratio, ram_ratio, int(cpu), int(memory_mib) * MIB, int(cores), int(vms), most * MIB)

    gather(VmRow.host_id, "used", VmRow.state.in_(TAKING))
    gather(VmRow.destination_id, "used", (VmRow.destination_id != VmRow.host_id) | VmRow.host_id.is_(None) | VmRow.state.not_in(TAKING))
    gather(VmRow.last_host_id, "reserved", *reserving(rules, now))
    return found


def reserving(rules: Rules, now: datetime) -> tuple[Any, ...]:
    """Conditions of the VMs whose room on their last host stays reserved."""
    gone = (*TAKING, VmState.DESTROYING.value)
    return VmRow.state.not_in(gone), VmRow.destination_id.is_(None), VmRow.stopped_at >= now - timedelta(seconds=rules.skip_s)


def reserves(vm: VmRow, rules: Rules, now: datetime) -> bool:
    """The same, of a row at hand."""
    if VmState(vm.state) in ON_HOST or vm.state == VmState.DESTROYING.value or vm.destination_id is not None or vm.last_host_id is None:
        return False
    return vm.stopped_at is not None and vm.stopped_at >= now - timedelta(seconds=rules.skip_s)


def _sums(place: Any, hosts: Collection[str] | None, without: str, *conditions: Any) -> Select[Any]:
    cpu, memory = func.sum(VmRow.cores * VmRow.mhz), func.sum(VmRow.memory_mib)
    query = select(place, VmRow.cpu_hundredths, VmRow.ram_hundredths, cpu, memory, func.sum(VmRow.cores), func.count(), func.max(VmRow.memory_mib))
    query = query.where(place.is_not(None), *conditions).group_by(place, VmRow.cpu_hundredths, VmRow.ram_hundredths)
    if hosts is not None:
        query = query.where(place.in_(hosts))
    return query.where(VmRow.id != without) if without else query


def hundredths(name: str, ratio: float, hypervisor: str = "") -> int:
    """A ratio as it is kept.

    Raises:
        InvalidInput: below 1, above 100, more than two places, or above 4 on XenServer.
    """
    kept = round(ratio * 100) if isfinite(ratio) else 0
    if kept < 100:
        problem = "must be at least 1"
    elif hypervisor == "xenserver" and kept > XENSERVER_LIMIT:
        problem = "XenServer cannot exceed 4"
    elif kept > RATIO_LIMIT:
        problem = "must be at most 100"
    elif abs(ratio * 100 - kept) > 1e-6:
        problem = "has more than two places"
    else:
        return kept
    raise InvalidInput(f"a {name} ratio of {ratio:g} is refused: {problem}", problems=[Problem(name, problem)])

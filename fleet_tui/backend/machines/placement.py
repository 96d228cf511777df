"""Where a VM goes, and why nowhere else (spec 7.9).

Policies choose among the hosts that nothing speaks against; ``balanced`` takes the one after which the cluster is most even, in the
manner of Ganeti's allocator: the spread of free memory and of free CPU, hosts that the others could not take over, clashes of tags.
A choice made here is a proposal: the transaction that takes the room looks at the chosen host again, under its lock.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fleet_tui.backend.errors import InvalidInput, NoCapacity, NotFound, Problem, TimedOut, WrongState
from fleet_tui.backend.machines import Placement, Verdict
from fleet_tui.backend.machines.balance import Balance
from fleet_tui.backend.machines.capacity import MIB, Size
from fleet_tui.backend.machines.world import UNWELL, Cluster, Guest, Seat, World
from fleet_tui.backend.text import clean

POLICIES = ("any", "random", "emptiest", "fullest", "adjacent", "command", "balanced")
_COMMAND_S = 15.0
_NAMED = 200
"""Hosts named in a refusal's details."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A VM that looks for a host."""

    cluster_id: str
    size: Size
    name: str = ""
    tags: frozenset[str] = frozenset()
    """Exclusion tags."""
    account: str = ""
    is_new: bool = False
    """A new deployment: not above the cluster's thresholds."""
    leaves: str = ""
    """Id of the host it moves away from."""
    source_is_secured: bool | None = None
    """When it moves while it runs: both hosts must speak TLS, or neither (spec 12.5)."""
    unwell_too: bool = False
    """Also on hosts that say that they are not healthy."""
    only: str = ""
    """Id of the one host that has its local disk."""
    exclude: frozenset[str] = frozenset()
    """Ids of hosts that are not to be tried again."""
    in_disabled_zone: bool = False
    """A root-admin deploys it: a disabled zone is open to it (HST-3)."""
    vm_id: str = ""
    """Of one that there is: the networks it is on need cards of its host."""
    moves_now: bool = False
    """It is about to move: a host that receives as many VMs as it may (ENG-9) has to finish one first."""


class Why(Enum):
    """What speaks against a host, in the order in which it is said."""

    CLOSED = "cannot be used now"
    SOURCE = "is where it is"
    ARCH = "of another architecture"
    DEDICATED = "dedicated to others"
    UNWELL = "not healthy"
    SECURED = "secured differently"
    CORES = "too few cores"
    MHZ = "too slow cores"
    TAG = "with an exclusion tag of it"
    THRESHOLD = "in a cluster that is full enough"
    RAM = "without enough RAM"
    CPU = "without enough CPU"
    LOCAL = "without its local disk"
    CARD = "without a network card it needs"
    TRIED = "where it was tried before"
    SLOT = "receiving as many VMs as it may at once"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy chose."""

    seat: Seat | None
    found: tuple[tuple[Seat, Why | None], ...]
    """Every host looked at, with what speaks against it."""
    placement: Placement


class Chooser:
    """One VM's look at its cluster."""

    def __init__(self, world: World, wanted: Wanted) -> None:
        cluster = world.clusters.get(wanted.cluster_id)
        if cluster is None:
            raise NoCapacity("its cluster has no hosts", hint="add one: `fleet host add`", reason="cannot_fit_ever", verdicts=[])
        self.world, self.wanted = world, wanted
        self.cluster: Cluster = cluster
        self.cpu, self.ram = cluster.weight(wanted.size)
        self._common = self._for_all()
        self._labels = world.labels.get(wanted.vm_id, frozenset())

    def against(self, seat: Seat, *, room: bool = True) -> Why | None:
        """What speaks against that host; ``None`` when nothing does. Without ``room`` its capacity is not looked at."""
        wanted = self.wanted
        if seat.id == wanted.leaves:
            return Why.SOURCE
        if seat.closed:
            return Why.CLOSED
        if self._common is not None:
            return self._common
        if seat.arch and self.cluster.arch and seat.arch != self.cluster.arch:
            return Why.ARCH
        if seat.health in UNWELL and not wanted.unwell_too:
            return Why.UNWELL
        if wanted.source_is_secured is not None and seat.is_secured is not wanted.source_is_secured:
            return Why.SECURED
        if wanted.tags and any(seat.tags[tag] > 0 for tag in wanted.tags):
            return Why.TAG
        if wanted.only and seat.id != wanted.only:
            return Why.LOCAL
        if not self._labels <= seat.nics:
            return Why.CARD
        if seat.id in wanted.exclude:
            return Why.TRIED
        if room and (why := self._lacks(seat)) is not None:
            return why
        return Why.SLOT if wanted.moves_now and seat.arriving >= self.world.rules.moves_in else None

    def fitting(self) -> list[Seat]:
        """Every host that nothing speaks against. Asked for each VM of a plan, so it looks at each host briefly."""
        size, cpu, ram = self.wanted.size, self.cpu, self.ram
        roomy = [
            seat for seat in self.cluster.seats
            if seat.ram - seat.ram_taken >= ram and seat.cpu - seat.cpu_taken >= cpu and seat.cores >= size.cores and seat.mhz >= size.mhz
        ]
        return [seat for seat in roomy if self.against(seat, room=False) is None]

    def _lacks(self, seat: Seat) -> Why | None:
        if seat.cores < self.wanted.size.cores:
            return Why.CORES
        if seat.mhz < self.wanted.size.mhz:
            return Why.MHZ
        if seat.ram - seat.ram_taken < self.ram:
            return Why.RAM
        if seat.cpu - seat.cpu_taken < self.cpu:
            return Why.CPU
        return None

    def _for_all(self) -> Why | None:
        """What speaks against the whole cluster."""
        cluster, rules = self.cluster, self.world.rules
        if cluster.dedicated_account and cluster.dedicated_account != self.wanted.account:
            return Why.DEDICATED
        if self.wanted.is_new:
            seats = [seat for seat in cluster.seats if seat.counts]
            for took, capacity, more, limit in (
                (sum(seat.cpu_taken for seat in seats), sum(seat.cpu for seat in seats), self.cpu, rules.cpu_threshold),
                (sum(seat.ram_taken for seat in seats), sum(seat.ram for seat in seats), self.ram, rules.ram_threshold),
            ):
                if (took + more) * 100 > capacity * limit:
                    return Why.THRESHOLD
        return None

    def can_ever_fit(self) -> bool:
        """Whether some host of the cluster is large enough when empty, whatever keeps it closed now."""
        if self._common is Why.DEDICATED:
            return False
        size = self.wanted.size
        return any(
            seat.cores >= size.cores and seat.mhz >= size.mhz and seat.cpu >= self.cpu and seat.ram >= self.ram for seat in self.cluster.seats
        )

    def words(self, seat: Seat, why: Why) -> str:
        """The same with figures, for a person who knows which host is meant."""
        size, cluster = self.wanted.size, self.cluster
        if why is Why.RAM:
            return f"needs {_mib(self.ram // cluster.ram_unit)} of RAM, {_mib(max(0, seat.ram_free) // cluster.ram_unit)} are free"
        if why is Why.CPU:
            return f"needs {self.cpu // cluster.cpu_unit:,} MHz, {max(0, seat.cpu_free) // cluster.cpu_unit:,} are free"
        if why is Why.TAG:
            return f"a VM with exclusion tag {', '.join(sorted(tag for tag in self.wanted.tags if seat.tags[tag] > 0))} is on it"
        return {
            Why.CLOSED: seat.closed,
            Why.SOURCE: "it is there already",
            Why.ARCH: f"it is {seat.arch}, its cluster {cluster.arch}",
            Why.DEDICATED: f"cluster {cluster.name} is dedicated to {cluster.dedicated_account}",
            Why.UNWELL: f"its health is {seat.health}",
            Why.SECURED: "one of the two hosts is secured, the other is not",
            Why.CORES: f"has {seat.cores} cores, {size.cores} are needed",
            Why.MHZ: f"its cores have {seat.mhz:,} MHz, {size.mhz:,} are needed",
            Why.LOCAL: "its disk is on another host's own storage",
            Why.CARD: f"it has no network card {', '.join(sorted(self._labels - seat.nics)) or 'for its network'}",
            Why.TRIED: "an attempt to move it there failed",
            Why.SLOT: f"{seat.arriving} VMs are on their way to it",
            Why.THRESHOLD: f"cluster {cluster.name} would be above {self.world.rules.cpu_threshold} % of its CPU or "
                           f"{self.world.rules.ram_threshold} % of its RAM",
        }[why]


def choose(world: World, wanted: Wanted, policy: str = "balanced", *, host_id: str = "", rng: random.Random | None = None,
           programs: Path | None = None) -> Choice:
    """The host a policy takes, and what speaks against each of the others.

    Args:
        policy: of :data:`POLICIES`, ``adjacent:VM`` and ``command:PROGRAM`` with what they need.
        host_id: only this one is asked for.
        programs: directory of the programs that ``command`` may run; without one there are none.

    Raises:
        InvalidInput: there is no such policy, or what it needs is missing.
        NotFound: the VM to be adjacent to, or the program.
        WrongState: a program's answer makes no sense.
    """
    name, _, detail = policy.partition(":")
    check_policy(policy)
    chooser = Chooser(world, wanted)
    found = tuple((seat, chooser.against(seat, room=name != "any")) for seat in chooser.cluster.seats)
    fitting = [seat for seat, why in found if why is None]
    beside = ""
    if name == "adjacent":
        host_id, beside = _host_of(world, detail), detail
    if host_id:
        fitting = [seat for seat in fitting if seat.id == host_id]
    picked = _pick(world, chooser, fitting, name, detail, rng or random.Random(), programs)
    placement = Placement(
        host=picked.name if picked else "", policy=policy, can_ever_fit=chooser.can_ever_fit(),
        verdicts=tuple(_verdict(chooser, seat, why, host_id, beside) for seat, why in found),
    )
    return Choice(picked, found, placement)


def refusal(wanted: Wanted, choice: Choice) -> NoCapacity:
    """Why it got no host, as an error: never fits, or not now."""
    name = wanted.name or "a VM of that size"
    verdicts = [{"host": verdict.host, "why": verdict.why} for verdict in choice.placement.verdicts[:_NAMED]]
    if not choice.placement.can_ever_fit:
        return NoCapacity(
            f"{name} can never fit: no host of its cluster is large enough for {words_of(wanted.size)}",
            hint="take a smaller offering, or add a larger host", reason="cannot_fit_ever", verdicts=verdicts,
        )
    return NoCapacity(
        f"{name} fits nowhere now: {summary(choice.found)}", hint="free room, or wait until some is free; `fleet host capacity` shows it",
        reason="cannot_fit_now", verdicts=verdicts,
    )


def summary(found: Iterable[tuple[Seat, Why | None]]) -> str:
    """``3 hosts without enough RAM, 1 host cannot be used now``."""
    counts = Counter(why.value for _, why in found if why is not None and why is not Why.SOURCE)
    listed = [f"{number} {'host' if number == 1 else 'hosts'} {why.value}" for why in Why if (number := counts[why.value])]
    return ", ".join(listed) or "there is no host to look at"


def words_of(size: Size) -> str:
    return f"{size.cores} cores of {size.mhz:,} MHz and {_mib(size.memory_bytes)} of RAM"


def check_policy(policy: str) -> None:
    """Raises InvalidInput for what is no policy."""
    name, _, detail = policy.partition(":")
    needs = name in ("adjacent", "command")
    if name not in POLICIES or needs is not bool(detail):
        problem = f"must be one of {', '.join(f'{p}:…' if p in ('adjacent', 'command') else p for p in POLICIES)}"
        raise InvalidInput(f"there is no placement {policy!r}", problems=[Problem("placement", problem)])


def _pick(world: World, chooser: Chooser, fitting: list[Seat], name: str, detail: str, rng: random.Random, programs: Path | None) -> Seat | None:
    if name == "command":
        return _commanded(chooser, fitting, detail, programs)
    if not fitting:
        return None
    if name in ("any", "random"):
        return rng.choice(fitting)
    if name == "emptiest":
        return max(fitting, key=_room)
    if name == "fullest":
        return min(fitting, key=_room)
    return Balance(chooser.cluster).best(fitting, chooser.cpu, chooser.ram)


def _room(seat: Seat) -> tuple[int, int, int]:
    return seat.cpu_free, seat.ram_free, seat.disk_free


def _verdict(chooser: Chooser, seat: Seat, why: Why | None, host_id: str, beside: str) -> Verdict:
    if why is not None:
        return Verdict(seat.name, False, chooser.words(seat, why))
    if host_id and seat.id != host_id:
        return Verdict(seat.name, False, f"{beside} is not on it" if beside else "another host was asked for")
    return Verdict(seat.name, True, "")


def _host_of(world: World, name: str) -> str:
    for guest in world.guests.values():
        if name in (guest.name, guest.id) and guest.host_id is not None:
            return guest.host_id
    raise NotFound(f"there is no VM {name!r} with a host in this cluster", hint="`fleet vm list` shows the VMs there are")


def _commanded(chooser: Chooser, fitting: Sequence[Seat], program: str, programs: Path | None) -> Seat | None:
    """Ask an administrator's program: JSON of hosts and VM in, a host's name out (spec 7.9)."""
    file = programs / program if programs is not None and "/" not in program and not program.startswith(".") else None
    if file is None or not file.is_file():
        where = f"programs are looked for in {programs}" if programs is not None else "this site has no directory of placement programs"
        raise NotFound(f"there is no placement program {program!r}", hint=where)
    cluster, size = chooser.cluster, chooser.wanted.size
    asked = {
        "vm": {"name": chooser.wanted.name, "cores": size.cores, "mhz": size.mhz, "memory_bytes": size.memory_bytes},
        "hosts": [
            {"name": s.name, "cores": s.cores, "mhz": s.mhz, "free_mhz": s.cpu_free // cluster.cpu_unit, "free_bytes": s.ram_free // cluster.ram_unit}
            for s in fitting
        ],
    }
    try:
        answer = subprocess.run([file], input=json.dumps(asked), capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    except subprocess.TimeoutExpired:
        raise TimedOut(f"placement program {program} did not answer within {_COMMAND_S:.0f} s") from None
    except OSError as problem:
        raise WrongState(f"placement program {program} cannot be run: {problem.strerror}") from None
    named = answer.stdout.strip()
    if answer.returncode != 0:
        raise WrongState(f"placement program {program} ended with {answer.returncode}: {clean(answer.stderr.strip(), 200)}")
    if (seat := next((seat for seat in fitting if seat.name == named), None)) is None:
        said = f"named {clean(named, 100)!r}, which is no host that can take it" if named else "named no host"
        raise WrongState(f"placement program {program} {said}")
    return seat


def _mib(size: int) -> str:
    return f"{size // MIB:,} MiB"


def wanted_move(world: World, guest: Guest) -> Wanted:
    """A VM that runs and is to leave its host."""
    source = world.seats.get(guest.host_id or "")
    return Wanted(
        guest.cluster_id, guest.size, guest.name, guest.tags, guest.account, leaves=guest.host_id or "", vm_id=guest.id,
        source_is_secured=source.is_secured if source is not None else None,
    )


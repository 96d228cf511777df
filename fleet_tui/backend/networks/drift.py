"""What hosts have, against what VMs on them need (spec 10.5): asked, compared, written down, and put right when somebody asks for that.

Interfaces of IDs that are no business of guest networks (management, public, reserved, outside of every range) are left alone. One that fleet
made and whose last VM ended by itself is not ``extra`` but left over, and goes without being asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError, InUse
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.rows import HostRow
from fleet_tui.backend.hypervisors import Nic
from fleet_tui.backend.networks import interfaces, physical
from fleet_tui.backend.networks.drivers import Networks
from fleet_tui.backend.networks.interfaces import KEEPS
from fleet_tui.backend.networks.rows import InterfaceRow, NetworkRow, PhysicalNetworkRow, VlanRow
from fleet_tui.backend.networks.states import DriftKind, Isolation, Scope, Technique
from fleet_tui.backend.networks.tenants import Card
from fleet_tui.backend.networks.wires import Found, Segment, tap_address
from fleet_tui.backend.operations.catalogue import StepContext

_ASKERS = 16
GUEST_SCOPES = (Scope.GUEST_POOL, Scope.GUEST_ASSIGNED, Scope.GUEST_SHARED)
_WORDS: Mapping[DriftKind | None, str] = {
    DriftKind.MISSING: "is missing", DriftKind.EXTRA: "is there and not needed", DriftKind.WRONG_BRIDGE: "is plugged in wrongly", None: "is well",
}
_UNUSED = "no VM of its cluster uses it"


@dataclass(frozen=True, slots=True)
class Place:
    """A host of a physical network."""

    host_id: str
    host: str
    cluster_id: str
    hypervisor: str
    segment: Segment
    """Of no ID: what is common to all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host said; ``found`` is ``None`` when it did not answer."""

    place: Place
    found: Sequence[Found] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One ID on one host that answered."""

    place: Place
    number: int
    network_id: str
    network: str
    found: Found | None
    problem: DriftKind | None
    detail: str = ""
    is_left_over: bool = False
    is_new: bool = False
    """It was never on record there."""
    cards: tuple[Card, ...] = ()

    @property
    def key(self) -> tuple[str, int, DriftKind | None]:
        return self.place.host_id, self.number, self.problem

    @property
    def words(self) -> str:
        """``shop-front on kvm1 is missing``, without the ID."""
        name = self.network or "an ID that no network holds"
        return f"{name} on {self.place.host} {_WORDS[self.problem]}"


def check(ctx: StepContext, drivers: Networks, physical_id: str, host_id: str = "") -> list[Finding]:
    """Ask every host, or one, and write down what was found. Those that do not answer keep what they were last seen with."""
    with ctx.read() as tx:
        places = _places(tx, physical_id, host_id)
        isolation = Isolation(tx.get_one(PhysicalNetworkRow, physical_id).isolation)
    answers = _asked(drivers, places, isolation)
    with ctx.read() as tx:
        doubted = {finding.key for finding in _compared(tx, drivers, tx.get_one(PhysicalNetworkRow, physical_id), answers) if finding.problem}
    # What looks wrong is looked at once more: a VM may have come or gone between the host's answer and our look at the rows.
    hosts = {host for host, *_ in doubted}
    answers = {**answers, **_asked(drivers, [place for place in places if place.host_id in hosts], isolation)}
    for answer in answers.values():
        if answer.found is None:
            ctx.say(f"{answer.place.host} was not asked: {answer.error}", "warn")
    with ctx.write() as tx:
        row = physical.lock(tx, physical_id)
        findings = [finding for finding in _compared(tx, drivers, row, answers) if finding.problem is None or finding.key in doubted]
        _record(tx, drivers, row, findings, [answer.place.host_id for answer in answers.values() if answer.found is not None])
        if not host_id:
            row.checked_at = drivers.clock.now()
    return findings


def settled(ctx: StepContext, drivers: Networks, findings: Iterable[Finding]) -> list[Finding]:
    """A host that joined a cluster whose hosts all have an interface gets it too; what else was found is left as it is."""
    left = []
    for finding in findings:
        if finding.problem is DriftKind.MISSING and finding.is_new and finding.place.hypervisor in KEEPS:
            try:
                repair(ctx, drivers, finding)
                continue
            except FleetError as problem:
                ctx.say(f"{finding.network} could not be made on {finding.place.host}, which is new: {problem.message}", "warn")
        left.append(finding)
    return left


def tidy(ctx: StepContext, drivers: Networks, findings: Iterable[Finding]) -> int:
    """Remove what is left over: made by fleet, and its last VM ended without anybody removing it. How many went."""
    gone = 0
    for finding in findings:
        if finding.is_left_over and finding.network_id:
            with contextlib.suppress(FleetError):
                gone += interfaces.disconnect(ctx, drivers, finding.network_id, finding.place.host_id)
    return gone


def repair(ctx: StepContext, drivers: Networks, finding: Finding) -> None:
    """Make what is missing, put right what hangs wrong, guests' cards with it.

    Raises:
        Unreachable, TimedOut, InternalError, WrongState: the host did not do it.
    """
    with ctx.read() as tx:
        here = interfaces.spot(tx, finding.network_id, finding.place.host_id, finding.number)
    interfaces.ensure(ctx, drivers, here, [Nic(card.mac, "", port=card.port) for card in finding.cards if card.runs])


def remove(ctx: StepContext, drivers: Networks, physical_id: str, finding: Finding) -> bool:
    """Remove what is extra. Whether it went; a guest's card in it keeps it."""
    if finding.network_id and interfaces.disconnect(ctx, drivers, finding.network_id, finding.place.host_id):
        return True
    with ctx.read() as tx:
        if finding.network_id and drivers.tenants.on_hosts(tx, [finding.network_id], finding.place.host_id):
            return False
    common = finding.place.segment
    try:
        with contextlib.closing(interfaces.wiring(drivers).open(finding.place.host_id)) as wires:
            wires.remove(Segment(common.isolation, finding.number, common.label))
    except InUse:
        return False
    with ctx.write() as tx:
        interfaces.forget(tx, finding.place.host_id, physical_id, finding.number)
        append(tx, type="physnet.changed", ref=f"physnet:{physical_id}")
    return True


def unused(tx: Session, drivers: Networks, physical_id: str) -> list[Finding]:
    """Interfaces on hosts where they are never removed by themselves, that no VM of the host's cluster uses."""
    places = {place.host_id: place for place in _places(tx, physical_id) if place.hypervisor in KEEPS}
    held = _held(tx, physical_id)
    used = _used(tx, drivers, held, places.values())
    rows = tx.scalars(select(InterfaceRow).where(InterfaceRow.physical_id == physical_id, InterfaceRow.host_id.in_(places), InterfaceRow.present))
    found = []
    for row in rows:
        place, network = places[row.host_id], held.get(row.number)
        if (row.number, place.cluster_id) not in used:
            found.append(Finding(place, row.number, network.id if network else "", network.name if network else "", None, None, _UNUSED))
    return sorted(found, key=lambda finding: (finding.place.host, finding.number))


# --- what is there, what should be -----------------------------------------------------------------------------------------


def _places(tx: Session, physical_id: str, host_id: str = "") -> list[Place]:
    row = tx.get_one(PhysicalNetworkRow, physical_id)
    return [
        Place(host.id, host.name, cluster.id, cluster.hypervisor, Segment(Isolation(row.isolation), 0, row.nic_labels[cluster.hypervisor]))
        for host, cluster in interfaces.hosts_of(tx, row) if host_id in ("", host.id)
    ]


def _asked(drivers: Networks, places: Sequence[Place], isolation: Isolation) -> dict[str, Answer]:
    """Answers by host, which are asked some at a time."""
    with ThreadPoolExecutor(_ASKERS, thread_name_prefix="drift") as pool:
        return {answer.place.host_id: answer for answer in pool.map(lambda place: _ask(drivers, place, isolation), places)}


def _ask(drivers: Networks, place: Place, isolation: Isolation) -> Answer:
    try:
        with contextlib.closing(interfaces.wiring(drivers).open(place.host_id)) as wires:
            return Answer(place, wires.present(isolation, place.segment.label))
    except FleetError as problem:
        return Answer(place, None, problem.message)


def _held(tx: Session, physical_id: str) -> Mapping[int, NetworkRow]:
    """Networks by the ID they hold."""
    query = select(VlanRow.number, NetworkRow).join(NetworkRow, VlanRow.network_id == NetworkRow.id).where(VlanRow.physical_id == physical_id)
    return dict(tx.execute(query).all())


def _used(tx: Session, drivers: Networks, held: Mapping[int, NetworkRow], places: Iterable[Place]) -> set[tuple[int, str]]:
    """(ID, cluster) of which some VM there has a card."""
    clusters, numbers = {place.host_id: place.cluster_id for place in places}, {network.id: number for number, network in held.items()}
    cards = drivers.tenants.on_hosts(tx, list(numbers)) if numbers else ()
    return {(numbers[card.network_id], clusters[card.host_id]) for card in cards if card.host_id in clusters}


class _Known:
    """What the rows say of a physical network, read at once."""

    def __init__(self, tx: Session, drivers: Networks, row: PhysicalNetworkRow) -> None:
        self.held = _held(tx, row.id)
        self.guests = physical.spans(tx, row.id, GUEST_SCOPES)
        numbers = {network.id: number for number, network in self.held.items()}
        self.cards: dict[str, dict[int, list[Card]]] = {}
        """By host and ID."""
        for card in drivers.tenants.on_hosts(tx, list(numbers)) if numbers else ():
            self.cards.setdefault(card.host_id, {}).setdefault(numbers[card.network_id], []).append(card)
        self.rows: dict[str, dict[int, InterfaceRow]] = {}
        for interface in tx.scalars(select(InterfaceRow).where(InterfaceRow.physical_id == row.id)):
            self.rows.setdefault(interface.host_id, {})[interface.number] = interface
        self._everywhere: dict[str, set[int]] = {}
        """IDs that every host of a cluster has, where that is so."""
        for place in _places(tx, row.id):
            if place.hypervisor in KEEPS:
                here = self.rows.get(place.host_id, {})
                ours = {number for number, known in here.items() if number in self.held and known.problem != DriftKind.EXTRA.value}
                self._everywhere.setdefault(place.cluster_id, set()).update(ours)

    def needed(self, place: Place) -> set[int]:
        """IDs of which some VM that runs there has a card, or that its whole cluster has."""
        mine = {number for number, cards in self.cards.get(place.host_id, {}).items() if any(card.runs for card in cards)}
        return mine | self._everywhere.get(place.cluster_id, set())


def _compared(tx: Session, drivers: Networks, row: PhysicalNetworkRow, answers: Mapping[str, Answer]) -> list[Finding]:
    known = _Known(tx, drivers, row)
    return [finding for answer in answers.values() if answer.found is not None for finding in _compare(known, answer)]


def _compare(known: _Known, answer: Answer) -> Iterable[Finding]:
    place, there = answer.place, {found.number: found for found in answer.found or ()}
    rows, needed, cards_here = known.rows.get(place.host_id, {}), known.needed(place), known.cards.get(place.host_id, {})
    for number in sorted(there.keys() | needed):
        found, row, network = there.get(number), rows.get(number), known.held.get(number)
        cards = tuple(cards_here.get(number, ()))  # a VM that starts, stops or moves may have its interface or not
        about = (place, number, network.id if network is not None else "", network.name if network is not None else "", found)
        is_ours = row is not None and row.present and row.problem in ("", DriftKind.WRONG_BRIDGE.value)
        if number in needed:
            if found is None or not found.device:
                yield Finding(*about, DriftKind.MISSING, "it is not there", is_new=row is None, cards=cards)
            elif wrong := found.wrong or _fallen_out(found, cards):
                yield Finding(*about, DriftKind.WRONG_BRIDGE, wrong, cards=cards)
            else:
                yield Finding(*about, None, cards=cards)
        elif cards:
            yield Finding(*about, None, cards=cards)
        elif place.hypervisor in KEEPS and is_ours:
            yield Finding(*about, None, _UNUSED)
        elif is_ours and network is not None:
            yield Finding(*about, None, "its last VM has left", is_left_over=True)
        elif network is not None or is_ours or any(first <= number <= last for first, last in known.guests):
            yield Finding(*about, DriftKind.EXTRA, "no VM on it needs it" if network is not None else "no network holds the ID")


def _fallen_out(found: Found, cards: Iterable[Card]) -> str:
    """Which VM's card is not in it; empty when all are."""
    lost = sorted(card.vm for card in cards if card.runs and tap_address(card.mac) not in found.taps)
    return f"the card of {', '.join(lost)} is not in it" if lost else ""


def _record(tx: Session, drivers: Networks, row: PhysicalNetworkRow, findings: Sequence[Finding], host_ids: Sequence[str]) -> None:
    """Let the rows of the hosts that answered say what was found."""
    now = drivers.clock.now()
    old = {(one.host_id, one.number): one for one in tx.scalars(
        select(InterfaceRow).where(InterfaceRow.physical_id == row.id, InterfaceRow.host_id.in_(host_ids))
    )}  # fmt: skip
    before = {key: (one.present, one.problem) for key, one in old.items()}
    after: dict[tuple[str, int], tuple[bool, str]] = {}
    for finding in sorted(findings, key=lambda finding: finding.key[:2]):
        key = (finding.place.host_id, finding.number)
        interface = old.pop(key, None)
        if interface is None:
            if tx.scalar(select(HostRow.id).where(HostRow.id == key[0]).with_for_update()) is None:
                continue  # the host left
            interface = tx.get(InterfaceRow, (key[0], row.id, key[1]))  # a VM may have brought it meanwhile
        if interface is None:
            interface = InterfaceRow(host_id=finding.place.host_id, physical_id=row.id, number=finding.number, technique=Technique.KERNEL.value)
            tx.add(interface)
        if (found := finding.found) is not None:
            interface.technique, interface.device, interface.bridge = found.technique.value, found.device, found.bridge
        interface.present = finding.problem is not DriftKind.MISSING
        interface.problem = finding.problem.value if finding.problem is not None else ""
        interface.detail, interface.seen_at = finding.detail, now
        after[key] = (interface.present, interface.problem)
    for gone in old.values():
        tx.delete(gone)
    if before != after:
        append(tx, type="physnet.changed", ref=f"physnet:{row.id}")

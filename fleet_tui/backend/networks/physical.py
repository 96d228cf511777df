"""Physical networks: found, locked, made, enabled, disabled, labelled and deleted (spec 10.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import hierarchy
from fleet_tui.backend.hosts.rows import ClusterRow, PodRow, ZoneRow
from fleet_tui.backend.networks import CheckDrift, CreatePhysicalNetwork, DeletePhysicalNetwork, EditPhysicalNetwork, ranges
from fleet_tui.backend.networks.ranges import Spans, common, merged, text_of
from fleet_tui.backend.networks.rows import DedicationRow, NetworkRow, PhysicalNetworkRow, VlanRangeRow, VlanRow
from fleet_tui.backend.networks.rules import Rules
from fleet_tui.backend.networks.states import Isolation, PhysicalState, Scope
from fleet_tui.backend.operations import schedule
from fleet_tui.backend.store import new_id
from fleet_tui.backend.text import clean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
NAME_RULE = "use 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit"
_CARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
_SWITCH = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,61}[A-Za-z0-9._-])?\Z")
EVERY = "*"
"""Target of a drift check of every physical network."""
_DRIFT_S = Rules().drift_s
_clock = SystemClock()
_SHOWN = 10
"""Networks named when there are many; the rest is counted."""


# --- finding and locking ---------------------------------------------------------------------------------------------


def find(tx: Session, target: str) -> PhysicalNetworkRow:
    """The physical network of that name, id, ref or path (``zone/name``).

    Raises:
        NotFound: there is none.
        InvalidInput: several zones have one of that name.
    """
    inside, _, name = target.removeprefix("physnet:").rpartition("/")
    row = PhysicalNetworkRow
    query = select(row).where((row.id == name) | (row.name == name)).limit(2)
    if inside:
        query = query.where(row.zone_id == hierarchy.find_zone(tx, inside).id)
    found = tx.scalars(query).all()
    if not found:
        raise NotFound(f"there is no physical network {clean(target, 100)!r}", hint="`fleet physnet list` shows them")
    if len(found) > 1:
        raise InvalidInput(f"several zones have a physical network {name!r}", hint="name it as zone/name, or by its id")
    return found[0]


def lock(tx: Session, physical_id: str) -> PhysicalNetworkRow:
    """Its row as it is now. Whoever holds it is the only one who changes ranges, scopes, dedications or takings of it (VLN-2).

    Raises:
        NotFound: it is gone.
    """
    row = PhysicalNetworkRow
    query = select(row).where(row.id == physical_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    found = tx.scalar(query)
    if found is None:
        raise NotFound("the physical network is gone", hint="`fleet physnet list` shows them")
    return found


def lock_zone(tx: Session, zone_id: str) -> None:
    """Held by what looks across the physical networks of a zone: taken before any of them is."""
    tx.execute(select(ZoneRow.id).where(ZoneRow.id == zone_id).with_for_update(key_share=True))


def space_of(row: PhysicalNetworkRow) -> str:
    """Where its IDs are unique: :attr:`VlanRow.space`."""
    return row.zone_id if row.isolation == Isolation.VXLAN.value else row.id


def range_rows(tx: Session, physical_id: str) -> Sequence[VlanRangeRow]:
    return tx.scalars(select(VlanRangeRow).where(VlanRangeRow.physical_id == physical_id).order_by(VlanRangeRow.first)).all()


def spans(tx: Session, physical_id: str, scopes: Sequence[Scope] = tuple(Scope)) -> Spans:
    """Its IDs of those scopes."""
    return merged((row.first, row.last) for row in range_rows(tx, physical_id) if row.scope in scopes)


def dedication_rows(tx: Session, physical_id: str) -> Sequence[DedicationRow]:
    return tx.scalars(select(DedicationRow).where(DedicationRow.physical_id == physical_id).order_by(DedicationRow.first)).all()


# --- making ----------------------------------------------------------------------------------------------------------


def schedule_checks(tx: Session, every_s: float) -> None:
    """Have every host asked so often what it has (spec 10.5), from the first physical network on."""
    if tx.scalar(select(PhysicalNetworkRow.id).limit(1)) is not None:
        schedule.ensure(
            tx, name="vlan-drift", kind="vlan.drift", target_ref=EVERY, every_s=max(1, round(every_s)), now=_clock.now(),
            request=CheckDrift(target=EVERY),
        )


def create(tx: Session, request: CreatePhysicalNetwork, user: str, drift_s: float = _DRIFT_S) -> PhysicalNetworkRow:
    """Save a new one, disabled until somebody enables it.

    Args:
        drift_s: ``vlan.drift.interval``.

    Raises:
        InvalidInput: naming every field that is wrong.
    """
    zone = hierarchy.find_zone(tx, request.zone)
    lock_zone(tx, zone.id)
    problems = [] if NAME.match(request.name) else [Problem("name", NAME_RULE)]
    row = PhysicalNetworkRow
    if tx.scalar(select(row.id).where(row.zone_id == zone.id, row.name == request.name)) is not None:
        problems.append(Problem("name", f"zone {zone.name} has a physical network {request.name} already"))
    problems += _label_problems(request.nic_labels)
    wanted: Spans = ()
    try:
        wanted = ranges.parse(request.ranges, request.isolation)
    except InvalidInput as refusal:
        problems += refusal.problems
    made = PhysicalNetworkRow(
        id=new_id("pn"), name=request.name, zone_id=zone.id, isolation=request.isolation.value, state=PhysicalState.DISABLED.value,
        nic_labels=dict(request.nic_labels), version=1,
    )
    if not problems:
        problems += sharing_problems(tx, made, wanted)
    if problems:
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in problems[:3])
        raise InvalidInput(f"physical network {clean(request.name, 63)!r} cannot be made: {listed}", problems=problems)
    tx.add(made)
    try:
        tx.flush()
    except IntegrityError:
        raise InvalidInput(f"there is a physical network {made.name} already", problems=[Problem("name", "is taken")]) from None
    tx.add_all(VlanRangeRow(physical_id=made.id, first=first, last=last, scope=Scope.GUEST_POOL.value) for first, last in wanted)
    tx.flush()
    schedule_checks(tx, drift_s)
    told(tx, made, "created", f"physical network {made.name} was made in zone {zone.name}, disabled until it is enabled", user)
    return made


def edit(tx: Session, request: EditPhysicalNetwork, user: str) -> PhysicalNetworkRow:
    """Enable or disable it, or give it other labels. Disabled it takes no new network into use; what is in use goes on.

    Raises:
        InvalidInput: a label is wrong, or is that of another physical network that has some of the same IDs.
        InUse: a label would change under interfaces that hosts have.
        WrongState: it cannot be enabled before it has a label for each hypervisor of its zone.
    """
    found = find(tx, request.target)
    lock_zone(tx, found.zone_id)
    row = lock(tx, found.id)
    labels = dict(row.nic_labels) if request.nic_labels is None else dict(request.nic_labels)
    changed = [key for key, label in row.nic_labels.items() if labels.get(key) != label]
    problems = _label_problems(labels)
    probe = PhysicalNetworkRow(id=row.id, name=row.name, zone_id=row.zone_id, isolation=row.isolation, nic_labels=labels)
    if not problems and labels != row.nic_labels:
        problems = sharing_problems(tx, probe, spans(tx, row.id))
    if problems:
        raise InvalidInput(f"{row.name} cannot be changed: {problems[0].field}: {problems[0].message}", problems=problems)
    if changed and (used := _taken(tx, row.id)):
        raise InUse(
            f"the label for {', '.join(sorted(changed))} cannot change: hosts carry {used} IDs of {row.name} on it",
            hint="shut its networks down first; a label for another hypervisor can be added", users=_network_names(tx, row.id),
        )
    enabled = row.state == PhysicalState.ENABLED.value if request.enabled is None else request.enabled
    if enabled and (missing := sorted(_hypervisors(tx, row.zone_id) - labels.keys()) or ([] if labels else ["any hypervisor"])):
        raise WrongState(
            f"{row.name} cannot be enabled: it has no NIC label for {', '.join(missing)}",
            hint=f"give it one first: `fleet physnet edit {row.name} --nic-label HYPERVISOR=CARD`", state=row.state, allowed=[],
        )
    state = (PhysicalState.ENABLED if enabled else PhysicalState.DISABLED).value
    if (state, labels) == (row.state, row.nic_labels):
        return row
    words = [] if state == row.state else [state.lower()]
    words += ["given other NIC labels"] if labels != row.nic_labels else []
    row.state, row.nic_labels, row.version = state, labels, row.version + 1
    told(tx, row, "changed", f"physical network {row.name} was {' and '.join(words)}", user)
    return row


def delete(tx: Session, request: DeletePhysicalNetwork, user: str) -> str:
    """Raises InUse while a guest network stands on it or an ID is taken, ConfirmationRequired without its name."""
    found = find(tx, request.target)
    lock_zone(tx, found.zone_id)
    row = lock(tx, found.id)
    names = _network_names(tx, row.id)
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InUse(
            f"physical network {row.name} has guest networks: {', '.join(names[:_SHOWN])}{more}", hint="delete them first", users=names,
        )
    if (taken := _taken(tx, row.id)):
        raise InUse(
            f"{taken} IDs of physical network {row.name} are still taken, though their networks are gone",
            hint=f"`fleet vlan repair {row.name}` gives them back", users=[],
        )
    if request.confirm != row.name:
        raise ConfirmationRequired(f"deleting physical network {row.name} cannot be undone", hint=f"type its name: --confirm {row.name}")
    tx.delete(row)
    tx.flush()
    text = f"physical network {row.name} was deleted"
    told(tx, row, "deleted", text, user)
    return text


def refuse_in_zone(tx: Session, zone: str) -> None:
    """A zone goes only when no physical network stands in it.

    Raises:
        InUse: naming those that do.
    """
    row = PhysicalNetworkRow
    found = hierarchy.find_zone(tx, zone)
    lock_zone(tx, found.id)
    names = list(tx.scalars(select(row.name).where(row.zone_id == found.id).order_by(row.name)))
    if names:
        raise InUse(f"zone {found.name} is not empty: physical network {', '.join(names[:_SHOWN])}", hint="delete them first", users=names)


def told(tx: Session, row: PhysicalNetworkRow, what: str, text: str, user: str | None = None, level: str = "info") -> None:
    """An event about a physical network. Everybody reads events, so no ID is ever in one."""
    append(tx, type=f"physnet.{what}", ref=f"physnet:{row.id}", text=text, user=user, level=level)


# --- rules -----------------------------------------------------------------------------------------------------------


def sharing_problems(tx: Session, row: PhysicalNetworkRow, wanted: Spans) -> list[Problem]:
    """Why ``wanted`` may not be IDs of it beside those of its zone's other physical networks: the same NIC would carry an ID twice; VXLAN
    IDs are unique in the zone whatever the NIC. The zone must be locked."""
    if not wanted:
        return []
    other, problems = PhysicalNetworkRow, []
    alike = select(other).where(other.zone_id == row.zone_id, other.isolation == row.isolation, other.id != row.id).order_by(other.name)
    for found in tx.scalars(alike):
        shared = sorted(key for key, label in row.nic_labels.items() if found.nic_labels.get(key) == label)
        if row.isolation != Isolation.VXLAN.value and not shared:
            continue
        named = select(VlanRow.number).where(VlanRow.physical_id == found.id, VlanRow.specified)
        both = common(wanted, merged((*spans(tx, found.id), *((number, number) for number in tx.scalars(named)))))
        if both:
            why = f"on {shared[0]} it has the same NIC, {row.nic_labels[shared[0]]}" if shared else "VXLAN IDs are unique in a zone"
            problems.append(Problem("ranges", f"{text_of(both[:_SHOWN])} belongs to physical network {found.name} already, and {why}"))
    return problems


def _label_problems(labels: Mapping[str, str]) -> list[Problem]:
    problems = []
    for hypervisor, label in labels.items():
        if hypervisor not in hierarchy.HYPERVISORS:
            problems.append(Problem("nic_labels", f"{clean(hypervisor, 20)!r} is no hypervisor; {', '.join(hierarchy.HYPERVISORS)} are"))
        elif not (_SWITCH if hypervisor == "vsphere" else _CARD).match(label):
            rule = "the name of a switch, 1 to 63 letters, digits, spaces, '.', '_' or '-'" if hypervisor == "vsphere" else (
                "the name of a network card, 1 to 15 letters, digits, '.', '_' or '-'"
            )
            problems.append(Problem("nic_labels", f"{clean(label, 40)!r} is no label for {hypervisor}: {rule}"))
    return problems


def _hypervisors(tx: Session, zone_id: str) -> set[str]:
    """Kinds of hosts its zone has clusters for."""
    query = select(ClusterRow.hypervisor).join(PodRow, ClusterRow.pod_id == PodRow.id).where(PodRow.zone_id == zone_id).distinct()
    return set(tx.scalars(query)) & set(hierarchy.HYPERVISORS)


def _taken(tx: Session, physical_id: str) -> int:
    return tx.scalar(select(func.count()).select_from(VlanRow).where(VlanRow.physical_id == physical_id)) or 0


def _network_names(tx: Session, physical_id: str) -> list[str]:
    return list(tx.scalars(select(NetworkRow.name).where(NetworkRow.physical_id == physical_id).order_by(NetworkRow.name)))

"""Physical networks, IDs and guest networks as records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.hosts import hierarchy
from fleet_tui.backend.hosts.rows import HostRow, ZoneRow
from fleet_tui.backend.networks import (
    DedicationRecord,
    ListNetworks,
    ListPhysicalNetworks,
    ListVlans,
    MapRecord,
    NetworkRecord,
    PhysicalNetworkRecord,
    PresenceRecord,
    RangeRecord,
    ShowPresence,
    TakenRecord,
    VlanRecord,
    allocation,
    collection,
    guest,
    physical,
)
from fleet_tui.backend.networks.census import Census
from fleet_tui.backend.networks.ranges import Spans, common, merged, text_of
from fleet_tui.backend.networks.rows import InterfaceRow, NetworkOfferingRow, NetworkRow, NicRow, PhysicalNetworkRow, VlanRow
from fleet_tui.backend.networks.states import (
    DriftKind,
    GuestType,
    Isolation,
    NetworkState,
    OwnerKind,
    PhysicalState,
    Scope,
    VlanState,
)
from fleet_tui.backend.networks.tenants import Tenants
from fleet_tui.backend.operations.overview import active_by_target

_PAGE = 5000
_UNTAKEN = frozenset({VlanState.FREE, VlanState.DEDICATED_FREE, VlanState.MANAGEMENT, VlanState.PUBLIC, VlanState.RESERVED})


# --- physical networks -----------------------------------------------------------------------------------------------


def list_physical(tx: Session, request: ListPhysicalNetworks) -> tuple[PhysicalNetworkRecord, ...]:
    query = select(PhysicalNetworkRow, ZoneRow.name).join(ZoneRow, PhysicalNetworkRow.zone_id == ZoneRow.id)
    if request.zone:
        query = query.where(ZoneRow.id == hierarchy.find_zone(tx, request.zone).id)
    query = query.order_by(ZoneRow.name, PhysicalNetworkRow.name).limit(_limit(request.limit))
    return tuple(_physical(tx, Census(tx, row), zone) for row, zone in tx.execute(query))


def describe_physical(tx: Session, row: PhysicalNetworkRow) -> PhysicalNetworkRecord:
    return _physical(tx, Census(tx, row), tx.get_one(ZoneRow, row.zone_id).name)


def show_map(tx: Session, target: str) -> MapRecord:
    row = physical.find(tx, target)
    census = Census(tx, row)
    taken = []
    for number in census.special:
        taking = census.takings.get(number)
        taken.append(TakenRecord(number, census.state(number), taking.network if taking else "", taking.owned_by if taking else ""))
    return MapRecord(_physical(tx, census, tx.get_one(ZoneRow, row.zone_id).name), tuple(taken))


def _physical(tx: Session, census: Census, zone: str) -> PhysicalNetworkRecord:
    row = census.physical
    networks = tx.scalar(select(func.count()).select_from(NetworkRow).where(NetworkRow.physical_id == row.id)) or 0
    return PhysicalNetworkRecord(
        id=row.id, name=row.name, zone=zone, isolation=Isolation(row.isolation), state=PhysicalState(row.state), nic_labels=dict(row.nic_labels),
        ranges=tuple(RangeRecord(found.first, found.last, Scope(found.scope)) for found in census.ranges),
        dedications=tuple(
            DedicationRecord(found.id, found.first, found.last, OwnerKind(found.owner_kind), found.owner, census.used(found))
            for found in census.dedications
        ),
        counts=census.counts(), networks=networks, problems=census.drift + sum(1 for _ in census.orphans()), checked_at=row.checked_at,
        version=row.version,
    )


def wanting_attention(tx: Session) -> Mapping[tuple[str, str, str], str]:
    """What somebody should look at, in words without IDs, by (id, name, kind) of each physical network."""
    found: dict[tuple[str, str, str], str] = {}
    i, orphans = InterfaceRow, collection.count_orphans(tx)
    drift = dict(tx.execute(select(i.physical_id, func.count()).where(i.problem != "").group_by(i.physical_id)).all())
    for row in tx.scalars(select(PhysicalNetworkRow).order_by(PhysicalNetworkRow.name)):
        if row.state == PhysicalState.ENABLED.value and (room := allocation.room(tx, row)).is_low:
            found[row.id, row.name, "low"] = f"the guest pool runs low: {room.free} of {room.total} free"
        if row.id in orphans:
            count = orphans[row.id][1]
            found[row.id, row.name, "orphans"] = f"{count} ID{'s are' if count > 1 else ' is'} taken for networks that are gone"
        if row.id in drift:
            count = drift[row.id]
            found[row.id, row.name, "drift"] = f"{count} interface{'s' if count > 1 else ''} on hosts not as they should be"
    return found


# --- IDs -------------------------------------------------------------------------------------------------------------


def show_vlan(tx: Session, target: str, number: int, tenants: Tenants) -> VlanRecord:
    """One ID with its VMs and hosts; an ID in no range is told of too."""
    row = physical.find(tx, target)
    census = Census(tx, row)
    taking = census.takings.get(number)
    vms = tuple(tenants.names(tx, taking.network_id)) if taking is not None and taking.network_id is not None else ()
    return _vlan(census, number, vms, show_presence(tx, ShowPresence(row.id, number, number), tenants))


def list_vlans(tx: Session, request: ListVlans) -> tuple[VlanRecord, ...]:
    """Raises InvalidInput for a state that there is not."""
    census = Census(tx, physical.find(tx, request.target))
    found, limit = list[VlanRecord](), _limit(request.limit)
    candidates = _candidates(census, request.state)
    if request.owner:  # who asks for an owner's IDs must not wait for millions of somebody else's
        own = ((row.first, row.last) for row in census.dedications if _is_owner(f"{row.owner_kind} {row.owner}", request.owner))
        candidates = common(candidates, merged((*own, *((number, number) for number in census.special))))
    for number in _numbers(candidates, request.after):
        if len(found) == limit:
            break
        record = _vlan(census, number)
        is_its = not request.owner or any(_is_owner(text, request.owner) for text in (record.owner, record.dedicated_to))
        if is_its and (not request.state or record.state.value == request.state):
            found.append(record)
    return tuple(found)


def _candidates(census: Census, state: str) -> Spans:
    """Where IDs in that state are; without one, what is taken, dedicated or in trouble."""
    special = [(number, number) for number in census.special]
    if not state:
        return merged((*special, *census.dedicated))
    try:
        wanted = VlanState(state)
    except ValueError:
        states = ", ".join(known.value for known in VlanState)
        raise InvalidInput(f"there is no state {state[:20]!r}", problems=[Problem("state", f"must be one of {states}")]) from None
    return census.spans(wanted) if wanted in _UNTAKEN else merged(special)


def _numbers(spans: Spans, after: int) -> Iterator[int]:
    for first, last in spans:
        yield from range(max(first, after + 1), last + 1)


def _is_owner(text: str, owner: str) -> bool:
    """``account shop`` by its name alone too."""
    return bool(text) and owner in (text, text.partition(" ")[2])


def _vlan(census: Census, number: int, vms: tuple[str, ...] = (), presence: tuple[PresenceRecord, ...] = ()) -> VlanRecord:
    found, dedication, taking = census.range_of(number), census.dedication_of(number), census.takings.get(number)
    record = VlanRecord(
        number=number, physical=census.physical.name, state=census.state(number), scope=Scope(found.scope) if found else None,
        range=text_of(((found.first, found.last),)) if found else "",
        dedicated_to=f"{dedication.owner_kind} {dedication.owner}" if dedication else "", vms=vms, presence=presence,
    )
    if taking is None:
        return record
    return VlanRecord(
        number=number, physical=record.physical, state=record.state, scope=record.scope, range=record.range, network=taking.network,
        network_id=taking.network_id or "", network_state=taking.network_state, owner=taking.owned_by, dedicated_to=record.dedicated_to,
        since=taking.since, reservation=taking.reservation, subnets=(taking.cidr,) if taking.cidr else (), vms=vms, presence=presence,
    )


def show_presence(tx: Session, request: ShowPresence, tenants: Tenants) -> tuple[PresenceRecord, ...]:
    """Hosts and IDs of the last check, with what is expected now, by host and ID."""
    row = physical.find(tx, request.target)
    i, v = InterfaceRow, VlanRow
    seen = {
        (found.host_id, found.number): found
        for found in tx.scalars(select(i).where(i.physical_id == row.id, i.number.between(request.first, request.last)))
    }
    query = select(v.network_id, v.number).where(v.physical_id == row.id, v.number.between(request.first, request.last))
    taken = {network_id: number for network_id, number in tx.execute(query) if network_id is not None}
    expected = {(host_id, taken[network_id]) for network_id, host_ids in tenants.hosts(tx, taken).items() for host_id in host_ids}
    names = _host_names(tx, {host_id for host_id, _ in (*seen, *expected)})
    return tuple(
        _presence(names.get(host_id, host_id), host_id, number, (host_id, number) in expected, seen.get((host_id, number)))
        for host_id, number in sorted({*seen, *expected}, key=lambda key: (names.get(key[0], key[0]), key[1]))
    )


def _presence(host: str, host_id: str, number: int, expected: bool, seen: InterfaceRow | None) -> PresenceRecord:
    if seen is None:
        return PresenceRecord(host, host_id, number, expected, None)
    return PresenceRecord(host, host_id, number, expected, seen.present, DriftKind(seen.problem) if seen.problem else None, seen.detail)


def _host_names(tx: Session, ids: Collection[str]) -> Mapping[str, str]:
    return dict(tx.execute(select(HostRow.id, HostRow.name).where(HostRow.id.in_(ids))).all())


# --- guest networks --------------------------------------------------------------------------------------------------


def list_networks(tx: Session, request: ListNetworks, tenants: Tenants, *, with_vlans: bool) -> tuple[NetworkRecord, ...]:
    """By name. Without ``with_vlans`` no record carries an ID."""
    query = select(NetworkRow).order_by(NetworkRow.name).limit(_limit(request.limit))
    if request.physical:
        query = query.where(NetworkRow.physical_id == physical.find(tx, request.physical).id)
    return records(tx, tx.scalars(query).all(), tenants, with_vlans=with_vlans)


def show_network(tx: Session, target: str, tenants: Tenants, *, with_vlans: bool) -> NetworkRecord:
    return records(tx, [guest.find(tx, target)], tenants, with_vlans=with_vlans)[0]


def records(tx: Session, rows: Sequence[NetworkRow], tenants: Tenants, *, with_vlans: bool) -> tuple[NetworkRecord, ...]:
    ids = [row.id for row in rows]
    v, i, p = VlanRow, InterfaceRow, PhysicalNetworkRow
    vlans = {network_id: (number, specified) for network_id, number, specified in tx.execute(
        select(v.network_id, v.number, v.specified).where(v.network_id.in_(ids))
    )}  # fmt: skip
    nics: dict[str, int] = dict(tx.execute(
        select(NicRow.network_id, func.count()).where(NicRow.network_id.in_(ids)).group_by(NicRow.network_id)
    ).all())
    hosts: dict[str | None, int] = dict(tx.execute(
        select(v.network_id, func.count()).join(i, (v.physical_id == i.physical_id) & (v.number == i.number))
        .where(v.network_id.in_(ids), i.present).group_by(v.network_id)
    ).all())
    offerings = {row.id: row for row in tx.scalars(select(NetworkOfferingRow))}
    fabrics = {id_: (name, zone) for id_, name, zone in tx.execute(select(p.id, p.name, ZoneRow.name).join(ZoneRow, p.zone_id == ZoneRow.id))}
    running, active = tenants.running(tx, ids), active_by_target(tx, [f"network:{id_}" for id_ in ids])
    return tuple(
        NetworkRecord(
            id=row.id, name=row.name, offering=offerings[row.offering_id].name, guest_type=GuestType(offerings[row.offering_id].guest_type),
            physical=fabrics[row.physical_id][0], zone=fabrics[row.physical_id][1], state=NetworkState(row.state),
            vlan=vlans[row.id][0] if with_vlans and row.id in vlans else None, has_vlan=row.id in vlans,
            specified=row.id in vlans and vlans[row.id][1], cidr=row.cidr, gateway=row.gateway,
            owner_kind=OwnerKind(row.owner_kind) if row.owner_kind else None, owner=row.owner, nics=nics.get(row.id, 0),
            running=running.get(row.id, 0), hosts=hosts.get(row.id, 0), error=row.error,
            operation_id=active[f"network:{row.id}"][0] if f"network:{row.id}" in active else None, unused_since=row.unused_since,
            created_at=row.created_at, version=row.version,
        )
        for row in rows
    )


def _limit(asked: int) -> int:
    return max(1, min(asked, _PAGE))

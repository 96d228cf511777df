"""Whether what a virtual network names of our own hosts is there, so that instances could be made on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.hosts.hierarchy import find_zone
from fleet_tui.backend.hosts.rows import ZoneRow
from fleet_tui.backend.machines.rows import OfferingRow
from fleet_tui.backend.networks import guest
from fleet_tui.backend.networks.rows import NetworkRow, PhysicalNetworkRow
from fleet_tui.backend.providers import Amiss, Placement
from fleet_tui.backend.providers.own_ground import Ground

T = TypeVar("T")


def survey(ground: Ground, placement: Placement) -> Sequence[Amiss]:
    """Everything amiss at once. Looks at what is on record; nobody is asked."""
    found: list[Amiss] = []
    with ground.store.read() as tx:
        zone = _tried(found, "zone", lambda: find_zone(tx, placement.zone))
        network = _tried(found, "guest_network", lambda: guest.find(tx, placement.guest_network))
        if zone is not None:
            _tried(found, "zone", lambda: ground.image(tx, zone, ""))
        if network is not None and not network.cidr:
            found.append(Amiss("guest_network", f"{network.name} has no range of addresses to give machines one of"))
        if zone is not None and network is not None:
            found.extend(_together(ground, tx, zone, network))
        if not tx.scalar(select(func.count()).select_from(OfferingRow).where(OfferingRow.system_kind == "")):
            found.append(Amiss("zone", "there is no offering for guests, so no size a machine could have"))
    return found


def _together(ground: Ground, tx: Session, zone: ZoneRow, network: NetworkRow) -> Sequence[Amiss]:
    if tx.get_one(PhysicalNetworkRow, network.physical_id).zone_id != zone.id:
        return [Amiss("guest_network", f"{network.name} is of another zone than {zone.name}")]
    closed: list[Amiss] = []
    _tried(closed, "zone", lambda: ground.cluster(tx, zone, network), is_error=False)  # it may be closed for a while only
    return closed


def _tried(found: list[Amiss], name: str, look: Callable[[], T], is_error: bool = True) -> T | None:
    try:
        return look()
    except FleetError as problem:
        found.append(Amiss(name, problem.message, is_error))
        return None

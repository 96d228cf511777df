"""Guest networks made and deleted (spec 10.1, 10.4). Nobody ever changes the VLAN of one (VLN-11): there is no verb for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv4Network, ip_address, ip_network

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.rows import ZoneRow
from fleet_tui.backend.networks import CreateNetwork, DeleteNetwork, allocation, guest, physical
from fleet_tui.backend.networks.dedication import OWNER, OWNER_RULE
from fleet_tui.backend.networks.offerings import find_offering
from fleet_tui.backend.networks.physical import NAME, NAME_RULE
from fleet_tui.backend.networks.rows import NetworkOfferingRow, NetworkRow, PhysicalNetworkRow
from fleet_tui.backend.networks.states import MOVES, NetworkEvent, NetworkState, PhysicalState
from fleet_tui.backend.networks.tenants import Tenants
from fleet_tui.backend.store import new_id
from fleet_tui.backend.text import clean

_PREFIX = 24
"""Of a subnet that a network is given when none was named."""


def create(tx: Session, request: CreateNetwork, now: datetime, user: str) -> NetworkRow:
    """Make a network: ``Setup`` with the VLAN that was named where the offering says so, else ``Allocated`` without one.

    Raises:
        InvalidInput: with every field that is wrong; a VLAN without an offering that specifies one, or none with such a one (VLN-8).
        InUse: the VLAN named is somebody else's (VLN-7).
        WrongState: the physical network is disabled.
    """
    offering = find_offering(tx, request.offering)
    fabric = physical.find(tx, request.physical)
    problems = [*_name_problems(tx, request.name), *_vlan_problems(offering, request.vlan), *_owner_problems(request)]
    subnet, wrong = _subnet(request)
    problems += wrong
    if problems:
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in problems[:3])
        raise InvalidInput(f"network {clean(request.name, 63)!r} cannot be made: {listed}", problems=problems)
    if fabric.state != PhysicalState.ENABLED.value:
        raise WrongState(
            f"network {request.name} cannot be made: physical network {fabric.name} is disabled", hint=f"`fleet physnet enable {fabric.name}`",
            state=fabric.state, allowed=[PhysicalState.ENABLED.value],
        )
    if offering.specify_vlan:
        physical.lock_zone(tx, fabric.zone_id)
        subnet = subnet or _free_subnet(tx, fabric)
    physical.lock(tx, fabric.id)
    gateway = request.gateway or (str(next(subnet.hosts())) if subnet is not None else "")
    row = NetworkRow(
        id=new_id("gn"), name=request.name, offering_id=offering.id, physical_id=fabric.id,
        state=(NetworkState.SETUP if offering.specify_vlan else NetworkState.ALLOCATED).value, cidr=str(subnet or ""), gateway=gateway,
        owner_kind=request.owner_kind.value if request.owner_kind else "", owner=request.owner, created_at=now, updated_at=now,
    )
    tx.add(row)
    try:
        tx.flush()
    except IntegrityError:
        raise InvalidInput(f"there is a network {row.name} already", problems=[Problem("name", "is taken")]) from None
    if request.vlan is not None:
        allocation.specify(tx, row, request.vlan, now)
    append(tx, type="network.created", ref=f"network:{row.id}", text=f"network {row.name} was made on {fabric.name}", user=user)
    return row


def delete(tx: Session, request: DeleteNetwork, tenants: Tenants, now: datetime, user: str) -> str:
    """Delete a network that no VM has a card on. A VLAN that was specified for it is free then.

    Raises:
        InUse: naming the VMs.
        WrongState: it is up, or on its way up or down.
        ConfirmationRequired: its name was not typed.
    """
    row = guest.lock(tx, guest.find(tx, request.target).id)
    if (vms := tenants.names(tx, row.id)):
        more = f" and {len(vms) - 10} more" if len(vms) > 10 else ""
        raise InUse(f"network {row.name} has VMs: {', '.join(vms[:10])}{more}", hint="destroy them first", users=list(vms))
    if (NetworkState(row.state), NetworkEvent.DELETE) not in MOVES:
        origins = sorted(state.value for state, event in MOVES if event is NetworkEvent.DELETE)
        raise WrongState(
            f"network {row.name} is {row.state}; `delete` needs {' or '.join(origins)}",
            hint=f"`fleet network restart {row.name}` shuts it down now; left alone it is shut down by itself", state=row.state, allowed=origins,
        )
    if request.confirm != row.name:
        raise ConfirmationRequired(f"deleting network {row.name} cannot be undone", hint=f"type its name: --confirm {row.name}")
    guest.move(tx, row, NetworkEvent.DELETE, now)
    allocation.give_back(tx, row, row.reservation, specified=True)
    tx.delete(row)
    tx.flush()
    text = f"network {row.name} was deleted"
    append(tx, type="network.deleted", ref=f"network:{row.id}", text=text, user=user)
    return text


# --- rules -----------------------------------------------------------------------------------------------------------


def _name_problems(tx: Session, name: str) -> Iterable[Problem]:
    if not NAME.match(name):
        yield Problem("name", NAME_RULE)
    elif tx.scalar(select(NetworkRow.id).where(NetworkRow.name == name)) is not None:
        yield Problem("name", f"there is a network {name} already")


def _vlan_problems(offering: NetworkOfferingRow, vlan: int | None) -> Iterable[Problem]:
    if offering.specify_vlan and vlan is None:
        yield Problem("vlan", f"is needed: networks of offering {offering.name} have the VLAN that an administrator names")
    if not offering.specify_vlan and vlan is not None:
        yield Problem("vlan", f"cannot be named: networks of offering {offering.name} take one by themselves")


def _owner_problems(request: CreateNetwork) -> Iterable[Problem]:
    if request.owner and not OWNER.match(request.owner):
        yield Problem("owner", OWNER_RULE)
    if bool(request.owner) != bool(request.owner_kind):
        yield Problem("owner", "an owner is an account, a project or a domain, with its name")


def _subnet(request: CreateNetwork) -> tuple[IPv4Network | None, list[Problem]]:
    if not request.cidr:
        return None, [Problem("cidr", "is needed with a gateway")] if request.gateway else []
    try:
        found = ip_network(request.cidr)
    except ValueError:
        found = None
    if not isinstance(found, IPv4Network) or "/" not in request.cidr or found.prefixlen > 30:
        return None, [Problem("cidr", "must be an IPv4 network such as 10.1.1.0/24, without host bits and with room for two hosts")]
    if request.gateway:
        try:
            gateway = ip_address(request.gateway)
        except ValueError:
            return found, [Problem("gateway", "must be an IPv4 address")]
        if gateway not in found or gateway in (found.network_address, found.broadcast_address):
            return found, [Problem("gateway", f"is no host of {found}")]
    return found, []


def _free_subnet(tx: Session, fabric: PhysicalNetworkRow) -> IPv4Network:
    """The first /24 of the zone's guest network that no network of the zone overlaps. The zone must be locked.

    Raises:
        InvalidInput: there is none.
    """
    zone = tx.get_one(ZoneRow, fabric.zone_id)
    if zone.guest_cidr:
        p = PhysicalNetworkRow
        query = select(NetworkRow.cidr).join(p, NetworkRow.physical_id == p.id).where(p.zone_id == zone.id, NetworkRow.cidr != "").distinct()
        used = [IPv4Network(cidr) for cidr in tx.scalars(query)]
        whole = IPv4Network(zone.guest_cidr)
        for subnet in whole.subnets(new_prefix=max(_PREFIX, whole.prefixlen)):
            if not any(subnet.overlaps(other) for other in used):
                return subnet
    why = f"the guest network {zone.guest_cidr} of zone {zone.name} is full" if zone.guest_cidr else f"zone {zone.name} has no guest network"
    raise InvalidInput(f"a CIDR is needed: {why}", problems=[Problem("cidr", "is needed")])

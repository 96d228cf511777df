"""What guest networks are made as: isolated, shared or a VPC tier, with a VLAN of their own choice or of an administrator's."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.networks import CreateNetworkOffering, DeleteNetworkOffering, NetworkOfferingRecord
from fleet_tui.backend.networks.physical import NAME, NAME_RULE
from fleet_tui.backend.networks.rows import NetworkOfferingRow, NetworkRow
from fleet_tui.backend.networks.states import GuestType
from fleet_tui.backend.store import new_id
from fleet_tui.backend.text import clean


def create_offering(tx: Session, request: CreateNetworkOffering, user: str) -> NetworkOfferingRow:
    """Raises InvalidInput with every field that is wrong."""
    problems = [] if NAME.match(request.name) else [Problem("name", NAME_RULE)]
    if tx.scalar(select(NetworkOfferingRow.id).where(NetworkOfferingRow.name == request.name)) is not None:
        problems.append(Problem("name", "there is a network offering of that name already"))
    if problems:
        raise InvalidInput(f"network offering {clean(request.name, 63)!r} was refused: name: {problems[0].message}", problems=problems)
    row = NetworkOfferingRow(
        id=new_id("no"), name=request.name, guest_type=request.guest_type.value, specify_vlan=request.specify_vlan, persistent=request.persistent,
    )
    tx.add(row)
    tx.flush()
    text = f"network offering {row.name} was created by {user}"
    append(tx, type="network-offering.created", ref=f"network-offering:{row.id}", text=text, user=user)
    return row


def delete_offering(tx: Session, request: DeleteNetworkOffering, user: str) -> str:
    """Raises InUse with the networks of it, ConfirmationRequired without its name."""
    row = find_offering(tx, request.target)
    used = list(tx.scalars(select(NetworkRow.name).where(NetworkRow.offering_id == row.id).order_by(NetworkRow.name)))
    if used:
        raise InUse(
            f"network offering {row.name} is used by {len(used)} network{'s'[: len(used) != 1]}: {', '.join(used[:10])}",
            hint="delete them first", users=used,
        )
    if request.confirm != row.name:
        raise ConfirmationRequired(f"deleting network offering {row.name} cannot be undone", hint=f"type its name: --confirm {row.name}")
    tx.delete(row)
    text = f"network offering {row.name} was deleted"
    append(tx, type="network-offering.deleted", ref=f"network-offering:{row.id}", text=text, user=user)
    return text


def find_offering(tx: Session, target: str) -> NetworkOfferingRow:
    bare = target.removeprefix("network-offering:")
    row = tx.scalar(select(NetworkOfferingRow).where((NetworkOfferingRow.id == bare) | (NetworkOfferingRow.name == bare)).limit(1))
    if row is None:
        raise NotFound(f"there is no network offering {clean(target, 100)!r}", hint="`fleet network-offering list` shows them")
    return row


def list_offerings(tx: Session, limit: int) -> tuple[NetworkOfferingRecord, ...]:
    used = dict(tx.execute(select(NetworkRow.offering_id, func.count()).group_by(NetworkRow.offering_id)).all())
    query = select(NetworkOfferingRow).order_by(NetworkOfferingRow.name).limit(limit)
    return tuple(offering_record(row, used.get(row.id, 0)) for row in tx.scalars(query))


def offering_record(row: NetworkOfferingRow, networks: int = 0) -> NetworkOfferingRecord:
    return NetworkOfferingRecord(row.id, row.name, GuestType(row.guest_type), row.specify_vlan, row.persistent, networks)

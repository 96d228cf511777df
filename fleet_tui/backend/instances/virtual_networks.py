"""The register of virtual networks: where instances run, how they are reached, and the HTTPS strategy (spec 6).

Nothing is made in the place itself. Whether it has what a virtual network names is asked of the provider (:func:`survey`), outside any
transaction, at save and by a check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates.keys import forget_accounts
from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts.rows import ZoneRow
from fleet_tui.backend.instances.fields import field_words
from fleet_tui.backend.instances.images import known_names
from fleet_tui.backend.instances.links import column_of, counts, linked_to, links, mark, refuse_linked, renamed
from fleet_tui.backend.instances.network_fields import BY_NAME, FIELDS, PLACE, PROOF_PORT, completed, defaults, problems_of, unreached
from fleet_tui.backend.instances.profiles import (
    CloneVirtualNetwork,
    CreateVirtualNetwork,
    DeleteVirtualNetwork,
    EditVirtualNetwork,
    NetworkFinding,
    VirtualNetworkRecord,
    VirtualNetworkSheet,
    waiting_words,
)
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.networks import rows as fabric
from fleet_tui.backend.providers import Placement, Providers, Surveyor
from fleet_tui.backend.store import new_id

_SURVEYED = frozenset({*PLACE, "security_groups", "dns_strategy", "private_zone_id", "public_zone_id"})
"""Fields that name something in the place."""
_OF_PROOFS = frozenset({"https_strategy", "internet_access"})
"""Fields by which it matters whether the place lets an ACME directory in."""


# --- reading -------------------------------------------------------------------------------------------------------


def list_networks(tx: Session, limit: int = 1000) -> tuple[VirtualNetworkRecord, ...]:
    linked = counts(tx, InstanceRow.network_id, "virtual_network")
    rows = tx.scalars(select(NetworkRow).order_by(NetworkRow.label).limit(limit))
    return tuple(_record(row, *linked.get(row.id, (0, 0))) for row in rows)


def show_network(tx: Session, target: str, providers: Providers) -> VirtualNetworkSheet:
    """Everything a form needs; with an empty target, a new one's."""
    choices = {
        "provider": tuple(provider.name for provider in providers.all()), "zone": ("", *tx.scalars(select(ZoneRow.name).order_by(ZoneRow.name))),
        "guest_network": ("", *tx.scalars(select(fabric.NetworkRow.name).order_by(fabric.NetworkRow.name))),
    }
    if not target:
        first = next(iter(choices["provider"]), "local")
        values = {**defaults(), "provider": first}
        return VirtualNetworkSheet(VirtualNetworkRecord("", "", first, values["https_strategy"], 0, 0, values), (), {}, choices)
    row = find_network(tx, target)
    linked = links(tx, row)
    why = f"fixed while instances are linked: {', '.join(instance.label for instance in linked[:3])}{' …' if len(linked) > 3 else ''}"
    return VirtualNetworkSheet(describe(tx, row), linked, dict.fromkeys(PLACE, why) if linked else {}, choices)


def describe(tx: Session, row: NetworkRow) -> VirtualNetworkRecord:
    """One virtual network as a record."""
    return _record(row, *counts(tx, InstanceRow.network_id, "virtual_network").get(row.id, (0, 0)))


def find_network(tx: Session, label: str) -> NetworkRow:
    """By label or id. Raises :class:`NotFound` with the labels there are."""
    row = tx.scalar(select(NetworkRow).where((NetworkRow.label == label) | (NetworkRow.id == label)))
    if row is None:
        raise NotFound(f"there is no virtual network {label!r}", hint=known_names("networks", tx.scalars(select(NetworkRow.label)).all()))
    return row


def ensure_network(tx: Session, label: str, provider: str, https_strategy: str) -> NetworkRow:
    row = tx.scalar(select(NetworkRow).where(NetworkRow.label == label))
    if row is None:
        row = NetworkRow(id=new_id("n"), label=label, provider=provider, https_strategy=https_strategy)
        tx.add(row)
        tx.flush()
    return row


def values_of(row: NetworkRow) -> dict[str, Any]:
    """By field."""
    return {field.name: getattr(row, column_of(field.name)) for field in FIELDS}


def placement_of(values: Mapping[str, Any]) -> Placement:
    """What a virtual network of these values names, for the provider that runs its instances."""
    groups, has_names = values["security_groups"], values["dns_strategy"] == "cloud_dns"
    return Placement(
        zone=values["zone"], guest_network=values["guest_network"], region=values["region"], vpc_id=values["vpc_id"], subnet_id=values["subnet_id"],
        second_subnet_id=values["second_subnet_id"], security_groups=() if groups == ["auto"] else tuple(groups),
        internet_access=values["internet_access"], assign_public_ip=values["assign_public_ip"] and values["internet_access"] != "no",
        private_zone_id=values["private_zone_id"] if has_names else "", public_zone_id=values["public_zone_id"] if has_names else "",
        public_ports=(PROOF_PORT,) if values["https_strategy"] == "letsencrypt" else (),
    )


# --- the place itself ----------------------------------------------------------------------------------------------


def survey(providers: Providers, values: Mapping[str, Any]) -> tuple[NetworkFinding, ...]:
    """What the provider finds amiss in the place, where it can tell, and what keeps certificates away. Calls outside, so never within a transaction.

    Raises:
        NotFound: the site has no such provider.
        Unreachable, AuthFailed, PermissionDenied: the provider could not look.
    """
    provider = providers.named(values["provider"])
    why = unreached(values["https_strategy"], values["internet_access"])
    amiss = provider.survey(placement_of(values)) if isinstance(provider, Surveyor) else ()
    return (
        *(NetworkFinding(one.field, one.text, one.is_error) for one in amiss),
        *((NetworkFinding("internet_access", why, False),) if why else ()),
    )


# --- changing ------------------------------------------------------------------------------------------------------


def new_values(tx: Session, request: CreateVirtualNetwork, providers: Providers) -> dict[str, Any]:
    """Values of a new one. Raises :class:`InvalidInput` with everything wrong that can be seen from here, at once."""
    values, problems = problems_of(completed({**request.values, "label": request.label}))
    return _accepted(tx, values, problems, providers, f"virtual network {request.label[:63]!r} cannot be saved")


def create_network(tx: Session, request: CreateVirtualNetwork, providers: Providers, findings: Sequence[NetworkFinding], now: datetime) -> NetworkRow:
    """Save one whose place was surveyed. Raises :class:`InvalidInput` where that found an error."""
    values = new_values(tx, request, providers)
    _refuse_amiss(f"virtual network {values['label']} cannot be saved", findings)
    row = NetworkRow(id=new_id("n"), version=1, checked_at=now, findings=[asdict(found) for found in findings])
    _put(row, values)
    tx.add(row)
    _flush(tx, row.label)
    append(tx, type="virtual-network.created", ref=f"virtual-network:{row.id}", text=f"virtual network {row.label} saved")
    return row


def edited_values(tx: Session, request: EditVirtualNetwork, providers: Providers) -> tuple[dict[str, Any], bool]:
    """Values after an edit, and whether the place is to be surveyed because of it.

    Raises:
        WrongState: saved by somebody else meanwhile; details ``fields`` give theirs and yours for what differs.
        InUse: the place would change under instances that are linked.
        InvalidInput: everything wrong at once.
    """
    row = find_network(tx, request.target)
    before = values_of(row)
    if request.version != row.version:
        raise WrongState(
            f"virtual network {row.label} was saved by somebody else meanwhile (version {row.version}, yours was {request.version})",
            hint="look at what differs, then save again", version=row.version,
            fields={name: {"theirs": before.get(name), "yours": yours} for name, yours in request.changes.items() if before.get(name) != yours},
        )
    values, problems = problems_of({**before, **_following(before, request.changes)})
    changed = {name for name in values if values[name] != before.get(name)}
    if moved := [name for name in PLACE if name in changed]:
        titles = ", ".join(BY_NAME[name].title for name in moved)
        refuse_linked(tx, row, f"{titles} of virtual network {row.label} cannot be changed", "make another virtual network, or delete the instances")
    _accepted(tx, values, problems, providers, f"virtual network {row.label} was not saved", row.id)
    proves = "letsencrypt" in (values["https_strategy"], before["https_strategy"])
    return values, bool(changed & (_SURVEYED | _OF_PROOFS if proves else _SURVEYED))


def edit_network(
    tx: Session, request: EditVirtualNetwork, providers: Providers, findings: Sequence[NetworkFinding] | None, now: datetime
) -> NetworkRow:
    """Save an edit; linked instances that run wait for a reprovision from then on. ``findings`` of a survey, if one was needed."""
    locked = find_network(tx, request.target)
    tx.refresh(locked, with_for_update=True)
    values, is_surveyed = edited_values(tx, request, providers)
    before = values_of(locked)
    if findings is not None and is_surveyed:
        _refuse_amiss(f"virtual network {locked.label} was not saved", findings)
        locked.checked_at, locked.findings = now, [asdict(found) for found in findings]
    if values == before:
        return locked
    _put(locked, values)
    locked.version += 1
    _flush(tx, locked.label)
    if locked.label != before["label"]:
        renamed(tx, locked, before["label"])
    mark(tx, linked_to(tx, locked))
    tx.flush()
    waiting = counts(tx, InstanceRow.network_id, "virtual_network").get(locked.id, (0, 0))[1]
    words = f"virtual network {locked.label} saved{waiting_words(waiting)}"
    append(tx, type="virtual-network.changed", ref=f"virtual-network:{locked.id}", text=words)
    return locked


def clone_network(tx: Session, request: CloneVirtualNetwork) -> NetworkRow:
    """Another of the same content, without the instances."""
    origin = find_network(tx, request.target)
    values, problems = problems_of({**values_of(origin), "label": request.label})
    problems += _taken(tx, values.get("label", ""))
    if problems:
        raise InvalidInput(field_words(f"virtual network {origin.label} was not cloned", problems, BY_NAME), problems=problems)
    row = NetworkRow(id=new_id("n"), version=1, checked_at=origin.checked_at, findings=origin.findings)
    _put(row, values)
    tx.add(row)
    _flush(tx, row.label)
    words = f"virtual network {row.label} made as a clone of {origin.label}"
    append(tx, type="virtual-network.created", ref=f"virtual-network:{row.id}", text=words)
    return row


def delete_network(tx: Session, request: DeleteVirtualNetwork) -> str:
    """Raises :class:`InUse` naming the instances that are linked."""
    row = find_network(tx, request.target)
    refuse_linked(tx, row, f"virtual network {row.label} cannot be deleted", "delete those instances first")
    if request.confirm != row.label:
        raise ConfirmationRequired(f"deleting virtual network {row.label} cannot be undone", hint=f"type its label: --confirm {row.label!r}")
    label = row.label
    forget_accounts(tx, row.id)
    tx.delete(row)
    try:
        tx.flush()
    except IntegrityError as error:
        raise InUse(f"virtual network {label} cannot be deleted: an instance was linked to it this moment", hint="look at its instances") from error
    append(tx, type="virtual-network.deleted", ref=f"virtual-network:{row.id}", text=f"virtual network {label} deleted")
    return f"virtual network {label} deleted"


def note_findings(tx: Session, target: str, findings: Sequence[NetworkFinding], now: datetime) -> NetworkRow:
    """Keep what a check found; told where that is news."""
    row = find_network(tx, target)
    found = [asdict(finding) for finding in findings]
    is_news, row.checked_at, row.findings = found != row.findings, now, found
    text = ""
    if is_news:
        words = "; ".join(finding.text for finding in findings[:3]) or "nothing amiss"
        text = f"virtual network {row.label}: {words}"
    level = "warn" if is_news and findings else "info"
    append(tx, type="virtual-network.checked", ref=f"virtual-network:{row.id}", text=text, level=level)
    return row


# --- parts ---------------------------------------------------------------------------------------------------------


def _following(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes with those that follow from them where they were not said."""
    found = dict(changes)
    if found.get("https_strategy") == "letsencrypt" != before["https_strategy"]:
        found.setdefault("http_mode", "redirect")
    if found.get("dns_strategy") == "none":
        found = {"private_zone_id": "", "public_zone_id": "", **found}
    return found


def _accepted(tx: Session, values: dict[str, Any], problems: list[Problem], providers: Providers, deed: str, but: str = "") -> dict[str, Any]:
    """The values, when nothing on the site stands against them either. Raises :class:`InvalidInput` with everything at once."""
    known = [provider.name for provider in providers.all()]
    provider = values.get("provider", "")
    if provider not in known and not any(problem.field == "provider" for problem in problems):
        problems.append(Problem("provider", f"this site has no provider {provider!r}; there are {', '.join(known)}"))
    problems += _taken(tx, values.get("label", ""), but)
    if problems:
        raise InvalidInput(field_words(deed, problems, BY_NAME), problems=problems)
    return values


def _refuse_amiss(deed: str, findings: Sequence[NetworkFinding]) -> None:
    if problems := [Problem(found.field, found.text) for found in findings if found.is_error]:
        raise InvalidInput(field_words(deed, problems, BY_NAME), problems=problems)


def _taken(tx: Session, label: str, but: str = "") -> list[Problem]:
    found = tx.scalar(select(NetworkRow.id).where(func.lower(NetworkRow.label) == label.lower(), NetworkRow.id != but))
    return [Problem("label", f"{label!r} is taken by another virtual network")] if found else []


def _put(row: NetworkRow, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, column_of(name), value)


def _flush(tx: Session, label: str) -> None:
    try:
        tx.flush()
    except IntegrityError as error:
        complaint = f"{label!r} was taken this moment"
        raise InvalidInput(complaint, problems=[Problem("label", complaint)]) from error


def _place(row: NetworkRow) -> str:
    """Where it is, in a few words."""
    if row.zone or row.guest_network:
        return f"{row.zone}/{row.guest_network}"
    return " ".join(part for part in (row.region, "/".join(word for word in (row.vpc_id, row.subnet_id) if word)) if part)


def _record(row: NetworkRow, instances: int = 0, waiting: int = 0) -> VirtualNetworkRecord:
    return VirtualNetworkRecord(
        id=row.id, label=row.label, provider=row.provider, https_strategy=row.https_strategy, instances=instances, version=row.version,
        values=values_of(row), place=_place(row), waiting=waiting, checked_at=row.checked_at,
        findings=tuple(NetworkFinding(**found) for found in row.findings),
    )

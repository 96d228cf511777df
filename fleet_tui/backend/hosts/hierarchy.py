"""Zones, pods and clusters: made, found, enabled, disabled and deleted, by the rules of spec 7.2.

What a person calls a branch is its name, its id or ref, or its path (``zone/pod/cluster``), which is needed where a name stands twice.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import CreateCluster, CreatePod, CreateZone, DeleteBranch, SetAllocation, transitions
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PodRow, ZoneRow
from fleet_tui.backend.hosts.states import Allocation, HostEvent
from fleet_tui.backend.store import new_id

HYPERVISORS = ("kvm", "xenserver", "vsphere", "lxc")
ARCHITECTURES = ("x86_64", "aarch64", "ppc64le", "s390x", "riscv64")
NO_HYPERVISOR = "none"
"""Of the cluster of the machine a site itself runs on."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_NAME_RULE = "use 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit"
_PRIVATE = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_SHOWN = 10
"""Contents named when a branch is not empty; the rest is counted."""

BranchRow = ZoneRow | PodRow | ClusterRow
Row = TypeVar("Row", ZoneRow, PodRow, ClusterRow, HostRow)


# --- making ----------------------------------------------------------------------------------------------------------


def create_zone(tx: Session, request: CreateZone) -> ZoneRow:
    """Save a new zone, disabled; the same ``request_id`` finds the one it made before.

    Raises:
        InvalidInput: with every field at fault.
    """
    identity = _identity("z", request.request_id)
    if (known := tx.get(ZoneRow, identity)) is not None:
        return known
    problems = _name_problems(request.name)
    if tx.scalar(select(ZoneRow.id).where(ZoneRow.name == request.name)):
        problems.append(Problem("name", f"there is a zone {request.name} already"))
    if request.network_type not in ("basic", "advanced"):
        problems.append(Problem("network_type", "must be basic or advanced"))
    if len(request.dns) > 3:
        problems.append(Problem("dns", "at most three: two public ones and an internal one"))
    problems += [Problem("dns", f"{text!r} is not an IP address") for text in request.dns if _address(text) is None]
    warning = ""
    if request.guest_cidr:
        network = _network(request.guest_cidr)
        if network is None:
            problems.append(Problem("guest_cidr", "must be a network such as 10.1.0.0/16, without host bits"))
        elif not any(network.subnet_of(private) for private in _PRIVATE):
            warning = f"; its guest network {network} is not a private one (RFC 1918)"
    _refuse(f"zone {request.name!r}", problems)
    row = ZoneRow(id=identity, name=request.name, network_type=request.network_type, dns=list(request.dns), guest_cidr=request.guest_cidr)
    return _save(tx, row, "zone", warning)


def create_pod(tx: Session, request: CreatePod) -> PodRow:
    """Save a new pod, disabled. Its management range is given whole or not at all, and overlaps no other of its zone."""
    identity = _identity("p", request.request_id)
    if (known := tx.get(PodRow, identity)) is not None:
        return known
    zone = find_zone(tx, request.zone)
    problems = _name_problems(request.name)
    others = tx.scalars(select(PodRow).where(PodRow.zone_id == zone.id)).all()
    if any(other.name == request.name for other in others):
        problems.append(Problem("name", f"zone {zone.name} has a pod {request.name} already"))
    problems += _range_problems(request, others)
    _refuse(f"pod {request.name!r}", problems)
    row = PodRow(
        id=identity, name=request.name, zone_id=zone.id, gateway=request.gateway, netmask=request.netmask, start_ip=request.start_ip,
        end_ip=request.end_ip,
    )
    return _save(tx, row, "pod")


def create_cluster(tx: Session, request: CreateCluster) -> ClusterRow:
    """Save a new cluster, disabled, with the global ratios. Its pod must stand in the zone that is named with it (HST-6)."""
    identity = _identity("c", request.request_id)
    if (known := tx.get(ClusterRow, identity)) is not None:
        return known
    problems = _name_problems(request.name)
    if not request.pod:
        problems.append(Problem("pod", "is needed"))
    if request.hypervisor not in HYPERVISORS:
        problems.append(Problem("hypervisor", f"must be one of {', '.join(HYPERVISORS)}"))
    if request.arch not in ARCHITECTURES:
        problems.append(Problem("arch", f"must be one of {', '.join(ARCHITECTURES)}"))
    if request.dedicated_account and not _NAME.match(request.dedicated_account):
        problems.append(Problem("dedicated_account", _NAME_RULE))
    _refuse(f"cluster {request.name!r}", problems)
    pod = find_pod(tx, request.pod, request.zone)
    if tx.scalar(select(ClusterRow.id).where(ClusterRow.pod_id == pod.id, ClusterRow.name == request.name)):
        _refuse(f"cluster {request.name!r}", [Problem("name", f"pod {pod.name} has a cluster {request.name} already")])
    row = ClusterRow(
        id=identity, name=request.name, pod_id=pod.id, hypervisor=request.hypervisor, arch=request.arch,
        dedicated_account=request.dedicated_account,
    )
    return _save(tx, row, "cluster")


def _save(tx: Session, row: Row, kind: str, warning: str = "") -> Row:
    tx.add(row)
    try:
        tx.flush()
    except IntegrityError:  # on PostgreSQL somebody else was faster between our look and now
        raise InvalidInput(f"there is a {kind} {row.name} already", problems=[Problem("name", "is taken")]) from None
    append(
        tx, type=f"{kind}.created", ref=f"{kind}:{row.id}", level="warn" if warning else "info",
        text=f"{kind} {row.name} made, disabled until it is enabled{warning}",
    )
    return row


# --- finding ---------------------------------------------------------------------------------------------------------


def find_zone(tx: Session, target: str) -> ZoneRow:
    return _only(tx.scalars(select(ZoneRow).where((ZoneRow.id == _bare(target, "zone")) | (ZoneRow.name == target))), "zone", target)


def find_pod(tx: Session, target: str, zone: str = "") -> PodRow:
    """The pod of that name, id, ref or path (``zone/pod``).

    Raises:
        NotFound: there is none.
        InvalidInput: several have that name, or it stands in another zone than the one named.
    """
    inside, _, name = target.rpartition("/")
    query = select(PodRow).where((PodRow.id == _bare(name, "pod")) | (PodRow.name == name))
    for place in filter(None, (inside, zone)):
        parent = find_zone(tx, place)
        found = tx.scalars(query.where(PodRow.zone_id == parent.id)).all()
        if not found and tx.scalars(query).first() is not None:
            complaint = f"pod {name} does not stand in zone {parent.name}"
            raise InvalidInput(complaint, problems=[Problem("pod", complaint)])
        query = query.where(PodRow.zone_id == parent.id)
    return _only(tx.scalars(query), "pod", target)


def find_cluster(tx: Session, target: str) -> ClusterRow:
    """The cluster of that name, id, ref or path (``zone/pod/cluster`` or ``pod/cluster``)."""
    inside, _, name = target.rpartition("/")
    query = select(ClusterRow).where((ClusterRow.id == _bare(name, "cluster")) | (ClusterRow.name == name))
    if inside:
        query = query.where(ClusterRow.pod_id == find_pod(tx, inside).id)
    return _only(tx.scalars(query), "cluster", target)


def find_host(tx: Session, target: str) -> HostRow:
    """The host of that name, id, ref or address."""
    name = _bare(target, "host")
    query = select(HostRow).where((HostRow.id == name) | (HostRow.name == target))
    return _only(tx.scalars(query).all() or tx.scalars(select(HostRow).where(HostRow.address == target)), "host", target)


def branches_of(tx: Session, host: HostRow) -> tuple[ClusterRow, PodRow, ZoneRow]:
    """What a host stands in, from near to far."""
    query = select(ClusterRow, PodRow, ZoneRow).join(PodRow, ClusterRow.pod_id == PodRow.id).join(ZoneRow, PodRow.zone_id == ZoneRow.id)
    cluster, pod, zone = tx.execute(query.where(ClusterRow.id == host.cluster_id)).one()
    return cluster, pod, zone


def _only(found: Iterable[Row], kind: str, target: str) -> Row:
    rows = list(found)
    if not rows:
        raise NotFound(f"there is no {kind} {target!r}", hint=f"`fleet {kind} list` shows the {kind}s there are")
    if len(rows) > 1:
        path = {"pod": "zone/pod", "cluster": "zone/pod/cluster"}.get(kind, "id")
        raise InvalidInput(f"several {kind}s are called {target!r}", hint=f"name it as {path}, or by its id: {', '.join(r.id for r in rows)}")
    return rows[0]


def _bare(target: str, kind: str) -> str:
    return target.removeprefix(f"{kind}:")


# --- enabling and disabling ------------------------------------------------------------------------------------------


def set_allocation(tx: Session, request: SetAllocation, user: str, now: datetime) -> str:
    """Enable or disable a branch or a host; says what that does. Running VMs are not touched (HST-2). Again changes nothing.

    Raises:
        WrongState: a host whose resource state does not allow it.
    """
    word = "enabled" if request.enabled else "disabled"
    if request.kind == "host":
        host = transitions.lock(tx, find_host(tx, request.target).id)
        before = host.resource_state
        event = HostEvent.ENABLE if request.enabled else HostEvent.DISABLE
        if (refused := transitions.refusal(host, event)) is not None:
            raise refused
        if before == (Allocation.ENABLED if request.enabled else Allocation.DISABLED).value:
            return f"host {host.name} is {word} already"
        text = f"host {host.name} {word}"
        transitions.move(tx, host, event, now, text=text, user=user)
        return f"{text}{'' if request.enabled else '; its VMs go on, and no new one is put there'}"
    row = find_branch(tx, request.kind, request.target)
    wanted = (Allocation.ENABLED if request.enabled else Allocation.DISABLED).value
    if row.allocation == wanted:
        return f"{request.kind} {row.name} is {word} already"
    row.allocation = wanted
    text = f"{request.kind} {row.name} {word}"
    append(tx, type=f"{request.kind}.changed", ref=f"{request.kind}:{row.id}", text=text, user=user)
    if not request.enabled:
        return f"{text}; what runs below it goes on, and nothing new is put there"
    above = [branch for branch in _above(tx, row) if branch[2] == Allocation.DISABLED.value]
    return text + "".join(f"; {kind} {name} above it is still disabled" for kind, name, _ in above)


def find_branch(tx: Session, kind: str, target: str) -> BranchRow:
    if kind == "zone":
        return find_zone(tx, target)
    if kind == "pod":
        return find_pod(tx, target)
    if kind == "cluster":
        return find_cluster(tx, target)
    raise InvalidInput(f"there is no branch of kind {kind!r}", problems=[Problem("kind", "must be zone, pod, cluster or host")])


def _above(tx: Session, row: BranchRow) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if isinstance(row, ClusterRow):
        row = tx.get_one(PodRow, row.pod_id)
        found.append(("pod", row.name, row.allocation))
    if isinstance(row, PodRow):
        zone = tx.get_one(ZoneRow, row.zone_id)
        found.append(("zone", zone.name, zone.allocation))
    return found


# --- deleting --------------------------------------------------------------------------------------------------------


def delete_branch(tx: Session, request: DeleteBranch, user: str) -> str:
    """Delete an empty zone, pod or cluster.

    Raises:
        InUse: it is not empty (HST-4); details ``users`` name what is in it.
        ConfirmationRequired: its name was not typed.
    """
    row = find_branch(tx, request.kind, request.target)
    kind, contents = _contents(tx, row)
    if contents:
        listed = ", ".join(contents[:_SHOWN]) + (f" and {len(contents) - _SHOWN} more" if len(contents) > _SHOWN else "")
        raise InUse(
            f"{request.kind} {row.name} is not empty: {kind}{'s' if len(contents) > 1 else ''} {listed}",
            hint=f"remove what is in it first: its {kind}s", users=list(contents),
        )
    if request.confirm != row.name:
        raise ConfirmationRequired(f"deleting {request.kind} {row.name} cannot be undone", hint=f"type its name: --confirm {shlex.quote(row.name)}")
    name, ref = row.name, f"{request.kind}:{row.id}"
    tx.delete(row)
    try:
        tx.flush()
    except IntegrityError:  # rows of slices above this one name it
        raise InUse(
            f"{request.kind} {name} still has VMs, networks, or data disks of instances on record", hint="remove those first", users=[]
        ) from None
    text = f"{request.kind} {name} deleted"
    append(tx, type=f"{request.kind}.deleted", ref=ref, text=text, user=user)
    return text


def _contents(tx: Session, row: BranchRow) -> tuple[str, Sequence[str]]:
    if isinstance(row, ZoneRow):
        return "pod", tx.scalars(select(PodRow.name).where(PodRow.zone_id == row.id).order_by(PodRow.name)).all()
    if isinstance(row, PodRow):
        return "cluster", tx.scalars(select(ClusterRow.name).where(ClusterRow.pod_id == row.id).order_by(ClusterRow.name)).all()
    return "host", tx.scalars(select(HostRow.name).where(HostRow.cluster_id == row.id).order_by(HostRow.name)).all()


# --- rules of fields -------------------------------------------------------------------------------------------------


def _identity(prefix: str, request_id: str) -> str:
    """Follows from the request, so that asking twice finds what the first one made."""
    return f"{prefix}-{hashlib.sha256(request_id.encode()).hexdigest()[:12]}" if request_id else new_id(prefix)


def _name_problems(name: str) -> list[Problem]:
    return [] if _NAME.match(name) else [Problem("name", _NAME_RULE)]


def _refuse(what: str, problems: Sequence[Problem]) -> None:
    if problems:
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        raise InvalidInput(f"{what} cannot be made: {listed}", problems=list(problems))


def _address(text: str) -> Any:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> IPv4Network | None:
    try:
        found = ip_network(text)
    except ValueError:
        return None
    return found if isinstance(found, IPv4Network) and "/" in text else None


def _range_problems(request: CreatePod, others: Sequence[PodRow]) -> list[Problem]:
    """Range inside the subnet, without its gateway, apart from the other pods' of the zone."""
    given = {name: getattr(request, name) for name in ("gateway", "netmask", "start_ip", "end_ip")}
    if not any(given.values()):
        return []
    problems = [Problem(name, "is needed with the other three") for name, text in given.items() if not text]
    addresses = {name: _address(given[name]) for name in ("gateway", "start_ip", "end_ip") if given[name]}
    problems += [Problem(name, "must be an IPv4 address") for name, found in addresses.items() if not isinstance(found, IPv4Address)]
    try:
        subnet = IPv4Network(f"{given['gateway']}/{given['netmask']}", strict=False)
    except ValueError:
        return problems or [Problem("netmask", "must be a netmask such as 255.255.255.0")]
    if problems:
        return problems
    gateway, start, end = addresses["gateway"], addresses["start_ip"], addresses["end_ip"]
    own = {subnet.network_address, subnet.broadcast_address} if subnet.prefixlen < 31 else set()
    problems += [Problem(name, f"{found} does not lie in {subnet}") for name, found in addresses.items() if found not in subnet]
    problems += [Problem(name, f"{found} is the subnet's own address") for name, found in addresses.items() if found in own]
    if start > end:
        problems.append(Problem("end_ip", "comes before start_ip"))
    elif start <= gateway <= end:
        problems.append(Problem("start_ip", f"the range holds the gateway {gateway}"))
    for other in others:
        if other.start_ip and start <= IPv4Address(other.end_ip) and end >= IPv4Address(other.start_ip):
            problems.append(Problem("start_ip", f"overlaps the range of pod {other.name}, {other.start_ip} to {other.end_ip}"))
    return problems


"""A simulated site's networks: fabrics of each zone, their IDs in every state that a map can show, guest networks, and who is plugged in where."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.machines.states import ON_HOST
from fleet_tui.backend.networks import wires
from fleet_tui.backend.networks.rows import (
    DedicationRow,
    InterfaceRow,
    NetworkOfferingRow,
    NetworkRow,
    NicRow,
    PhysicalNetworkRow,
    VlanRangeRow,
    VlanRow,
)
from fleet_tui.backend.networks.states import TEMPLATE, DriftKind, GuestType, Isolation, Technique
from fleet_tui.backend.simulation.blueprint import HostPlan, identity
from fleet_tui.backend.simulation.rows import insert_rows
from fleet_tui.backend.simulation.vm_plans import ClusterPlan, VmPlan

CARD = "eth1"
"""Of every simulated host, the one that carries guests."""
_LABELS = {"kvm": CARD, "xenserver": CARD, "vsphere": CARD}
_ACCOUNTS = ("shop", "finance", "platform", "research", "")
_WORDS = ("front", "back", "db", "build", "mail", "voice", "dmz", "test", "batch", "vpn")
_OFFERINGS: tuple[tuple[str, GuestType, bool, bool], ...] = (
    ("isolated", GuestType.ISOLATED, False, False), ("isolated-kept", GuestType.ISOLATED, False, True),
    ("isolated-assigned", GuestType.ISOLATED, True, False), ("shared", GuestType.SHARED, True, True), ("vpc-tier", GuestType.VPC_TIER, False, False),
)
"""(name, type, VLAN specified by an administrator, never shut down)."""
_DEDICATED: tuple[tuple[int, int, str, str], ...] = ((640, 659, "account", "shop"), (740, 747, "project", "lab"), (820, 829, "account", "finance"))
_LEFT = 9
"""IDs of the first zone's pool that are still free: somebody should extend it."""
_ORPHAN, _CONFLICT = 612, 777
_KEEPS = "vsphere"
"""Its hosts have the segments of their whole cluster."""


@dataclass(slots=True)
class Net:
    """One guest network."""

    id: str
    name: str
    fabric: str
    isolation: Isolation
    owner: str
    offering: str
    state: str
    number: int | None
    cidr: str
    vms: list[VmPlan] = field(default_factory=list)


@dataclass(slots=True)
class Cabling:
    """What the world of fake hypervisors is to have of it: interfaces by host id, cards by VM id."""

    interfaces: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    cards: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def lay(tx: Session, clusters: Sequence[ClusterPlan], vms: Sequence[VmPlan], now: datetime, seed: int) -> Cabling:
    """Enter everything; hosts, VMs and zones must be there. Says what the world needs to tell the same story."""
    rng, laid = random.Random(f"networks:{seed}"), Cabling()
    insert_rows(tx, NetworkOfferingRow, [
        {"id": f"no-{name}", "name": name, "guest_type": kind.value, "specify_vlan": specify, "persistent": kept}
        for name, kind, specify, kept in _OFFERINGS
    ])
    for turn, zone in enumerate(sorted({cluster.zone for cluster in clusters})):
        mine = [vm for vm in vms if vm.host.zone == zone and vm.kind == "guest"]
        _lay_zone(tx, zone, turn, mine, [host for cluster in clusters if cluster.zone == zone for host in cluster.hosts], laid, now, rng)
    return laid


def _lay_zone(tx: Session, zone: str, turn: int, vms: list[VmPlan], hosts: list[HostPlan], laid: Cabling, now: datetime, rng: random.Random) -> None:
    letter = zone.rpartition("-")[2]
    guest, overlay, store = f"pn-guest-{letter}", f"pn-overlay-{letter}", f"pn-store-{letter}"
    checked = now - timedelta(minutes=4)
    insert_rows(tx, PhysicalNetworkRow, [
        _fabric(guest, f"guest-{letter}", zone, Isolation.VLAN, "Enabled", _LABELS, checked),
        _fabric(overlay, f"overlay-{letter}", zone, Isolation.VXLAN, "Enabled", _LABELS, checked),
        _fabric(store, f"storage-{letter}", zone, Isolation.VLAN, "Disabled", {"kvm": "eth2"}, None),
    ])
    insert_rows(tx, VlanRangeRow, [
        *({"physical_id": guest, "first": first, "last": min(last, 1099), "scope": scope.value} for first, last, scope in TEMPLATE),
        {"physical_id": overlay, "first": 1, "last": 16_777_214, "scope": "guest-pool"},
        {"physical_id": store, "first": 600, "last": 663, "scope": "guest-pool"},
    ])
    insert_rows(tx, DedicationRow, [
        {"id": f"vd-{letter}-{first}", "physical_id": guest, "first": first, "last": last, "owner_kind": kind, "owner": owner}
        for first, last, kind, owner in _DEDICATED
    ])
    nets = [*_pool(guest, letter, turn, vms, rng), *_overlay(overlay, letter, turn, vms, rng), *_named(guest, letter, turn)]
    for net in nets:
        if net.vms and net.offering == "isolated-kept" and any(vm.state in ON_HOST for vm in net.vms):
            net.offering = "isolated"
    insert_rows(tx, NetworkRow, [_network(net, now, rng) for net in nets])
    space = {guest: guest, overlay: f"z-{zone}"}
    insert_rows(tx, VlanRow, [
        {"space": space[net.fabric], "number": net.number, "physical_id": net.fabric, "network_id": net.id, "specified": net.state == "Setup",
         "owner_kind": "account" if net.owner else "", "owner": net.owner, "reservation": f"rv-{net.id}",
         "since": now - timedelta(days=rng.uniform(0.1, 200))}
        for net in nets if net.number is not None
    ])
    if turn == 0:
        insert_rows(tx, VlanRow, [{
            "space": guest, "number": _ORPHAN, "physical_id": guest, "network_id": None, "specified": False, "owner_kind": "account",
            "owner": "research", "reservation": "rv-lost", "since": now - timedelta(days=61),
        }])
    _plug(tx, nets, hosts, laid, checked, rng, spoil=turn == 0)


def _fabric(id_: str, name: str, zone: str, isolation: Isolation, state: str, labels: dict[str, str], checked: datetime | None) -> dict[str, Any]:
    return {
        "id": id_, "name": name, "zone_id": f"z-{zone}", "isolation": isolation.value, "state": state, "nic_labels": labels, "checked_at": checked,
        "version": 1,
    }


# --- networks --------------------------------------------------------------------------------------------------------


def _pool(fabric: str, letter: str, turn: int, vms: list[VmPlan], rng: random.Random) -> list[Net]:
    """Of the first zone nearly as many as there are IDs, of the others about one for two VMs; and some that never were up."""
    own = [number for first, last, _, owner in _DEDICATED if owner == "shop" for number in range(first, last + 1)]
    kept = {number for first, last, *_ in _DEDICATED for number in range(first, last + 1)} | {_ORPHAN, _CONFLICT}
    free = sorted(set(range(600, 800)) - kept)
    rng.shuffle(free)
    left = _LEFT if turn == 0 and len(vms) >= 60 else max(_LEFT, len(free) - max(2, len(vms) // 3))
    nets: list[Net] = []
    while len(free) > left:
        owner = _ACCOUNTS[len(nets) % len(_ACCOUNTS)]
        number = own.pop(0) if owner == "shop" and len(own) > 5 else free.pop()
        nets.append(_net(fabric, letter, turn, Isolation.VLAN, owner, len(nets), "isolated-kept", "Implemented", number))
    busy: dict[str, list[Net]] = {}
    for net in nets:
        busy.setdefault(net.owner, []).append(net)
    for vm in vms:
        choice = busy.get(vm.account) or busy.get("", nets)
        some = choice[:max(1, sum(other.account == vm.account for other in vms) // 2)]
        for net in rng.sample(some, min(len(some), rng.choice((1, 1, 1, 1, 2)))):
            net.vms.append(vm)
    waiting = [_net(fabric, letter, turn, Isolation.VLAN, _ACCOUNTS[n % 5], 200 + n, "vpc-tier", "Allocated", None) for n in range(6)]
    return [*nets, *waiting]


def _overlay(fabric: str, letter: str, turn: int, vms: list[VmPlan], rng: random.Random) -> list[Net]:
    """A few, wherever chance put them among sixteen million."""
    numbers = rng.sample(range(1, 16_777_215), 40)
    nets = [_net(fabric, letter, turn, Isolation.VXLAN, _ACCOUNTS[n % 5], 300 + n, "isolated-kept", "Implemented", numbers[n]) for n in range(40)]
    for vm in rng.sample(vms, min(len(vms), 12)):
        rng.choice([net for net in nets if net.owner == vm.account]).vms.append(vm)
    return nets


def _named(fabric: str, letter: str, turn: int) -> Iterator[Net]:
    """With VLANs that an administrator chose: some for an account, some for everybody."""
    for n, number in enumerate((801, 802, 805, 821, 822, 840, 871)):
        owner = "finance" if 820 <= number <= 829 else _ACCOUNTS[n % 4]
        yield _net(fabric, letter, turn, Isolation.VLAN, owner, 400 + n, "isolated-assigned", "Setup", number)
    for n, number in enumerate((900, 901, 950)):
        yield _net(fabric, letter, turn, Isolation.VLAN, "", 500 + n, "shared", "Setup", number)


def _net(fabric: str, letter: str, turn: int, isolation: Isolation, owner: str, n: int, offering: str, state: str, number: int | None) -> Net:
    name = f"{owner or 'common'}-{_WORDS[n // len(_ACCOUNTS) % len(_WORDS)]}-{letter}{n}"
    return Net(f"gn-{letter}{n}", name, fabric, isolation, owner, offering, state, number, f"10.{100 + turn * 3 + n // 256}.{n % 256}.0/24")


def _network(net: Net, now: datetime, rng: random.Random) -> dict[str, Any]:
    made = now - timedelta(days=rng.uniform(1, 400))
    return {
        "id": net.id, "name": net.name, "offering_id": f"no-{net.offering}", "physical_id": net.fabric, "state": net.state, "cidr": net.cidr,
        "gateway": net.cidr.replace(".0/24", ".1"), "owner_kind": "account" if net.owner else "", "owner": net.owner,
        "reservation": f"rv-{net.id}" if net.number is not None else "", "unused_since": None, "error": "", "version": 1, "created_at": made,
        "updated_at": made,
    }


# --- hosts and VMs ---------------------------------------------------------------------------------------------------


def _plug(tx: Session, nets: list[Net], hosts: list[HostPlan], laid: Cabling, checked: datetime, rng: random.Random, *, spoil: bool) -> None:
    """Cards of VMs, and interfaces on the hosts where they run."""
    cards: list[dict[str, Any]] = []
    devices: dict[str, int] = {}
    needed: dict[tuple[str, str, int], Net] = {}
    for net in nets:
        for vm in net.vms:
            device = devices[vm.id] = devices.get(vm.id, -1) + 1
            mac = ":".join(f"{byte:02x}" for byte in (2, *rng.randbytes(5)))
            cards.append({"id": identity(rng, "nic"), "vm_id": vm.id, "network_id": net.id, "mac": mac, "device": device})
            assert net.number is not None
            bridge = wires.bridge(net.isolation, CARD, net.number)
            laid.cards.setdefault(vm.id, []).append({"mac": mac, "bridge": bridge, "ovs": False, "tag": 0, "port": ""})
            if vm.state in ON_HOST:
                for host in hosts:
                    if host is vm.host or (host.hypervisor == _KEEPS and host.cluster == vm.cluster):
                        needed[host.id, net.fabric, net.number] = net
    insert_rows(tx, NicRow, cards)
    rows = [_interface(host_id, fabric, number, net.isolation, checked) for (host_id, fabric, number), net in sorted(needed.items(), key=str)]
    if spoil and rows:
        rows += _spoil(rows, nets, hosts, checked)
    insert_rows(tx, InterfaceRow, rows)
    for row in rows:
        if row["present"]:
            isolation = Isolation.VXLAN if row["technique"] == Technique.VXLAN.value else Isolation.VLAN
            laid.interfaces.setdefault(row["host_id"], []).append({
                "isolation": isolation.value, "label": CARD, "number": row["number"], "technique": row["technique"], "device": row["device"],
                "bridge": row["bridge"], "out": [],
            })


def _interface(host_id: str, fabric: str, number: int, isolation: Isolation, checked: datetime, **problem: Any) -> dict[str, Any]:
    technique = Technique.VXLAN if isolation is Isolation.VXLAN else Technique.KERNEL
    return {
        "host_id": host_id, "physical_id": fabric, "number": number, "technique": technique.value, "device": wires.device(isolation, CARD, number),
        "bridge": wires.bridge(isolation, CARD, number), "present": True, "problem": "", "detail": "", "seen_at": checked, **problem,
    }


def _spoil(rows: list[dict[str, Any]], nets: list[Net], hosts: list[HostPlan], checked: datetime) -> Iterator[dict[str, Any]]:
    """What somebody did by hand since: an interface gone, one in a wrong bridge, and one that nothing expects."""
    down = {host.id for host in hosts if host.connection_state != "up"}
    mine = [row for row in rows if row["technique"] == Technique.KERNEL.value and row["host_id"] not in down]
    kinds = {host.id: host.hypervisor for host in hosts}
    mine = [row for row in mine if kinds[row["host_id"]] == "kvm"]
    if len(mine) >= 2:
        mine[0].update(present=False, problem=DriftKind.MISSING.value, detail="it is not there")
        mine[1].update(problem=DriftKind.WRONG_BRIDGE.value, detail="it hangs in br-old", bridge="br-old")
    place = next((host for host in hosts if host.hypervisor == "kvm" and host.connection_state == "up"), None)
    if place is not None:
        fabric = next(net.fabric for net in nets if net.isolation is Isolation.VLAN)
        detail = {"problem": DriftKind.EXTRA.value, "detail": "nothing expects it"}
        yield _interface(place.id, fabric, _CONFLICT, Isolation.VLAN, checked, **detail)

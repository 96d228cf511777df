"""Only root-admin and auditor ever learn a VLAN ID (spec 10.6): a whole simulated site, every method of its door as every role, with every
target there is, and every reply, error, event, log line and audit record searched for the IDs of its networks."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from fleet_tui.backend import directories
from fleet_tui.backend import networks as n
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.method import Method
from fleet_tui.backend.api.wire import dump
from fleet_tui.backend.daemon import Daemon
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.events import EventsAfter, ListEvents
from fleet_tui.backend.hypervisors import GuestState
from fleet_tui.backend.identity import ListAudit, Permission, Role
from fleet_tui.backend.identity.caller import Peer
from fleet_tui.backend.identity.permissions import ROLES, allows
from fleet_tui.backend.identity.rows import UserRow
from fleet_tui.backend.machines import CreateVm, MigrateVm, StartVm, StopVm
from fleet_tui.backend.machines.rows import VmRow
from fleet_tui.backend.networks.rows import InterfaceRow, VlanRow
from fleet_tui.backend.networks.states import GuestType, OwnerKind, Scope
from fleet_tui.backend.operations import ListOperations, OperationRequest, OperationState, ShowOperation
from fleet_tui.backend.options import Options
from fleet_tui.backend.store import sqlite_url
from fleet_tui.backend.telemetry import ReadLines
from fleet_tui.backend.telemetry.rows import StreamRow
from tests.doors import example
from tests.waiting import until

TAKEN, NAMED = 3917, 3919
"""IDs of the networks ``hidden`` and ``named``; nothing else of the site has these numbers."""
_SECRET = re.compile(rf"(?<![0-9A-Za-z])(?:[A-Za-z]{{1,6}})?0*(?:{TAKEN}|{NAMED})(?![0-9A-Za-z])")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
pytestmark = pytest.mark.slow

_COUNTS = frozenset({"seq", "cursor", "pid", "completes", "elapsed_ms", "downtime_ms", "port", "uid"})
"""Numbers that count something else, and may come to any value."""
_AIMS = ("target", "name", "label", "id", "host", "physical", "zone", "cluster", "network", "networks", "object", "user", "operation", "ref", "offering")
CURIOUS = sorted((role for role in Role if not allows(role, Permission.VLANS_READ)), key=lambda role: role.value)


class Site:
    """A daemon in this process, asked through its dispatcher by the one user there is, in whatever role."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon, self.door = daemon, daemon.dispatcher()
        self.role = Role.ROOT_ADMIN

    def become(self, role: Role) -> None:
        self.role = role
        with self.daemon.store.write() as tx:
            tx.execute(update(UserRow).where(UserRow.uid == os.getuid()).values(role=role.value))

    def ask(self, request: Any) -> Any:
        name = next(method.name for method in METHODS.values() if method.request is type(request) and not method.stream)
        return self.door.call(Peer(os.getuid(), "test"), name, dump(request))

    def hear(self, method: Method, request: Any) -> Any:
        """What the caller is told, as JSON: the reply, or the refusal."""
        try:
            return json.loads(dump(self.door.call(Peer(os.getuid(), "test"), method.name, dump(request))))
        except FleetError as refusal:
            return refusal.as_json()

    def do(self, request: OperationRequest) -> Any:
        """An operation, to its end, whichever that is."""
        submitted = self.ask(request)
        return until(lambda: found if (found := self.ask(ShowOperation(submitted.operation.id))).state in _ENDED else None, 60, str(request))

    def refs(self) -> list[str]:
        with self.daemon.store.read() as tx:
            return list(tx.scalars(select(StreamRow.ref)))


_ENDED = (OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED)


def secrets_in(said: Any, key: str = "") -> Iterator[str]:
    """Every place of a JSON text where an ID stands."""
    if isinstance(said, dict):
        for name, value in said.items():
            yield from secrets_in(name)
            yield from secrets_in(value, name)
    elif isinstance(said, list):
        for value in said:
            yield from secrets_in(value, key)
    elif (isinstance(said, str) and _SECRET.search(_UUID.sub("", said))) or (said in (TAKEN, NAMED) and isinstance(said, int) and key not in _COUNTS):
        yield f"{key}: {said}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("secrecy")
    places = directories.find({"FLEET_HOME": str(home)})
    for place in (places.state, places.runtime):
        Path(place).mkdir(parents=True, exist_ok=True)
    daemon = Daemon(Options(directories=places, database=sqlite_url(places.database), simulate=True, instances=2, hosts=12))
    daemon.start()
    found = Site(daemon)
    try:
        _furnish(found)
        yield found
    finally:
        daemon.stop()


def _furnish(site: Site) -> None:
    """Networks with IDs that are known, VMs on them, and everything that can go wrong with them going wrong once."""
    labels = dict.fromkeys(("kvm", "vsphere", "xenserver"), "eth1")
    site.ask(n.CreatePhysicalNetwork("lab", "zone-a", nic_labels=labels, ranges=f"{TAKEN},{NAMED},3801-3803"))
    site.ask(n.SetScope("lab", NAMED, NAMED, Scope.GUEST_ASSIGNED))
    site.ask(n.SetScope("lab", 3801, 3803, Scope.RESERVED))
    site.ask(n.EditPhysicalNetwork("lab", enabled=True))
    site.ask(n.CreateNetworkOffering("assigned", GuestType.ISOLATED, specify_vlan=True))
    for name in ("hidden", "late"):
        site.ask(n.CreateNetwork(name, "isolated", "lab", cidr="10.77.1.0/24", owner_kind=OwnerKind.ACCOUNT, owner="shop"))
    site.ask(n.CreateNetwork("named", "assigned", "lab", vlan=NAMED, cidr="10.77.2.0/24"))
    made = [site.do(CreateVm(target=name, cluster="kvm-a1", offering="tiny", kernel="/boot/vmlinuz", networks=networks)) for name, networks in (
        ("vm-1", ("hidden", "named")), ("vm-2", ("hidden",)), ("vm-3", ("late",)),
    )]  # fmt: skip
    assert [record.state for record in made] == [OperationState.SUCCEEDED, OperationState.SUCCEEDED, OperationState.FAILED]
    with site.daemon.store.read() as tx:
        assert set(tx.scalars(select(VlanRow.number).where(VlanRow.number.in_((TAKEN, NAMED))))) == {TAKEN, NAMED}
        assert tx.scalar(select(InterfaceRow.host_id).where(InterfaceRow.number == TAKEN)) is not None
    for refused in (
        n.SetRanges("lab", str(NAMED)), n.SetRanges("lab", ""), n.SetScope("lab", TAKEN, TAKEN, Scope.PUBLIC), n.DeletePhysicalNetwork("lab", "lab"),
        n.Dedicate("lab", NAMED, NAMED, OwnerKind.ACCOUNT, "bank"), n.CreateNetwork("other", "assigned", "lab", vlan=NAMED),
        n.CreateNetwork("other", "assigned", "lab", vlan=TAKEN), n.EditPhysicalNetwork("lab", nic_labels={**labels, "kvm": "eth7"}),
    ):
        with pytest.raises(FleetError):
            site.ask(refused)
    site.ask(n.Dedicate("lab", TAKEN, TAKEN, OwnerKind.ACCOUNT, "shop"))
    _break(site)
    site.do(n.CheckDrift(target="lab"))
    site.do(n.RepairDrift(target="lab", remove_extra=True, confirmed=True))
    site.do(n.SweepVlans(target="lab", confirmed=True))
    site.do(MigrateVm(target="vm-1"))
    site.do(StopVm(target="vm-2", confirmed=True))
    site.do(StartVm(target="vm-2"))


def _break(site: Site) -> None:
    """By hand, an interface goes from under its guest, and one that nobody expects comes."""
    world = site.daemon.world
    with site.daemon.store.read() as tx:
        guest = tx.scalars(select(VmRow).where(VmRow.name == "vm-1")).one()
    place = next(name for name, state in world.places(guest.guest_id).items() if state is GuestState.RUNNING)
    host = world.host(place)
    assert any(one["number"] == TAKEN for one in host.interfaces)
    with world.locked():
        host.interfaces = [one for one in host.interfaces if one["number"] != TAKEN]
        world.ledger.put(host)


def requests(site: Site, method: Method) -> Iterator[Any]:
    """A call with each thing there is in each field that says what it is about; operations as dry runs."""
    kind = method.request
    hints, blank = typing.get_type_hints(kind), example(kind)
    yield blank
    aims = [field.name for field in dataclasses.fields(kind) if field.name in _AIMS and hints[field.name] is str]
    things = ("hidden", "named", "lab", "vm-1", "vm-3", "kvm-a1", "kvm-01", "zone-a")
    names = {field.name for field in dataclasses.fields(kind)}
    told = dict.fromkeys(names & {"limit", "tail"}, 5000) | dict.fromkeys(names & {"dry_run", "confirmed"}, True)
    for aim in aims:
        for thing in things:
            yield dataclasses.replace(blank, **{**told, aim: thing})
    if kind is n.CreateNetwork:
        for offering in ("isolated", "assigned"):
            for vlan in (None, TAKEN, NAMED, 0):
                yield n.CreateNetwork("mine", offering, "lab", vlan=vlan)
    if kind is CreateVm:
        yield CreateVm(target="mine", cluster="kvm-a1", offering="tiny", disk_mib=64, networks=("hidden", "named"), dry_run=True)


def everything(site: Site) -> Iterator[tuple[str, Any]]:
    """All that is kept to be read: events, operations with their steps and lines, every stream, the audit."""
    for request in (EventsAfter(cursor=0, limit=100_000), ListEvents(limit=100_000), ListOperations(limit=10_000), ReadLines(limit=100_000), ListAudit(limit=10_000)):
        yield type(request).__name__, request
    for record in site.daemon.engine.list(ListOperations(limit=10_000)):
        yield "operation", ShowOperation(record.id)
        yield "its lines", ReadLines(operation=record.id, limit=10_000)
    for ref in site.refs():
        yield "stream", ReadLines(target=ref, tail=10_000)


def search(site: Site) -> list[str]:
    found = []
    for method in METHODS.values():
        if method.stream or method.permission is Permission.AGENT or method.name in ("session.make_read_only", "users.put", "users.remove"):
            continue
        for request in requests(site, method):
            found += [f"{method.name} {request}: {place}" for place in secrets_in(site.hear(method, request))]
    for what, request in everything(site):
        method = next(method for method in METHODS.values() if method.request is type(request) and not method.stream)
        found += [f"{what} {request}: {place}" for place in secrets_in(site.hear(method, request))]
    return found


@pytest.mark.parametrize("role", CURIOUS, ids=lambda role: role.value)
def test_who_may_not_know_finds_no_id_anywhere(site: Site, role: Role) -> None:
    site.become(role)
    try:
        assert search(site) == []
    finally:
        site.become(Role.ROOT_ADMIN)


@pytest.mark.parametrize("role", [Role.ROOT_ADMIN, Role.AUDITOR], ids=lambda role: role.value)
def test_who_may_know_is_told_by_the_map_and_the_audit(site: Site, role: Role) -> None:
    site.become(role)
    try:
        for request in (n.ShowMap("lab"), n.ShowVlan("lab", TAKEN), n.ListVlans("lab"), n.ShowPresence("lab"), n.ListNetworks(limit=5000), n.ShowNetwork("hidden"), ListAudit(limit=10_000)):
            method = next(method for method in METHODS.values() if method.request is type(request))
            assert list(secrets_in(site.hear(method, request))), request
    finally:
        site.become(Role.ROOT_ADMIN)


def test_the_roles_that_may_not_know_are_all_but_two() -> None:
    assert {role for role in ROLES if role not in CURIOUS} == {Role.ROOT_ADMIN, Role.AUDITOR}

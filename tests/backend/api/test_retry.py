"""Who retries an operation needs what the operation itself takes: each kind of a whole daemon, as each role, with each field that asks for more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from fleet_tui.backend import directories
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.wire import dump
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.daemon import Daemon
from fleet_tui.backend.errors import NotFound, PermissionDenied, ReadOnly, WrongState
from fleet_tui.backend.identity import ListAudit, OpenSession, Permission, Role
from fleet_tui.backend.identity.caller import Caller, Peer
from fleet_tui.backend.identity.permissions import allows
from fleet_tui.backend.identity.rows import UserRow
from fleet_tui.backend.machines import CreateVm
from fleet_tui.backend.operations import RetryOperation
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.operations.submission import storable
from fleet_tui.backend.options import Options
from fleet_tui.backend.store import new_id, sqlite_url
from tests.doors import ROOT

_MORE = {field: True for method in METHODS.values() for field in method.also}


class Site:
    """A daemon in this process, asked through its dispatcher by the one user there is, in whatever role."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon, self.door = daemon, daemon.dispatcher()

    def become(self, role: Role) -> None:
        with self.daemon.store.write() as tx:
            tx.execute(update(UserRow).where(UserRow.uid == os.getuid()).values(role=role.value))

    def call(self, request: Any, session: str = "") -> Any:
        name = next(method.name for method in METHODS.values() if method.request is type(request))
        return self.door.call(Peer(os.getuid(), "test", session=session), name, dump(request))

    def ended(self, kind: str, state: str = "succeeded", /, **request: Any) -> str:
        """An operation that somebody else asked for; retried, one that succeeded is refused by the engine at once, so nothing is set off."""
        row = OperationRow(
            id=new_id("o"), kind=kind, title=kind, target="x", target_ref="thing:x", request={"target": "x", **request}, state=state, rank=0.0,
            user="somebody", submitted_at=SystemClock().now(), ended_at=SystemClock().now(),
        )
        with self.daemon.store.write() as tx:
            tx.add(row)
        return row.id

    def denied(self, operation: str) -> str:
        """The permission that is wanting; empty where the call came through to the engine."""
        try:
            self.call(RetryOperation(operation))
        except PermissionDenied as refusal:
            return str(refusal.details["needed"])
        except WrongState as refusal:
            assert "only a failed or cancelled" in refusal.message
            return ""
        raise AssertionError("neither refused nor denied")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    places = directories.find({"FLEET_HOME": str(tmp_path_factory.mktemp("retry"))})
    for place in (places.state, places.runtime):
        Path(place).mkdir(parents=True, exist_ok=True)
    daemon = Daemon(Options(directories=places, database=sqlite_url(places.database), simulate=True, instances=1, hosts=3))
    daemon.start()
    try:
        yield Site(daemon)
    finally:
        daemon.stop()


def needed(kind: str, set_fields: dict[str, Any]) -> list[Permission]:
    """By the table, written once more: what the kind's own method takes; kinds without one are root-admins'."""
    own = METHODS.get(kind)
    if own is None:
        return [Permission.INSTANCES_OPERATE, Permission.SITE_ADMIN]
    return [Permission.INSTANCES_OPERATE, own.permission, *(permission for field, permission in own.also.items() if set_fields.get(field))]


@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
def test_a_retry_takes_what_its_kind_takes(site: Site, role: Role) -> None:
    kinds = sorted(site.daemon.engine.kinds)
    assert {"cluster.ratio", "vlan.sweep", "vlan.repair", "kms.rewrap", "instance.delete", "host.degrade"} <= set(kinds)
    assert {kind for kind in kinds if kind not in METHODS} >= {"site.retention", "vm.attach-disk", "vm.detach-disk"}
    site.become(role)
    for kind in kinds:
        for fields in ({}, _MORE):
            wanting = [permission.value for permission in needed(kind, fields) if not allows(role, permission)]
            assert site.denied(site.ended(kind, **fields)) == (wanting[0] if wanting else ""), (kind, fields)


def test_what_was_a_root_admins_alone_is_not_set_off_by_an_operator(site: Site) -> None:
    site.become(Role.OPERATOR)
    before = site.daemon.engine.active()
    failed = site.ended("cluster.ratio", "failed", cpu=2.0, confirmed=True)
    with pytest.raises(PermissionDenied, match=r"may not call operations\.retry of cluster\.ratio") as refused:
        site.call(RetryOperation(failed, "r-1"))
    assert "root-admin" in refused.value.hint and site.daemon.engine.active() == before
    with pytest.raises(PermissionDenied, match=r"operations\.retry of host\.maintain with allow_stop"):
        site.call(RetryOperation(site.ended("host.maintain", "failed", allow_stop=True)))
    newest = site.daemon.audit.find(ListAudit(limit=2), ROOT)
    assert [record.decision for record in newest] == ["denied: role operator has no hosts.force", "denied: role operator has no site.admin"]


def test_a_handler_that_denies_a_request_denies_its_retry(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def denies(caller: Caller, request: CreateVm) -> Any:
        seen.append(request)
        raise PermissionDenied("not from that image") if caller.role is Role.OPERATOR else NotFound("the cluster is gone")

    monkeypatch.setitem(site.door._handlers, "vm.create", denies)
    stored = storable(CreateVm(target="spy", cluster="c", offering="small", image="/etc/shadow", owners=("ann",), start=True))
    failed = site.ended("vm.create", **stored)
    site.become(Role.OPERATOR)
    with pytest.raises(PermissionDenied, match="not from that image"):
        site.call(RetryOperation(failed))
    assert seen == [CreateVm(target="spy", cluster="c", offering="small", image="/etc/shadow", owners=("ann",), start=True, dry_run=True)]
    site.become(Role.ADMIN)
    with pytest.raises(WrongState, match="only a failed or cancelled"):
        site.call(RetryOperation(failed))


def test_a_read_only_session_retries_nothing(site: Site) -> None:
    site.become(Role.ROOT_ADMIN)
    session = site.call(OpenSession(read_only=True)).id
    for kind in ("instance.provision", "cluster.ratio", "site.retention"):
        with pytest.raises(ReadOnly):
            site.call(RetryOperation(site.ended(kind, "failed")), session)


def test_an_operation_that_is_not_there_is_not_found(site: Site) -> None:
    site.become(Role.OPERATOR)
    with pytest.raises(NotFound):
        site.call(RetryOperation("o-unknown"))

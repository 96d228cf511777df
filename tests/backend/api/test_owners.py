"""Who owns a VM drives it, whatever their role: that VM alone, and only what owners may (VM-4, USR-4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_tui.backend.api import METHODS, consoles
from fleet_tui.backend.errors import FleetError, NotFound, PermissionDenied, ReadOnly
from fleet_tui.backend.identity import Permission, Role
from fleet_tui.backend.identity.permissions import allows
from fleet_tui.backend.machines import CreateVm, DestroyVm, EditVm, MigrateVm, OpenConsole, RebootVm, ResizeVm, StartVm, StopVm
from fleet_tui.backend.machines.rows import VmRow
from tests.backend.api.test_console import Yard, ends, hears
from tests.backend.machines.desk import KINDS
from tests.doors import example
from tests.waiting import until

ME = "tester"
DRIVES: tuple[Any, ...] = (
    StartVm(target="mine", dry_run=True), StopVm(target="mine", dry_run=True), RebootVm(target="mine", dry_run=True),
    MigrateVm(target="mine", dry_run=True), OpenConsole("mine"),
)  # fmt: skip
KEPT_FROM: tuple[Any, ...] = (
    DestroyVm(target="mine", dry_run=True), ResizeVm(target="mine", offering="small", dry_run=True), EditVm("mine", owners=(ME, "friend")),
    CreateVm(target="another", cluster="c", offering="small", disk_mib=64, owners=(ME,), dry_run=True),
)  # fmt: skip


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    found = Yard(tmp_path)
    found.door.handlers.update({kind: found.submits(kind) for kind in KINDS.values() if kind not in ("vm.create", "vm.start", "vm.migrate")})
    found.fleet.vm("mine", "h1", owners=["bob", ME])
    found.fleet.vm("theirs", "h1", owners=["bob", f"{ME}s", f"not-{ME}"])
    yield found
    found.close()


def may(yard: Yard, request: Any, **session: Any) -> bool:
    try:
        yard.client(**session).call(request)
    except PermissionDenied:
        return False
    except FleetError:
        pass
    return True


@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
def test_what_each_role_may_do_with_its_own_vm(yard: Yard, role: Role) -> None:
    drives_all = allows(role, Permission.VMS_OPERATE)
    yard.door.become(role)
    for request in DRIVES:
        assert may(yard, request) is (drives_all or role is not Role.AUDITOR), request
        other = type(request)(target="theirs") if isinstance(request, OpenConsole) else type(request)(target="theirs", dry_run=True)
        assert may(yard, other) is drives_all, other
    for request in KEPT_FROM:
        assert may(yard, request) is drives_all, request
    assert yard.fleet.row("mine").owners == (["bob", ME] if not drives_all else [ME, "friend"])


def test_no_other_method_looks_at_owners() -> None:
    assert {method.name for method in METHODS.values() if method.own} == {"vm.start", "vm.stop", "vm.reboot", "vm.migrate", "vms.console"}
    for method in METHODS.values():
        assert not method.own or hasattr(example(method.request), method.own), method.name


def test_it_is_the_vm_that_counts_however_it_is_named(yard: Yard) -> None:
    yard.door.become(Role.MONITOR)
    for target in ("mine", "vm:mine"):
        assert may(yard, StopVm(target=target, dry_run=True))
    for target in ("", "vm:", "theirs", "nobody", "min%", "MINE"):
        assert not may(yard, StopVm(target=target, dry_run=True)), target


def test_a_read_only_session_stays_so(yard: Yard) -> None:
    yard.door.become(Role.MONITOR)
    with pytest.raises(ReadOnly):
        yard.client(read_only=True).call(StopVm(target="mine", confirmed=True))


def test_a_denial_is_on_record_and_says_what_would_help(yard: Yard) -> None:
    yard.door.become(Role.MONITOR)
    with pytest.raises(PermissionDenied, match="may not call") as refused:
        yard.client().call(StopVm(target="theirs", confirmed=True))
    assert "own it" in refused.value.hint
    assert [r.decision for r in yard.door.records() if r.object == "theirs"] == ["denied: role monitor has no vms.operate"]


def test_who_loses_it_loses_its_console(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "_RECHECK_S", 0.05)
    monkeypatch.setattr(consoles, "_READ_S", 0.02)
    yard.door.become(Role.MONITOR)
    relay = yard.client().console("mine")
    relay.send(b"hostname\n")
    hears(relay, b"mine\r\n")
    yard.fleet.set(VmRow, "mine", owners=["bob"])
    until(ends(relay))
    relay.close()


def test_a_vm_that_is_not_there_is_nobodys(yard: Yard) -> None:
    with pytest.raises(NotFound):
        yard.client().call(OpenConsole("nobody"))

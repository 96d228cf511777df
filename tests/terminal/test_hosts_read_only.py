"""The screens of hosts, VMs and maintenance to somebody who may only look: every key, word, menu entry and verb, and nothing is changed.

Like `test_console_read_only`, on simulated hosts with VMs, one of them in maintenance. The simulated fleet has a life of its own, so what is
held against the store is what only a person changes, and against the audit that nothing was allowed.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import pytest
from sqlalchemy import select

from fleet_tui import commands
from fleet_tui.actions import ACTIONS, bindings_of, forbidden
from fleet_tui.app import FleetApp
from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as v
from fleet_tui.backend import maintenance as mt
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PatchRow, PodRow, ZoneRow
from fleet_tui.backend.identity import ListAudit, Role
from fleet_tui.backend.machines.rows import OfferingRow, VmRow
from fleet_tui.backend.maintenance.rows import EvacueeRow, SessionRow
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.simulation.life import USER
from fleet_tui.screens.ask import FormDialog
from fleet_tui.screens.dialogs import Choose
from tests.journeys.site import Site, site
from tests.terminal.test_console_read_only import (
    CONTROL,
    ESC,
    KEYS,
    PASTE,
    Everything,
    clicks,
    denied,
    last_audit,
    newest_session,
    role_of_this_user,
    sitting,
    terminal_of,
)
from tests.waiting import until

pytestmark = pytest.mark.slow

KEPT: dict[Any, tuple[str, ...]] = {
    ZoneRow: ("id", "name", "allocation", "dns"), PodRow: ("id", "name", "allocation"), PatchRow: ("id", "note"), OfferingRow: ("id", "name", "tags"),
    ClusterRow: ("id", "name", "allocation", "managed", "cpu_hundredths", "ram_hundredths", "password_sealed", "dedicated_account"),
    HostRow: ("id", "name", "resource_state", "tags", "location_note", "ssh_user", "ssh_port", "key_sealed", "host_key", "accepted_key"),
    VmRow: ("id", "name", "cluster_id", "offering_id", "tags", "owners", "destroy_protected", "ha"),
    SessionRow: ("id", "step", "reason", "ticket", "planned_end", "closed_at", "checklist", "notes", "announced_at", "operation_id"),
    EvacueeRow: ("session_id", "vm_id", "state", "back"),
}  # fmt: skip
"""What only a person's change changes."""
LOOKS = {"session.open", "session.make_read_only"}
SENT = {
    "host.maintain", "host.cancel-maintenance", "host.announce", "maintenance.edit", "host.reconnect", "host.reinstall",
    "host.remove", "hosts.edit", "vm.stop", "vm.reboot", "vm.migrate", "vm.destroy", "vms.edit", "branches.allocate",
}  # fmt: skip
"""Methods that a console without manners sends from these screens, whatever state things are in."""


class Ground:
    """The site, and what the tests name of it."""

    def __init__(self, found: Site) -> None:
        self.site = found
        hosts: tuple[h.HostRecord, ...] = found.call(h.ListHosts())
        self.kept = next(row for row in hosts if row.resource_state == "Maintenance")
        vms = found.call(v.ListVms()).vms
        taken = {vm.host for vm in vms if vm.state.value == "running"}
        self.host = next(row for row in hosts if row.allocatable and row.name in taken)
        self.vm = next(vm for vm in vms if vm.host == self.host.name and vm.state.value == "running")
        self.session: mt.MaintenanceRecord = found.call(mt.ShowMaintenance(self.kept.id))

    def picture(self) -> dict[str, list[Any]]:
        with self.site.store().read() as tx:
            found: dict[str, list[Any]] = {
                table.__tablename__: sorted([tuple(getattr(row, name) for name in names) for row in tx.scalars(select(table))], key=repr)
                for table, names in KEPT.items()
            }
            asked = tx.scalars(select(OperationRow).where((OperationRow.user != USER) | OperationRow.cancel_requested_by.is_not(None))).all()
            return {**found, "operation": sorted((op.id, op.kind, op.state, op.cancel_requested_by) for op in asked)}

    @contextmanager
    def untouched(self) -> Iterator[None]:
        before, seq = self.picture(), last_audit(self.site)
        yield
        assert self.picture() == before
        assert {r.action for r in self.site.call(ListAudit(limit=10_000)) if r.seq > seq and not r.decision.startswith("denied")} <= LOOKS


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with site(flags=("--site", "ground", "--simulate", "--instances", "2", "--hosts", "12", "--seed", "7")) as found:
        until(lambda: any(row.allocatable and row.vms for row in found.call(h.ListHosts())), 60.0, "the hosts")
        yield Ground(found)


class EverythingBelow(Everything):
    """Everything that there is to press on the screens of hosts, VMs and maintenance."""

    def __init__(self, app: FleetApp, pilot: Any, ground: Ground) -> None:
        self.app, self.pilot, self.ground, self.said, self.quits = app, pilot, ground.site, [], 0
        host, kept, vm = f"host:{ground.host.id}", f"host:{ground.kept.id}", f"vm:{ground.vm.id}"
        self.names = (ground.host.name, ground.kept.name, ground.vm.name)
        self.homes = [
            ("hosts", "", {}), ("host", host, {}), ("maintenance", kept, {}), ("maintenance", host, {}), ("vms", "", {}), ("vm", vm, {}),
            ("serial", vm, {}), ("patches", "", {}), ("offerings", "", {}),
        ]  # fmt: skip
        self.lists = [home for home in self.homes if home[0] in ("hosts", "host", "maintenance", "vms", "vm")]
        app.notify = lambda message, **_named: self.said.append(message)  # type: ignore[method-assign, assignment]
        app.exit = lambda *_arguments, **_named: self._quit()  # type: ignore[method-assign, assignment]

    async def say_yes(self) -> None:
        """Fill in and send every form, and choose from every list, too."""
        for _ in range(3):
            if isinstance(self.app.screen, FormDialog):
                await self.press("x", "ctrl+o")
            elif isinstance(self.app.screen, Choose):
                await self.press("enter")
            else:
                break
            await self.answered()
        await super().say_yes()

    async def each_key(self, most: int) -> None:
        everywhere = {key for key, action in bindings_of("hosts").items() if action.scope == "global"}
        for place in self.homes[:most]:
            await self.home(*place)
            await self.answered()
            for key in [key for key in KEYS if key not in everywhere]:
                await self.press(key)
                await self.home(*place)

    async def each_word(self) -> None:
        for word, action in commands.words().items():
            if action.kind == "verb":
                for name in self.names:
                    await self.home(*self.homes[0])
                    self.app.screen.run_line(f"{word} {name}")  # type: ignore[attr-defined]
                    await self.calm()
        await self.answered()

    async def each_action(self) -> None:
        for place in self.lists:
            for action in ACTIONS.values():
                if action.kind == "verb" and action.scope != "instance":
                    await self.home(*place)
                    await self.answered()
                    self.app.screen.perform(action)  # type: ignore[attr-defined]
                    await self.answered()
            await self.say_yes()


def below(ground: Ground, *, read_only: bool) -> AbstractAsyncContextManager[EverythingBelow]:
    return sitting(ground.site, read_only=read_only, make=lambda app, pilot, _site: EverythingBelow(app, pilot, ground))


async def everything(ground: Ground, *, read_only: bool, screens: int = 99) -> EverythingBelow:
    async with below(ground, read_only=read_only) as all_:
        await all_.each_key(screens)
        await all_.each_word()
        await all_.each_entry()
        await all_.each_action()
        await all_.answered()
        record = all_.app.record
        assert record is not None and record.read_only is read_only
        assert [action.id for action in ACTIONS.values() if action.mutates and not forbidden(action, record)] == []
        return all_


async def test_a_read_only_console_of_a_root_admin(ground: Ground) -> None:
    since = last_audit(ground.site)
    with ground.untouched():
        all_ = await everything(ground, read_only=True)
    assert denied(ground.site, since) == {}, "all is refused here, before the daemon is asked"
    assert f"Reconnect {ground.host.name}: this console is read-only" in all_.said


async def test_a_monitors_console(ground: Ground) -> None:
    with ground.untouched():
        with role_of_this_user(ground.site, Role.MONITOR):
            all_ = await everything(ground, read_only=False, screens=1)
    assert f"Reconnect {ground.host.name}: the role monitor may not" in all_.said


async def test_a_console_that_forgot_its_manners(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own refusals taken away, every verb goes out, is confirmed or filled in, and is refused by the daemon."""
    monkeypatch.setattr("fleet_tui.actions.forbidden", lambda *_: "")
    monkeypatch.setattr("fleet_tui.actions.is_hidden", lambda *_: False)
    since = last_audit(ground.site)
    with ground.untouched():
        async with below(ground, read_only=True) as all_:
            await all_.each_action()
            await all_.answered()
    refused = denied(ground.site, since)
    assert set(refused) == {"read-only session"}
    assert refused["read-only session"] >= SENT


VERBS = "mveKRTp!DEOMWnCFBTNAHbS"
PRINTABLE = "".join(c for c in string.printable[:94] if c not in "q:/x?123456789[]-nl")


def test_a_read_only_console_in_a_terminal(ground: Ground) -> None:
    with ground.untouched(), terminal_of(ground.site, "--read-only") as terminal:
        terminal.wait_for("READ-ONLY")
        terminal.press("3")
        terminal.wait_for(rf"› hosts(.|\n)*{ground.host.name}")
        terminal.press("R")
        terminal.wait_for(r"this\W+console\W+is\W+read-only")
        for key in VERBS:
            terminal.press(key, "y", "\x0f", ESC, ESC)
            terminal.settle(0.05)
            terminal.press("3")
        terminal.press("*", VERBS, ESC, ESC, "3", PRINTABLE, CONTROL, ESC, "3", PASTE(VERBS), PASTE(":remove kvm-01\r"), *clicks(80, 24))
        terminal.settle(0.3)
        assert newest_session(ground.site).read_only


@pytest.mark.parametrize("pane", ["hosts", "vms", "maintenance KEPT"])
def test_panes(ground: Ground, pane: str) -> None:
    words = [ground.kept.id if word == "KEPT" else word for word in pane.split()]
    with ground.untouched(), terminal_of(ground.site, "pane", *words) as terminal:
        terminal.wait_for(r"READ-ONLY(.|\n)*(kvm|VM)")
        assert newest_session(ground.site).read_only
        terminal.press(VERBS, string.printable[:94].replace("q", ""), CONTROL, "\r", PASTE(":remove kvm-01\r"), *clicks(80, 24))
        terminal.settle(0.2)
        assert terminal.is_alive
        assert "┌" not in terminal.text

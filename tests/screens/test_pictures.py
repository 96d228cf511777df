"""Pictures of every screen, reviewed by eye, at the smallest and at a large size."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from fleet_tui.app import FleetApp, pane_app
from fleet_tui.backend import instances as i
from fleet_tui.backend.identity import Role
from fleet_tui.backend.instances.states import Health
from fleet_tui.screens.ask import PREVIEW_S, FormDialog
from tests.fleet_stub import GIB, NOW, PHASES, StubSession, instance, line, operation
from tests.screens.console import StillClock, eventually, picture, press, settings, settled, type_in
from tests.screens.infrastructure import hosts_fleet, ready

SIZES = {"80x24": (80, 24), "160x48": (160, 48)}


@pytest.fixture(autouse=True)
def colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("FLEET_GLYPHS", "unicode")


def fleet() -> StubSession:
    """Something of everything: failed, moving, waiting for a reprovision, stopped, new, nearly full."""
    states = ("done",) * 5 + ("running",) + ("pending",) * 4
    phases = tuple((name, state, 0.4 * n if n < 5 else None) for n, (name, state) in enumerate(zip(PHASES, states, strict=True)))
    session = StubSession().add(
        instance("db-04", "failed", failed_stage="startup:certificate", failure="the key does not belong to this certificate"),
        instance("web-20", kind="execution", pending_changes=("template", "data_disk.size_gb")),
        instance("web-21", "starting-up", kind="execution", operation_id="o-1", operation="provision 7/8 install-or-upgrade",
                 data_disk=i.DataDisk(50, 50, 2 * GIB, "/d/web-21"), agent=i.AgentStatus(NOW, "install-or-upgrade", phases)),
        instance("web-19"), instance("ci-7", "stopped"), instance("new-1", "new", data_disk=i.DataDisk(50, 50, None, "")),
        instance("mail-2", data_disk=i.DataDisk(50, 80, 44 * GIB, "/d/mail-2"), health=Health.DISK_WARNING),
        *(instance(f"app-{n:02}", kind=("design", "execution", "deployer")[n % 3]) for n in range(30)),
        operation("o-1", "web-21"), operation("o-2", "db-04", "failed"), operation("o-3", "web-20", "succeeded", 8),
    )  # fmt: skip
    said = (
        ("web-21", "unpacking hello-app 1.4.0", "info"), ("web-21", "running install (12 files)", "info"), ("db-04", "public keys differ", "error"),
    )  # fmt: skip
    for n in range(1, 40):
        label, text, level = said[n % 3]
        session.add(line(n, text, label=label, level=level, phase="certificate" if label == "db-04" else "install-or-upgrade"))
    session.touch("instance:i-web-20", "operation.finished", "op1 provisioned web-20 in 38 s")
    session.snapshots = [i.SnapshotRecord("s-1", "i-web-21", "before the upgrade", False, 3 * GIB, NOW)]
    return session


async def find(pilot: Pilot[int], name: str) -> None:
    await press(pilot, "2", "slash")
    await type_in(pilot, name)
    await press(pilot, "enter", "enter")


async def lost(pilot: Pilot[int]) -> None:
    await press(pilot, "2")
    app = pilot.app
    assert isinstance(app, FleetApp) and isinstance(app.session, StubSession)
    app.session.go_away()
    await eventually(pilot, lambda: "no link since" in picture(pilot))


async def delete(pilot: Pilot[int]) -> None:
    await find(pilot, "new-1")
    await press(pilot, "colon")
    await type_in(pilot, "delete")
    await press(pilot, "enter")


async def wrong(pilot: Pilot[int]) -> None:
    await find(pilot, "web-20")
    await press(pilot, "e", "exclamation_mark")
    await type_in(pilot, "!")
    await press(pilot, "ctrl+o")


VIEWS: dict[str, Callable[[Pilot[int]], Any]] = {
    "dashboard": lambda p: press(p, "1"),
    "instances": lambda p: press(p, "2"),
    "hosts": lambda p: press(p, "3"),
    "operations": lambda p: press(p, "7"),
    "events": lambda p: press(p, "9"),
    "starting": lambda p: find(p, "web-21"),
    "failed": lambda p: find(p, "db-04"),
    "new": lambda p: find(p, "new-1"),
    "data": lambda p: press(p, "2", "e", "escape", "enter", "right", "right"),
    "settings": lambda p: press(p, "2", "G", "e"),
    "wrong": wrong,
    "operation": lambda p: press(p, "7", "enter"),
    "operation-failed": lambda p: press(p, "7", "j", "enter"),
    "logs": lambda p: press(p, "2", "G", "l"),
    "describe": lambda p: press(p, "2", "d"),
    "raw": lambda p: press(p, "2", "y"),
    "help": lambda p: press(p, "2", "question_mark"),
    "menu": lambda p: press(p, "2", "x"),
    "palette": lambda p: press(p, "ctrl+p"),
    "confirm": lambda p: press(p, "2", "D"),
    "bulk": lambda p: press(p, "2", "asterisk", "D"),
    "delete": delete,
    "create": lambda p: press(p, "2", "n"),
    "lost": lost,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_picture(snap_compare: Any, view: str, size: str) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await VIEWS[view](pilot)
        await settled(pilot)
        pilot.app.clear_notifications()
        await settled(pilot)

    session = fleet()
    assert "NO_COLOR" not in os.environ
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=SIZES[size], run_before=before)


async def at(pilot: Pilot[int], *keys: str) -> None:
    """Press keys; a key that begins with ``=`` is typed."""
    for key in keys:
        if key.startswith("="):
            await type_in(pilot, key[1:])
        else:
            await press(pilot, key)


KVM_17 = ("3", "slash", "=kvm-17", "enter")
UNDER_THE_INSTANCES: dict[str, tuple[str, ...]] = {
    "dashboard-hosts": ("1",),
    "hosts-many": ("3",),
    "hosts-broken": ("3", "slash", "=kvm-08", "enter"),
    "hosts-tree": ("3", "t", "j", "j", "j", "right"),
    "hosts-menu": ("3", "x"),
    "host": ("3", "j", "enter"),
    "host-vms": ("3", "j", "j", "enter", "right"),
    "host-patches": ("3", "j", "enter", "right", "right", "right"),
    "host-sessions": ("3", "j", "j", "enter", "left", "left"),
    "host-not-added": ("3", "slash", "=spare-2", "enter", "enter"),
    "vms": ("colon", "=vms", "enter"),
    "vm-moving": ("colon", "=db-7", "enter"),
    "vm-menu": ("colon", "=vms", "enter", "x"),
    "vm-migrate": ("colon", "=vms", "enter", "m"),
    "serial": ("colon", "=console web-3", "enter"),
    "maintenance": (*KVM_17, "m"),
    "maintenance-moving-row": (*KVM_17, "m", "j", "j"),
    "maintenance-menu": (*KVM_17, "m", "x"),
    "maintenance-forecast": ("3", "j", "j", "m"),
    "maintenance-start": ("3", "j", "j", "m", "M", "=replace DIMM A3"),
    "maintenance-start-refused": ("3", "j", "j", "m", "M", "tab", "tab", "=yesterday", "ctrl+o"),
    "maintenance-note": (*KVM_17, "m", "N", "=DIMM is in"),
    "rolling": ("3", "t", "j", "j", "j", "M"),
    "add-host": ("3", "n"),
    "add-host-refused": ("3", "n", "ctrl+o"),
    "add-host-key": ("3", "n", "=10.0.0.99", "tab", "tab", "tab", "tab", "tab", "=secret123", "ctrl+o"),
    "new-zone": ("colon", "=new-zone", "enter"),
    "new-cluster": ("3", "t", "j", "j", "colon", "=new-cluster", "enter"),
    "new-offering": ("colon", "=new-offering", "enter"),
    "new-vm": ("colon", "=new-vm", "enter"),
    "ratio": ("3", "t", "j", "j", "j", "O", "end", "=.5"),
    "password": ("3", "t", "j", "j", "j", "W", "=secret123", "tab", "=secret12", "ctrl+o"),
    "patches": ("colon", "=patches", "enter"),
    "offerings": ("colon", "=offerings", "enter"),
}
"""Places below the instances, and the keys that lead there."""
WHEN_READY: dict[str, tuple[str, ...]] = {
    "maintenance-ready": (*KVM_17, "m"),
    "maintenance-checklist": (*KVM_17, "m", "M", "K", "space"),
    "maintenance-cancel": (*KVM_17, "m", "C"),
    "maintenance-back": (*KVM_17, "m", "C", "y", "B", "space"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", [*UNDER_THE_INSTANCES, *WHEN_READY, "maintenance-start-operator"])
def test_picture_of_hosts(snap_compare: Any, view: str, size: str) -> None:
    operator = view == "maintenance-start-operator"
    session = hosts_fleet(Role.OPERATOR if operator else Role.ROOT_ADMIN)
    if view in WHEN_READY:
        ready(session)
    keys = WHEN_READY.get(view) or UNDER_THE_INSTANCES[view.removesuffix("-operator")]

    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await at(pilot, *keys)
        app = pilot.app
        if isinstance(app.screen, FormDialog) and app.screen.spec is not None and app.screen.spec.preview is not None:
            await eventually(pilot, lambda: "asking what it would do" not in picture(pilot))
            await asyncio.sleep(2 * PREVIEW_S)
        await settled(pilot)
        app.clear_notifications()
        await settled(pilot)

    assert "NO_COLOR" not in os.environ
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=SIZES[size], run_before=before)


@pytest.mark.parametrize("size", [(60, 12), (80, 24), (100, 16)], ids=["60x12", "80x24", "100x16"])
@pytest.mark.parametrize("pane", [("hosts",), ("maintenance", "kvm-17")], ids=["hosts", "maintenance"])
def test_picture_of_a_pane(snap_compare: Any, pane: tuple[str, ...], size: tuple[int, int]) -> None:
    session = hosts_fleet()
    assert snap_compare(pane_app(settings(), lambda: session, pane, StillClock()), terminal_size=size, run_before=settled)

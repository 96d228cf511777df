"""Pictures of every screen, reviewed by eye, at the smallest and at a large size."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from textual.pilot import Pilot

from fleet_tui.app import FleetApp, pane_app
from fleet_tui.backend import instances as i
from fleet_tui.backend.identity import Role
from fleet_tui.backend.instances.states import Health
from fleet_tui.screens.ask import FormDialog
from tests.fleet_stub import GIB, NOW, PHASES, StubSession, host, instance, line, operation
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
        instance("mail-2", data_disk=i.DataDisk(50, 80, 44 * GIB, "/d/mail-2"), health=Health.DISK_WARNING, health_detail="data disk 88 % full"),
        *(instance(f"app-{n:02}", kind=("design", "execution", "deployer")[n % 3]) for n in range(30)),
        operation("o-1", "web-21"), operation("o-2", "db-04", "failed"), operation("o-3", "web-20", "succeeded", 8),
        operation("o-4", "web-19", "cancelled", 3, title="restart application", cancel_requested_by="anna"),
    )  # fmt: skip
    said = (
        ("web-21", "unpacking hello-app 1.4.0", "info"), ("web-21", "running install (12 files)", "info"), ("db-04", "public keys differ", "error"),
    )  # fmt: skip
    for n in range(1, 40):
        label, text, level = said[n % 3]
        session.add(line(n, text, label=label, level=level, phase="certificate" if label == "db-04" else "install-or-upgrade"))
    session.touch("instance:i-db-04", "operation.failed", "provision db-04 failed: the key does not belong to this certificate", "error")
    session.touch("instance:i-mail-2", "instance.changed", "mail-2: disk-warning: data disk 88 % full", "warn")
    session.touch("instance:i-web-20", "operation.finished", "op1 provisioned web-20 in 38 s")
    session.snapshots = [i.SnapshotRecord("s-1", "i-web-21", "before the upgrade", False, 3 * GIB, NOW)]
    session.hosts = [
        host("kvm-01", location="zone-a/pod-a1/kvm-cluster-1"), host("kvm-02", location="zone-a/pod-a1/kvm-cluster-1", load=1.0),
        host("kvm-07", location="zone-a/pod-a2/kvm-cluster-2", connection_state="Disconnected", load=0.0, memory_used_bytes=GIB),
        host("kvm-17", location="zone-b/pod-b1/kvm-cluster-3", resource_state="PrepareForMaintenance", memory_used_bytes=14 * GIB, instances=2),
    ]  # fmt: skip
    return session


def calm() -> StubSession:
    """A fleet in which nothing is wrong and nothing runs."""
    said = (line(n, f"GET /catalogue/{n} 200", label=f"web-{n % 4:02}", phase="application") for n in range(1, 30))
    return StubSession().add(*(instance(f"web-{n:02}") for n in range(8)), *said)


async def find(pilot: Pilot[int], name: str) -> None:
    await press(pilot, "2", "slash")
    await type_in(pilot, name)
    await press(pilot, "enter", "enter")


async def lost(pilot: Pilot[int]) -> None:
    await press(pilot, "2")
    stub(pilot).go_away()
    await eventually(pilot, lambda: "no link since" in picture(pilot))


async def delete(pilot: Pilot[int]) -> None:
    await find(pilot, "new-1")
    await press(pilot, "colon")
    await type_in(pilot, "delete")
    await press(pilot, "enter")


def stub(pilot: Pilot[int]) -> StubSession:
    app = pilot.app
    assert isinstance(app, FleetApp) and isinstance(app.session, StubSession)
    return app.session


async def stale(pilot: Pilot[int]) -> None:
    """Two people edit the same label; a third field was changed by the other only."""
    await find(pilot, "web-20")
    await press(pilot, "e")
    await type_in(pilot, "b")
    stub(pilot).instances["i-web-20"] = replace(stub(pilot).instances["i-web-20"], label="web-20-old", version=2)
    await press(pilot, "ctrl+o")


async def unsaved(pilot: Pilot[int]) -> None:
    await find(pilot, "web-20")
    await press(pilot, "e")
    await type_in(pilot, "b")
    await press(pilot, "escape", "escape")


async def taken(pilot: Pilot[int]) -> None:
    """A new instance whose label there is already."""
    await press(pilot, "2", "n")
    await type_in(pilot, "web-20")
    await press(pilot, "enter")


async def typed(pilot: Pilot[int]) -> None:
    await delete(pilot)
    await type_in(pilot, "new-1")


async def line_of(pilot: Pilot[int], key: str, text: str) -> None:
    await press(pilot, "2", key)
    await type_in(pilot, text)


async def search(pilot: Pilot[int]) -> None:
    await press(pilot, "2", "d", "slash")
    await type_in(pilot, "disk")
    await press(pilot, "enter")


async def restore(pilot: Pilot[int]) -> None:
    await find(pilot, "web-20")
    stub(pilot).snapshots = [
        i.SnapshotRecord("s-1", "i-web-20", "before the upgrade", False, 3 * GIB, NOW),
        i.SnapshotRecord("s-2", "i-web-20", "", True, 3 * GIB, NOW - timedelta(days=1)),
    ]
    await press(pilot, "colon")
    await type_in(pilot, "restore")
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
    "unwell": lambda p: find(p, "mail-2"),
    "data": lambda p: press(p, "2", "G", "e", "escape", "escape", "enter", "right", "right", "right"),
    "no-snapshot": lambda p: press(p, "2", "e", "escape", "escape", "enter", "right", "right", "right"),
    "its-operations": lambda p: press(p, "2", "G", "o"),
    "no-operation": lambda p: press(p, "2", "o"),
    "its-log": lambda p: press(p, "2", "G", "enter", "l"),
    "log-full": lambda p: press(p, "2", "G", "enter", "l", "f"),
    "settings": lambda p: press(p, "2", "G", "e"),
    "settings-choice": lambda p: press(p, "2", "G", "e", "down"),
    "settings-options": lambda p: press(p, "2", "G", "e", "down", "enter"),
    "wrong": wrong,
    "stale": stale,
    "unsaved": unsaved,
    "operation": lambda p: press(p, "7", "enter"),
    "operation-failed": lambda p: press(p, "7", "j", "enter"),
    "operation-cancelled": lambda p: press(p, "7", "G", "enter"),
    "operation-cancelling": lambda p: press(p, "7", "enter", "K"),
    "zoomed": lambda p: press(p, "1", "f"),
    "zoomed-log": lambda p: press(p, "1", "tab", "f"),
    "zoomed-attention": lambda p: press(p, "1", "shift+tab", "shift+tab", "f"),
    "logs": lambda p: press(p, "2", "G", "l"),
    "describe": lambda p: press(p, "2", "d"),
    "raw": lambda p: press(p, "2", "y"),
    "search": search,
    "restore": restore,
    "filter": lambda p: line_of(p, "slash", "web"),
    "no-match": lambda p: line_of(p, "slash", "nothing like it"),
    "command": lambda p: line_of(p, "colon", "re"),
    "problems": lambda p: press(p, "2", "z"),
    "marked": lambda p: press(p, "2", "space", "space", "j", "v"),
    "wide": lambda p: press(p, "2", "w"),
    "help": lambda p: press(p, "2", "question_mark"),
    "menu": lambda p: press(p, "2", "x"),
    "palette": lambda p: press(p, "ctrl+p"),
    "confirm": lambda p: press(p, "2", "D"),
    "bulk": lambda p: press(p, "2", "asterisk", "D"),
    "delete": delete,
    "delete-typed": typed,
    "taken": taken,
    "create": lambda p: press(p, "2", "n"),
    "lost": lost,
}


def then(view: Callable[[Pilot[int]], Any], toast: bool = False) -> Callable[[Pilot[int]], Any]:
    """Go there and wait until all is painted."""

    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await view(pilot)
        await settled(pilot)
        if not toast:
            pilot.app.clear_notifications()
            await settled(pilot)

    return before


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_picture(snap_compare: Any, view: str, size: str) -> None:
    session = fleet()
    assert "NO_COLOR" not in os.environ
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=SIZES[size], run_before=then(VIEWS[view]))


STATES: dict[str, tuple[Callable[[], StubSession], str]] = {
    "first-start": (StubSession, "1"), "no-instances": (StubSession, "2"), "no-operations": (StubSession, "7"), "no-events": (StubSession, "9"),
    "calm": (calm, "1"), "read-only": (lambda: StubSession(read_only=True, simulated=True).add(instance("web-1")), "2"),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", STATES)
def test_another_fleet(snap_compare: Any, state: str, size: str) -> None:
    make, key = STATES[state]
    session = make()
    app = FleetApp(settings(), lambda: session, StillClock())
    assert snap_compare(app, terminal_size=SIZES[size], run_before=then(lambda p: press(p, key)))


@pytest.mark.parametrize("size", SIZES)
def test_no_daemon(snap_compare: Any, size: str) -> None:
    session = fleet()
    session.down = True
    app = FleetApp(settings(), lambda: session, StillClock())
    assert snap_compare(app, terminal_size=SIZES[size], run_before=then(lambda p: eventually(p, lambda: "no link" in picture(p))))


@pytest.mark.parametrize("size", SIZES)
def test_toasts(snap_compare: Any, size: str) -> None:
    """An accepted verb with its undo, and a refused one with its reason."""
    session = fleet()
    app = FleetApp(settings(), lambda: session, StillClock())
    assert snap_compare(app, terminal_size=SIZES[size], run_before=then(lambda p: press(p, "2", "S", "y", "2", "P"), toast=True))


def test_too_small_a_window(snap_compare: Any) -> None:
    session = fleet()
    app = FleetApp(settings(), lambda: session, StillClock())
    assert snap_compare(app, terminal_size=(50, 16), run_before=then(lambda p: press(p, "1")))


@pytest.mark.parametrize("view", ["dashboard", "instances", "starting", "confirm", "operation-failed"])
def test_half_a_screen(snap_compare: Any, view: str) -> None:
    """Between the two sizes: two columns."""
    session = fleet()
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=(120, 36), run_before=then(VIEWS[view]))


@pytest.mark.parametrize("view", ["dashboard", "failed", "menu", "wrong"])
@pytest.mark.parametrize("look", ["ascii", "light", "no-colour"])
def test_other_looks(snap_compare: Any, monkeypatch: pytest.MonkeyPatch, view: str, look: str) -> None:
    session = fleet()
    if look == "no-colour":
        monkeypatch.setenv("NO_COLOR", "1")
    elif look == "ascii":
        monkeypatch.setenv("FLEET_GLYPHS", "ascii")
    options = {"ascii": {"ascii": True}, "light": {"theme": "fleet-light"}, "no-colour": {"theme": "ansi-dark"}}[look]
    app = FleetApp(replace(settings(), **options), lambda: session, StillClock())
    assert snap_compare(app, terminal_size=SIZES["80x24"], run_before=then(VIEWS[view]))


@pytest.mark.parametrize("size", [(60, 12), (100, 30)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("pane", ["dashboard", "instances", "hosts", "operations", "events", "logs", "logs web-21"])
def test_pane(snap_compare: Any, pane: str, size: tuple[int, int]) -> None:
    session = fleet()
    app = pane_app(settings(), lambda: session, tuple(pane.split()), StillClock())
    shows = {"hosts": "kvm-01", "events": "provisioned", "instances": "app-00"}.get(pane, "web-21" if pane != "logs web-21" else "unpacking")
    assert snap_compare(app, terminal_size=size, run_before=then(lambda p: eventually(p, lambda: shows in picture(p))))


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
            await eventually(pilot, lambda: not app.screen.is_asking)
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

"""A key that is pressed before what it is for has come: kept for the record of a screen of one thing, told of in a list, never lost without a word."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from textual.pilot import Pilot

from fleet_tui.app import FleetApp
from fleet_tui.backend.identity import Role
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.screens import early
from tests.fleet_stub import StubSession, instance
from tests.screens.console import _send, console, eventually, front, picture, settled, toasts
from tests.screens.infrastructure import hosts_fleet


class Slow:
    """Over a stub, a session whose answers to some questions are held back until they are let go; what was submitted is done by then."""

    def __init__(self, stub: StubSession, *held: str) -> None:
        self._stub, self._held = stub, held
        self.go = threading.Event()
        self.asked = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    def fetch(self, request: Any) -> Any:
        self._hold(request)
        return self._stub.fetch(request)

    def submit(self, request: Any) -> Any:
        try:
            return self._stub.submit(request)
        finally:
            self._hold(request)

    def hold(self) -> None:
        """From now on, again."""
        self.asked.clear()
        self.go.clear()

    def _hold(self, request: Any) -> None:
        if type(request).__name__ in self._held:
            self.asked.set()
            assert self.go.wait(30.0)


HELD = ("ShowHost", "ShowVm", "ShowInstance", "ShowOperation", "ListVms", "ListInstances", "ListOfferings")


@pytest.fixture
def stub() -> StubSession:
    found = hosts_fleet(Role.ROOT_ADMIN)
    found.add(instance("web-1", "stopped"))
    return found


@pytest.fixture
def slow(stub: StubSession) -> Slow:
    return Slow(stub, *HELD)


async def opened(pilot: Pilot[int], slow: Slow, kind: str, ref: str) -> FleetApp:
    """At a screen whose record is on its way."""
    app = pilot.app
    assert isinstance(app, FleetApp)
    app.open(kind, ref)
    await eventually(pilot, slow.asked.is_set, "the record to be asked for")
    return app


def changes(stub: StubSession) -> list[Any]:
    return [call for call in stub.calls if isinstance(call, OperationRequest) and not call.dry_run]


async def pressed(pilot: Pilot[int], *keys: str) -> None:
    """Press, and wait until the screen has seen to it; what was asked of the daemon may still be on its way."""
    for key in keys:
        _send(pilot, key)
    app = pilot.app
    assert isinstance(app, FleetApp)

    def seen_to() -> bool:
        return app.turns.idle and all(pump.message_queue_size == 0 for pump in (app, *app.screen_stack, *app.screen.walk_children()))

    for _ in range(4):
        await eventually(pilot, seen_to)
        await pilot.pause()


@pytest.mark.parametrize(
    ("kind", "ref", "keys", "shown"),
    [
        ("host", "host:kvm-03", "e", "Edit kvm-03"), ("host", "host:kvm-03", "v", "hosts › kvm-03 › vms"), ("host", "host:kvm-03", "d", "› describe"),
        ("maintenance", "host:kvm-05", "M", "Take kvm-05 into maintenance"), ("maintenance", "host:kvm-17", "N", "Note on kvm-17"),
        ("maintenance", "host:kvm-17", "F", "forecast of kvm-17"), ("maintenance", "host:kvm-17", "y", "› raw"),
        ("vm", "vm:v-web-3", "S", "Stop web-3"), ("vm", "vm:v-web-3", "d", "web-3 › describe"),
        ("instance", "instance:i-web-1", "P", "Provision web-1"), ("operation", "operation:o-m", "K", "Cancel"),
    ],
)  # fmt: skip
async def test_a_key_waits_for_the_record(slow: Slow, kind: str, ref: str, keys: str, shown: str) -> None:
    async with console(slow) as pilot:
        await opened(pilot, slow, kind, ref)
        await pressed(pilot, keys)
        assert shown not in picture(pilot) + toasts(pilot)
        slow.go.set()
        await eventually(pilot, lambda: shown in picture(pilot) + toasts(pilot), shown)


async def test_the_first_key_is_done_and_once(slow: Slow, stub: StubSession) -> None:
    """What is typed ahead of a dialog does not run as verbs instead."""
    async with console(slow) as pilot:
        app = await opened(pilot, slow, "maintenance", "host:kvm-17")
        await pressed(pilot, "N", "N", "C", "T", "y", "e")
        slow.go.set()
        await eventually(pilot, lambda: "Note on kvm-17" in picture(pilot))
        await settled(pilot)
        assert len(app.screen_stack) == 3
        assert changes(stub) == []


async def test_who_went_away_is_not_followed(slow: Slow, stub: StubSession) -> None:
    async with console(slow) as pilot:
        await opened(pilot, slow, "vm", "vm:v-web-3")
        await pressed(pilot, "S", "escape")
        slow.go.set()
        await settled(pilot)
        assert front(pilot).KIND == "dashboard"
        assert not [call for call in stub.calls if isinstance(call, OperationRequest)]


async def test_what_was_pressed_for_one_is_not_done_to_another(slow: Slow, stub: StubSession) -> None:
    stub.add(instance("web-2", "stopped"))
    async with console(slow) as pilot:
        app = await opened(pilot, slow, "instance", "instance:i-web-1")
        await pressed(pilot, "S")
        app.open("instance", "instance:i-web-2")
        await pressed(pilot)
        slow.go.set()
        await settled(pilot)
        assert "› web-2" in picture(pilot) and "Stop" not in picture(pilot).splitlines()[0]
        assert len(app.screen_stack) == 2 and not [call for call in stub.calls if isinstance(call, OperationRequest)]


async def test_nothing_waits_for_what_there_is_not(slow: Slow) -> None:
    async with console(slow) as pilot:
        await opened(pilot, slow, "maintenance", "host:nowhere")
        await pressed(pilot, "M")
        slow.go.set()
        await eventually(pilot, lambda: "nowhere" in toasts(pilot))
        await settled(pilot)
        await pressed(pilot, "M")
        assert "the host is not known" in toasts(pilot)


async def test_a_wait_ends(slow: Slow, stub: StubSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "PATIENCE_S", 0.05)
    async with console(slow) as pilot:
        await opened(pilot, slow, "vm", "vm:v-web-3")
        await pressed(pilot, "S")
        await eventually(pilot, lambda: "still loading" in toasts(pilot))
        slow.go.set()
        await settled(pilot)
        assert not [call for call in stub.calls if isinstance(call, OperationRequest)]


@pytest.mark.parametrize(
    ("kind", "keys", "said"),
    [("vms", "S", "Stop / start: still loading"), ("vms", "m", "Migrate: still loading"), ("offerings", "d", "Describe: still loading"),
     ("vms", "enter", "Open: still loading")],
)  # fmt: skip
async def test_a_list_says_that_it_is_loading_and_does_nothing(slow: Slow, stub: StubSession, kind: str, keys: str, said: str) -> None:
    """Which row would be under the cursor, nobody knows yet."""
    async with console(slow) as pilot:
        await opened(pilot, slow, kind, "")
        await pressed(pilot, keys)
        assert said in toasts(pilot)
        slow.go.set()
        await settled(pilot)
        assert kind == front(pilot).KIND
        assert not [call for call in stub.calls if isinstance(call, OperationRequest)]


async def test_an_empty_list_that_has_come_is_not_said_to_be_loading(stub: StubSession) -> None:
    stub.vms.clear()
    async with console(stub) as pilot:
        app = pilot.app
        assert isinstance(app, FleetApp)
        app.open("vms", "")
        await settled(pilot)
        await pressed(pilot, "S", "d")
        assert "loading" not in toasts(pilot)

"""A dialog is left once: keys typed ahead and answers that come late find it gone, and take away no other screen."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fleet_tui.app import FleetApp
from fleet_tui.backend.identity import Role
from tests.fleet_stub import StubSession, instance
from tests.screens.console import _send, console, eventually, front, picture, press, settled, toasts, type_in
from tests.screens.infrastructure import hosts_fleet, ready


class Slow:
    """Over a stub, a session that holds each change back until it is let go."""

    def __init__(self, stub: StubSession) -> None:
        self._stub = stub
        self.go, self.sent = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    def submit(self, request: Any) -> Any:
        self.sent.set()
        assert self.go.wait(30.0)
        return self._stub.submit(request)


@pytest.fixture
def stub() -> StubSession:
    return ready(hosts_fleet(Role.ROOT_ADMIN)).add(instance("web-1", "running"))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("keys", "kind"),
    [(("2", "D"), "instances"), (("2", "x"), "instances"), (("2", "n"), "instances"), (("3", "e"), "hosts"),
     (("3", "slash", "=kvm-17", "enter", "m", "K"), "maintenance")],
)  # fmt: skip
async def test_a_dialog_left_twice_takes_nothing_else_away(stub: StubSession, keys: tuple[str, ...], kind: str) -> None:
    async with console(stub) as pilot:
        for key in keys:
            await (type_in(pilot, key[1:]) if key.startswith("=") else press(pilot, key))
        dialog: Any = pilot.app.screen
        for _ in range(2):
            dialog.action_leave() if hasattr(dialog, "action_leave") else dialog.action_answer(False)
        await settled(pilot)
        assert pilot.app.is_running and kind == front(pilot).KIND
        assert pilot.app.screen is front(pilot)


async def test_an_answer_that_comes_after_the_form_was_left(stub: StubSession) -> None:
    slow = Slow(stub)
    async with console(slow) as pilot:  # type: ignore[arg-type]
        await press(pilot, "3", "colon")
        await type_in(pilot, "new-zone")
        await press(pilot, "enter")
        await type_in(pilot, "oslo")
        _send(pilot, "ctrl+o")
        await eventually(pilot, slow.sent.is_set, "the request to be sent")
        _send(pilot, "escape")
        await eventually(pilot, lambda: "New zone" not in picture(pilot))
        slow.go.set()
        await settled(pilot)
        app = pilot.app
        assert isinstance(app, FleetApp) and app.is_running
        assert front(pilot).KIND == "hosts" and len(app.screen_stack) == 1
        assert "oslo" in toasts(pilot)

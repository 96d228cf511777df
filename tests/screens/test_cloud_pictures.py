"""Pictures of Cloud Setup, the expiry board and cloud images, reviewed by eye, at both sizes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from fleet_tui.app import FleetApp, pane_app
from fleet_tui.backend.errors import InvalidInput, PermissionDenied, Problem
from fleet_tui.backend.identity import Role
from tests.clouds_stub import BOARD, KEY, account, image, no_account
from tests.fleet_stub import StubSession, instance
from tests.screens.console import StillClock, eventually, picture, press, settings, settled, type_in
from tests.screens.test_clouds import boarded, line, with_orphans
from tests.screens.test_pictures import SIZES


@pytest.fixture(autouse=True)
def colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("FLEET_GLYPHS", "unicode")


DENIED = PermissionDenied(
    "AWS does not allow kms:Encrypt: User: arn:aws:iam::123456789012:user/fleet is not authorized to perform: kms:Encrypt on this resource",
    hint="allow kms:Encrypt in the policy of the site's role or user, then try again", field="aws_cmk_id",
)


def root(**fields: Any) -> StubSession:
    stub = StubSession(Role.ROOT_ADMIN).add(instance("web-20"))
    stub.account = account(**fields) if fields else no_account()
    return stub


def with_images() -> StubSession:
    stub = root()
    stub.images = [image("debian-12"), image("rocky-9", "lyon"), image("ubuntu-24.04")]
    return stub


def wrong() -> StubSession:
    stub = root()
    stub.aws_refuses = InvalidInput("no", problems=[
        Problem("region", "a region such as eu-west-1 is needed"), Problem("access_key_id", "an access key id is needed (16 or more capitals and digits)"),
        Problem("machine_type", "a machine type such as t3.medium"),
    ])  # fmt: skip
    return stub


def denied(**fields: Any) -> StubSession:
    stub = root(**fields)
    stub.aws_refuses = DENIED
    return stub


async def form(pilot: Pilot[int]) -> None:
    await line(pilot, "cloud")
    await press(pilot, "e")
    await eventually(pilot, lambda: "Try and save" in picture(pilot) and "Machine type" in picture(pilot))


async def filled(pilot: Pilot[int]) -> None:
    await form(pilot)
    await type_in(pilot, "Ireland")
    await press(pilot, "tab", "space", "space", "tab", "tab")
    await type_in(pilot, "short")
    await press(pilot, "tab")
    await type_in(pilot, "a secret that is typed")
    await press(pilot, "ctrl+o")
    await eventually(pilot, lambda: "✗" in picture(pilot))


async def was_tested(pilot: Pilot[int]) -> None:
    await line(pilot, "cloud")
    await press(pilot, "T")
    await eventually(pilot, lambda: "TRIED" in picture(pilot))


async def refused(pilot: Pilot[int]) -> None:
    await form(pilot)
    await press(pilot, *["tab"] * 6)
    await type_in(pilot, "-2")
    await press(pilot, "ctrl+o")
    await eventually(pilot, lambda: "Change the key" in picture(pilot))
    await press(pilot, "y")
    await eventually(pilot, lambda: "✗" in picture(pilot))


async def rewrap(pilot: Pilot[int]) -> None:
    await line(pilot, "cloud")
    await press(pilot, "R")
    await eventually(pilot, lambda: "Re-wrap every" in picture(pilot))


BEHIND = {KEY: 14, "master key": 2, "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-1111-2222-333344445555": 1}
async def removal(pilot: Pilot[int]) -> None:
    await line(pilot, "orphans")
    await press(pilot, "j")
    await line(pilot, "remove-orphan")


VIEWS: dict[str, tuple[Callable[[], StubSession], Callable[[Pilot[int]], Any]]] = {
    "cloud-empty": (root, lambda p: line(p, "cloud")),
    "cloud-form": (root, form),
    "cloud-wrong": (wrong, filled),
    "cloud": (lambda: root(version=3), lambda p: line(p, "cloud")),
    "cloud-behind": (lambda: root(sealed=BEHIND), lambda p: line(p, "cloud")),
    "cloud-moving": (lambda: root(sealed=BEHIND, rewrap_id="o-7f31"), lambda p: line(p, "cloud")),
    "cloud-rewrap": (lambda: root(sealed=BEHIND), rewrap),
    "cloud-tested": (lambda: root(version=3), was_tested),
    "cloud-denied": (lambda: denied(version=3), was_tested),
    "cloud-refused": (lambda: denied(version=3), refused),
    "certificates": (boarded, lambda p: line(p, "certificates")),
    "certificates-wide": (boarded, lambda p: _then(p, line(p, "certificates"), "w")),
    "orphans": (with_orphans, lambda p: line(p, "orphans")),
    "orphan-removed": (with_orphans, removal),
    "images": (with_images, lambda p: line(p, "images")),
}


async def _then(pilot: Pilot[int], before: Any, *keys: str) -> None:
    await before
    await press(pilot, *keys)


def at(view: Callable[[Pilot[int]], Any]) -> Callable[[Pilot[int]], Any]:
    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        await view(pilot)
        await settled(pilot)
        pilot.app.clear_notifications()
        await settled(pilot)

    return before


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_picture(snap_compare: Any, view: str, size: str) -> None:
    assert "NO_COLOR" not in os.environ
    make, go = VIEWS[view]
    session = make()
    assert snap_compare(FleetApp(settings(), lambda: session, StillClock()), terminal_size=SIZES[size], run_before=at(go))


@pytest.mark.parametrize("size", [(60, 12), (100, 16)], ids=["60x12", "100x16"])
def test_pane(snap_compare: Any, size: tuple[int, int]) -> None:
    session = StubSession()
    session.board = BOARD
    assert snap_compare(pane_app(settings(), lambda: session, ("certificates",), StillClock()), terminal_size=size, run_before=settled)

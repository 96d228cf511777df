"""What a key does to the fleet, and what it takes to do it."""

from __future__ import annotations

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend.identity import Role
from fleet_tui.backend.operations import CancelOperation, RetryOperation
from fleet_tui.screens.instance import InstanceScreen
from tests.fleet_stub import NOW, StubSession, instance, operation
from tests.screens.console import console, eventually, front, picture, press, settled, toasts, type_in


def sent(session: StubSession, kind: type) -> list[object]:
    return [call for call in session.calls if isinstance(call, kind) and not getattr(call, "dry_run", False)]


async def test_provision_is_sent_at_once_and_its_panel_opens() -> None:
    session = StubSession().add(instance("web-1", "new"))
    async with console(session) as pilot:
        await press(pilot, "2", "P")
        assert len(sent(session, i.ProvisionInstance)) == 1
        assert isinstance(front(pilot), InstanceScreen)
        assert "accepted · D deprovisions it" in toasts(pilot)
        seen = picture(pilot)
        assert "provisioning" in seen and "▲ validate" in seen and "log · web-1" in seen


async def test_what_disrupts_asks_and_its_own_key_does_not_confirm() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session) as pilot:
        await press(pilot, "2", "D")
        assert "Deprovision web-1?" in picture(pilot)
        assert "The data disk is kept" in picture(pilot)
        await press(pilot, "D")
        assert not sent(session, i.DeprovisionInstance)
        await press(pilot, "enter")
        assert not sent(session, i.DeprovisionInstance), "the focus is on cancel"
        await press(pilot, "D", "y")
        (request,) = sent(session, i.DeprovisionInstance)
        assert isinstance(request, i.DeprovisionInstance) and request.confirmed and request.request_id


async def test_what_destroys_asks_for_the_name() -> None:
    session = StubSession().add(instance("web-1", "new"))
    async with console(session) as pilot:
        await press(pilot, "2", "colon")
        await type_in(pilot, "delete")
        await press(pilot, "enter")
        assert "Type  web-1  to confirm" in picture(pilot)
        await type_in(pilot, "web-2")
        await press(pilot, "enter")
        assert not sent(session, i.DeleteInstance)
        await press(pilot, "backspace")
        await type_in(pilot, "1")
        await press(pilot, "enter")
        (request,) = sent(session, i.DeleteInstance)
        assert isinstance(request, i.DeleteInstance) and request.confirm == "web-1" and not request.keep_disk


async def test_what_is_ticked_is_said_as_it_would_be_then() -> None:
    session = StubSession().add(instance("web-1", "new"))
    async with console(session) as pilot:
        await press(pilot, "2", "colon")
        await type_in(pilot, "delete")
        await press(pilot, "enter")
        assert "The data disk is deleted" in picture(pilot)
        await press(pilot, "shift+tab", "shift+tab", "space")
        await eventually(pilot, lambda: "The data disk is kept" in picture(pilot) and "is deleted" not in picture(pilot))
        await press(pilot, "space")
        await eventually(pilot, lambda: "The data disk is deleted" in picture(pilot))
        await press(pilot, "space", "tab", "tab")
        await type_in(pilot, "web-1")
        await press(pilot, "enter")
        (request,) = sent(session, i.DeleteInstance)
        assert request.keep_disk and not request.keep_snapshots


async def test_what_would_change_is_said_beside_who_is_affected() -> None:
    session = StubSession().add(instance("web-1"))
    session.snapshots = [i.SnapshotRecord("s-1", "i-web-1", "by hand", False, 36_864, NOW)]
    async with console(session) as pilot:
        await press(pilot, "2", "colon")
        await type_in(pilot, "restore")
        await press(pilot, "enter", "enter")
        said = " ".join(picture(pilot).replace("│", " ").split())
        assert "set back to snapshot s-1" in said and "stops answering" in said


async def test_buttons_are_as_wide_as_what_they_say() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session) as pilot:
        await press(pilot, "2", "D")
        await press(pilot, "escape", "b")
        assert "Restart application [y]" in picture(pilot)


async def test_several_are_one_plan_with_its_refusals() -> None:
    session = StubSession().add(*(instance(f"web-{n}") for n in range(4)), instance("new-1", "new"))
    async with console(session) as pilot:
        await press(pilot, "2", "asterisk", "D")
        seen = picture(pilot)
        assert "Deprovision 4 instances?" in seen and "new-1: it is new" in seen
        await press(pilot, "y")
        assert len(sent(session, i.DeprovisionInstance)) == 4
        assert "4 accepted" in toasts(pilot)


async def test_what_cannot_be_done_says_why() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session) as pilot:
        await press(pilot, "2", "P")
        assert "web-1: it is running" in toasts(pilot)
        assert not sent(session, i.ProvisionInstance)


async def test_one_key_stops_and_starts() -> None:
    session = StubSession().add(instance("web-1", "stopped"))
    async with console(session) as pilot:
        await press(pilot, "2", "S")
        assert len(sent(session, i.StartInstance)) == 1


async def test_a_running_operation_is_cancelled_from_its_instance() -> None:
    session = StubSession().add(instance("web-1", "provisioning", operation_id="o-1"), operation("o-1", "web-1"))
    async with console(session) as pilot:
        await press(pilot, "2", "K")
        assert sent(session, CancelOperation) == [CancelOperation("o-1")]


async def test_what_is_done_again_is_confirmed_again() -> None:
    session = StubSession().add(operation("o-1", "web-1", "failed", kind="instance.restart-app", title="restart application"))
    async with console(session) as pilot:
        await press(pilot, "7", "T")
        seen = picture(pilot)
        assert "Retry web-1?" in seen
        assert "restart application web-1, as op1 asked for it" in seen
        assert not sent(session, RetryOperation)
        await press(pilot, "y")
        assert len(sent(session, RetryOperation)) == 1


async def test_what_destroys_asks_for_the_name_again() -> None:
    session = StubSession().add(operation("o-1", "web-1", "failed", kind="instance.delete", title="delete"))
    async with console(session) as pilot:
        await press(pilot, "7", "T")
        assert "Type  web-1  to confirm" in picture(pilot)
        await press(pilot, "y")
        assert not sent(session, RetryOperation)


@pytest.mark.parametrize("session", [StubSession(read_only=True), StubSession(Role.MONITOR)], ids=["read-only", "monitor"])
async def test_who_may_change_nothing_sends_nothing_by_any_key(session: StubSession) -> None:
    session.add(instance("new-1", "new"), instance("web-1", operation_id="o-1"), operation("o-1", "web-1"))
    async with console(session) as pilot:
        for mode in ("1", "2", "7"):
            await press(pilot, mode)
            for key in "nPDRSbpTOKe":
                await press(pilot, key)
                await press(pilot, mode)
        await press(pilot, "2", "colon")
        await type_in(pilot, "delete new-1")
        await press(pilot, "enter", "y")
        changing = [c for c in session.calls if type(c).__module__.endswith("instances") and isinstance(c, i.CreateInstance | i.EditInstance)]
        assert not changing
        assert not [c for c in session.calls if hasattr(c, "request_id")]


async def test_a_menu_dims_what_cannot_be_done_and_says_why() -> None:
    session = StubSession().add(instance("web-1"))
    async with console(session, (120, 40)) as pilot:
        await press(pilot, "2", "x")
        seen = picture(pilot)
        assert "Actions · web-1" in seen and "it is running; provision needs" in seen
        await type_in(pilot, "snapshot")
        await press(pilot, "enter")
        assert len(sent(session, i.SnapshotDisk)) == 1


async def test_the_line_works_on_a_name_that_is_not_on_screen() -> None:
    session = StubSession().add(instance("web-1", "new"), instance("web-2"))
    async with console(session) as pilot:
        await press(pilot, "9", "colon")
        await type_in(pilot, "provision web-1")
        await press(pilot, "enter")
        assert len(sent(session, i.ProvisionInstance)) == 1
        await press(pilot, "colon")
        await type_in(pilot, "frobnicate")
        await press(pilot, "enter")
        await settled(pilot)
        assert "'frobnicate' is no command" in toasts(pilot)

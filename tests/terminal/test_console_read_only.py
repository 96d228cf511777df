"""A read-only console, a monitor's, and the panes change nothing: by no key, verb, palette entry, paste, click or call on the socket.

A real daemon with something to spoil in every state; consoles that press everything there is; and then the daemon's own store and
audit, which must not know of any change, nor of one that was allowed.
"""

from __future__ import annotations

import asyncio
import os
import string
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from sqlalchemy import select, update
from textual.screen import ModalScreen

from fleet_tui import commands
from fleet_tui.actions import ACTIONS, SCREENS, forbidden
from fleet_tui.app import FleetApp
from fleet_tui.backend import instances as i
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.identity import ListAudit, PutUser, Role
from fleet_tui.backend.identity.rows import UserRow
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow, NetworkRow, SnapshotRow, TemplateRow
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.operations.rows import OperationRow, ScheduleRow
from fleet_tui.session import SocketSession
from tests.journeys.site import Site, site, tasks
from tests.screens.console import _send, settings
from tests.waiting import until

pytestmark = pytest.mark.slow

MONITOR_UID = 61234
ESC = "\x1b[27u"
KEPT = {
    InstanceRow: ("id", "label", "state", "settings", "pending", "version", "machine", "template_id", "network_id", "failed_stage"),
    OperationRow: ("id", "kind", "state", "user", "cancel_requested_by", "retry_of"),
    TemplateRow: ("id", "label", "application", "setup_actions", "version"), NetworkRow: ("id", "label"), ImageRow: ("id", "name", "version"),
    SnapshotRow: ("id", "reason"), ScheduleRow: ("name", "enabled", "every_s"), UserRow: ("name", "role", "uid", "display_name", "state"),
}  # fmt: skip
"""What only a change of a person's changes."""


@pytest.fixture(scope="module")
def ground() -> Iterator[Site]:
    """Something in every state: running, new, failed, and an operation that runs and one that can be retried."""
    with site(flags=("--site", "ground", "--socket-mode", "666")) as found:
        found.home.chmod(0o711)
        found.places.runtime.chmod(0o711)
        found.template("stuck", tasks("stuck", "sleep 600"))
        found.template("broken", tasks("broken", "exit 3"))
        for label, template in (("web", "hello"), ("idle", "hello"), ("broken", "broken"), ("stuck", "stuck")):
            found.create(label, template=template)
        began = {label: found.submit(i.ProvisionInstance(target=label)).id for label in ("web", "broken", "stuck")}
        found.call(PutUser("mona", Role.MONITOR, uid=MONITOR_UID))
        assert found.ended(began["web"]).state is OperationState.SUCCEEDED
        found.ended(began["broken"])
        found.do(i.SnapshotDisk(target="web", reason="to go back to"))
        until(lambda: found.show("stuck").agent.phase == "actions:before_install")
        yield found


@contextmanager
def untouched(ground: Site) -> Iterator[None]:
    """Nothing is changed while the block runs, and the daemon allowed nothing that could have."""
    before, seq = picture(ground), last_audit(ground)
    yield
    assert picture(ground) == before
    allowed = [r for r in ground.call(ListAudit(limit=10_000)) if r.seq > seq and not r.decision.startswith("denied")]
    assert {r.action for r in allowed} <= {"session.open", "session.make_read_only"}


def picture(ground: Site) -> dict[str, list[tuple[Any, ...]]]:
    with ground.store().read() as tx:
        tables = {table.__tablename__: [tuple(getattr(row, name) for name in names) for row in tx.scalars(select(table))] for table, names in KEPT.items()}
        told = tx.scalars(select(EventRow.text).where(EventRow.text != "", EventRow.type.not_like("host.%"))).all()
    return {**{name: sorted(rows, key=repr) for name, rows in tables.items()}, "events": [(text,) for text in told]}


def last_audit(ground: Site) -> int:
    found = ground.call(ListAudit(limit=1))
    return found[0].seq if found else 0


def denied(ground: Site, since: int) -> list[str]:
    return [r.decision for r in ground.call(ListAudit(limit=10_000)) if r.seq > since and r.decision.startswith("denied")]


# --- everything there is to press, in one process with the real session -----------------------------------------------

KEYS = [
    *string.printable[:95], *(f"ctrl+{c}" for c in string.ascii_lowercase), *(f"f{n}" for n in range(1, 13)), "enter", "tab", "shift+tab", "backspace",
    "delete", "insert", "up", "down", "left", "right", "home", "end", "pageup", "pagedown", "escape", "ctrl+up", "ctrl+down", "shift+up", "shift+down",
    "ctrl+enter", "alt+enter", *(f"alt+{c}" for c in string.ascii_lowercase), "ctrl+underscore", "ctrl+at",
]  # fmt: skip


class Everything:
    """Presses everything on every screen of one console, and finds its way home after each thing."""

    def __init__(self, app: FleetApp, pilot: Any, ground: Site) -> None:
        self.app, self.pilot, self.ground = app, pilot, ground
        self.said: list[str] = []
        self.quits = 0
        operations = {op.target: op.id for op in ground.operations() if op.kind == "instance.provision"}
        ids = {row.label: row.id for row in ground.call(i.ListInstances()).instances}
        record = ground.show("web")
        self.homes: list[tuple[str, str, dict[str, Any]]] = [
            *((kind, "", {}) for kind in ("dashboard", "instances", "hosts", "operations", "events")),
            *(("instance", f"instance:{ids['web']}", {"tab": tab}) for tab in ("overview", "settings", "data", "operations", "logs")),
            *(("instance", f"instance:{ids[label]}", {"tab": "overview"}) for label in ("idle", "broken", "stuck")),
            *(("operation", f"operation:{operations[label]}", {}) for label in ("stuck", "broken")),
            ("logs", f"instance:{ids['web']}", {}), ("detail", f"instance:{ids['web']}", {"record": record, "title": "web"}),
        ]  # fmt: skip
        app.notify = lambda message, **_named: self.said.append(message)  # type: ignore[method-assign, assignment]
        app.exit = lambda *_arguments, **_named: self._quit()  # type: ignore[method-assign, assignment]

    def _quit(self) -> None:
        self.quits += 1

    async def calm(self) -> None:
        """Until no message waits anywhere: what was pressed has had its effect here, if not yet in the daemon."""
        still = 0
        deadline = time.monotonic() + 20.0
        while still < 2:
            assert time.monotonic() < deadline
            pumps = [self.app, *self.app.screen_stack, *self.app.screen.walk_children()]
            still = still + 1 if all(pump.message_queue_size == 0 for pump in pumps) else 0
            await asyncio.sleep(0.001)

    async def answered(self) -> None:
        """And until the daemon has answered everything that was asked."""
        deadline = time.monotonic() + 20.0
        while not self.app.errands.idle or self.app.drain_waits:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        await self.calm()

    async def press(self, *keys: str) -> None:
        for key in keys:
            _send(self.pilot, key)
            await self.calm()

    async def say_yes(self) -> None:
        """Confirm whatever asks, and get out of the rest."""
        for _ in range(4):
            if isinstance(self.app.screen, ModalScreen):
                await self.press("y", "enter")
            if isinstance(self.app.screen, ModalScreen):
                await self.press("escape")
        front = self.app.screen
        if front.query("#prompt") and front.query_one("#prompt").display:
            await self.press("escape")

    async def home(self, kind: str, ref: str, options: dict[str, Any]) -> None:
        await self.say_yes()
        screen: Any = self.app.screen
        if (getattr(screen, "KIND", ""), screen.ref, getattr(screen, "tab", "")) == (kind, ref, options.get("tab", getattr(screen, "tab", ""))):
            return
        for _ in range(3):
            if kind in self.app.roots:
                self.app.go(kind)
            else:
                self.app.open(kind, ref, **options)
            await self.calm()
            await self.say_yes()
            if getattr(self.app.screen, "KIND", "") == kind:
                return
        raise AssertionError(f"cannot get back to {kind}; at {self.app.screen}")

    async def each_key(self) -> None:
        for place in self.homes:
            await self.home(*place)
            await self.answered()
            for key in KEYS:
                await self.press(key)
                await self.home(*place)

    async def each_word(self) -> None:
        """Every word of the ``:`` line, bare and with names."""
        for place in self.homes[:2]:
            for word in commands.words():
                for line in (word, f"{word} web", f"{word} idle broken stuck"):
                    await self.home(*place)
                    self.app.screen.run_line(line)  # type: ignore[attr-defined]
                    await self.calm()
        await self.answered()

    async def each_entry(self) -> None:
        """Every entry of the palette, the menu and the keys, found by its title and chosen with enter."""
        for place in self.homes:
            kind = place[0]
            await self.home(*place)
            await self.answered()
            for opener in ("ctrl+p", "x", "question_mark"):
                await self.press(opener)
                if not isinstance(self.app.screen, ModalScreen):
                    continue
                for item in [item for item in self.app.screen.items if ACTIONS[item.value].mutates]:  # type: ignore[attr-defined]
                    await self.home(*place)
                    await self.press(opener)
                    self.app.screen.query_one("#search").value = item.title  # type: ignore[attr-defined]
                    await self.calm()
                    await self.press("down", "enter")
            assert kind in SCREENS

    async def each_action(self) -> None:
        for place in self.homes:
            for action in ACTIONS.values():
                if action.kind == "verb":
                    await self.home(*place)
                    self.app.screen.perform(action)  # type: ignore[attr-defined]
                    await self.answered()


@asynccontextmanager
async def sitting(ground: Site, *, read_only: bool) -> AsyncIterator[Everything]:
    """A console in this process, with the real session over the real socket."""
    app = FleetApp(settings(), lambda: SocketSession(ground.socket(), read_only=read_only))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        deadline = time.monotonic() + 30.0
        while app.session is None or app.pulse.summary is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        yield Everything(app, pilot, ground)


@contextmanager
def role_of_this_user(ground: Site, role: Role) -> Iterator[None]:
    """The user who started the daemon holds another role meanwhile; what the test asks of the daemon, it asks as somebody else."""
    with ground.store().write() as tx:
        tx.execute(update(UserRow).where(UserRow.uid == os.getuid()).values(role=role.value))
    try:
        yield
    finally:
        with ground.store().write() as tx:
            tx.execute(update(UserRow).where(UserRow.uid == os.getuid()).values(role=Role.ROOT_ADMIN.value))


async def everything(ground: Site, *, read_only: bool) -> Everything:
    async with sitting(ground, read_only=read_only) as all_:
        await all_.each_key()
        await all_.each_word()
        await all_.each_entry()
        await all_.each_action()
        await all_.answered()
        record = all_.app.record
        assert record is not None and record.read_only is read_only
        mutating = [action for action in ACTIONS.values() if action.mutates]
        assert [action.id for action in mutating if not forbidden(action, record)] == []
        return all_


async def test_a_read_only_console_of_a_root_admin(ground: Site) -> None:
    with untouched(ground):
        all_ = await everything(ground, read_only=True)
    assert "Provision idle: this console is read-only" in all_.said
    assert all_.quits > 0


async def test_a_monitors_console(ground: Site) -> None:
    with untouched(ground):
        with role_of_this_user(ground, Role.MONITOR):
            all_ = await everything(ground, read_only=False)
    assert "Provision idle: the role monitor may not" in all_.said


async def test_a_console_that_forgot_its_manners(ground: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own refusals taken away, every verb goes out, is confirmed, and is refused by the daemon."""
    monkeypatch.setattr("fleet_tui.actions.forbidden", lambda _action, _session: "")
    monkeypatch.setattr("fleet_tui.actions.is_hidden", lambda _action, _session: False)
    since = last_audit(ground)
    with untouched(ground):
        async with sitting(ground, read_only=True) as all_:
            await all_.each_action()
            await all_.answered()
    refused = denied(ground, since)
    assert len(refused) > 10
    assert set(refused) == {"denied: read-only session"}
    assert any("read-only" in text for text in all_.said)

"""A read-only console, a monitor's, and the panes change nothing: by no key, verb, palette entry, paste, click or call on the socket.

A real daemon with something to spoil in every state; consoles that press everything there is; and then the daemon's own store and
audit, which must not know of any change, nor of one that was allowed.
"""

from __future__ import annotations

import os
import string
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from textual.screen import ModalScreen

from fleet_tui import commands
from fleet_tui.actions import ACTIONS, bindings_of, forbidden
from fleet_tui.app import FleetApp
from fleet_tui.backend import instances as i
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.api.client import Client
from fleet_tui.backend.errors import FleetError, ReadOnly
from fleet_tui.backend.events.rows import EventRow
from fleet_tui.backend.identity import ListAudit, Permission, PutUser, Role
from fleet_tui.backend.identity.rows import SessionRow, UserRow
from fleet_tui.backend.instances.rows import ImageRow, InstanceRow, NetworkRow, SnapshotRow, TemplateRow
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.operations.rows import OperationRow, ScheduleRow
from fleet_tui.session import SocketSession
from tests import waiting
from tests.doors import example
from tests.journeys.site import ROOT, Site, site, tasks
from tests.screens.console import _send, settings
from tests.terminal.terminal import Terminal
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


def denied(ground: Site, since: int) -> dict[str, set[str]]:
    """Rule -> methods it refused, since then."""
    found: dict[str, set[str]] = {}
    for record in ground.call(ListAudit(limit=10_000)):
        if record.seq > since and record.decision.startswith("denied"):
            found.setdefault(record.decision.removeprefix("denied: "), set()).add(record.action)
    return found


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
        with ground.store().read() as tx:  # whom the console belongs to may not be allowed to ask
            template = tx.scalars(select(TemplateRow.id).where(TemplateRow.label == "broken")).one()
            network = tx.scalars(select(NetworkRow.id).where(NetworkRow.label == "local")).one()
        self.homes: list[tuple[str, str, dict[str, Any]]] = [
            *((kind, "", {}) for kind in ("dashboard", "instances", "hosts", "operations", "events")),
            *(("instance", f"instance:{ids['web']}", {"tab": tab}) for tab in ("overview", "settings", "ssl", "data", "setup")),
            ("operation", f"operation:{operations['stuck']}", {}),
            ("templates", "", {}), ("template", f"template:{template}", {}), ("vnet", f"virtual-network:{network}", {}),
            ("logs", f"instance:{ids['web']}", {}), ("detail", f"instance:{ids['web']}", {"record": record, "title": "web"}),
        ]  # fmt: skip
        self.lists = [home for home in self.homes if home[0] in ("instances", "instance", "operation", "template", "vnet") and home[2].get("tab") != "settings"]
        app.notify = lambda message, **_named: self.said.append(message)  # type: ignore[method-assign, assignment]
        app.exit = lambda *_arguments, **_named: self._quit()  # type: ignore[method-assign, assignment]

    def _quit(self) -> None:
        self.quits += 1

    async def calm(self) -> None:
        """Until no message waits anywhere: what was pressed has had its effect here, if not yet in the daemon."""

        def quiet() -> bool:
            pumps = [self.app, *self.app.screen_stack, *self.app.screen.walk_children()]
            return self.app.turns.idle and all(pump.message_queue_size == 0 for pump in pumps)

        await waiting.calm(quiet, 2, pause_s=0.001)

    async def answered(self) -> None:
        """And until the daemon has answered everything that was asked."""
        await waiting.eventually(lambda: self.app.errands.idle and not self.app.drain_waits)
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

    async def each_key(self, most: int) -> None:
        """Keys that mean the same everywhere, and change nothing but the view, on the first screen only."""
        everywhere = {key for key, action in bindings_of("dashboard").items() if action.scope == "global"}
        for place in self.homes[:most]:
            await self.home(*place)
            await self.answered()
            for key in KEYS if place is self.homes[0] else [key for key in KEYS if key not in everywhere]:
                await self.press(key)
                await self.home(*place)

    async def each_word(self) -> None:
        """Every word of the ``:`` line; verbs also with the names of what they could work on."""
        for word, action in commands.words().items():
            if action.id == "global.read-only":
                continue  # it would hide whatever comes after it
            for line in (word, f"{word} web", f"{word} idle broken stuck") if action.kind == "verb" else (word,):
                await self.home(*self.homes[1])
                self.app.screen.run_line(line)  # type: ignore[attr-defined]
                await self.calm()
        await self.answered()

    async def each_entry(self) -> None:
        """Every entry of the palette and the menu that changes anything, found by its title and chosen with enter."""
        for place in self.lists:
            for opener in ("ctrl+p", "x"):
                await self.home(*place)
                await self.answered()
                await self.home(*place)  # an answer that was on its way may have led elsewhere
                await self.press(opener)
                dialog: Any = self.app.screen
                if opener == "x" and self.said[-1].startswith("nothing can be done here"):
                    continue  # whose role may not even read it
                assert isinstance(dialog, ModalScreen)
                for item in [item for item in dialog.items if ACTIONS[item.value].mutates]:  # type: ignore[attr-defined]
                    assert item.why_not
                    if self.app.screen is not dialog:
                        await self.press(opener)
                    dialog.query_one("#search").value = item.title  # type: ignore[attr-defined]
                    await self.calm()
                    await self.press("down", "enter")

    async def the_form(self) -> None:
        """Settings typed over and saved."""
        place = next(home for home in self.homes if home[2].get("tab") == "settings")
        await self.home(*place)
        await self.answered()
        self.app.screen.settings.form.focus_first()  # type: ignore[attr-defined]
        await self.press("z", "z", "ctrl+o")
        await self.answered()
        await self.press("escape")
        await self.say_yes()

    async def each_action(self) -> None:
        """Every verb by its own name, past keys and lists."""
        for place in self.lists:
            for action in ACTIONS.values():
                if action.kind == "verb":
                    await self.home(*place)
                    self.app.screen.perform(action)  # type: ignore[attr-defined]
                    await self.answered()  # the next question of its kind would replace one that has not been asked yet
            await self.say_yes()


@asynccontextmanager
async def sitting(ground: Site, *, read_only: bool, make: Callable[..., Any] = Everything) -> AsyncIterator[Any]:
    """A console in this process, with the real session over the real socket; gives what ``make`` makes of it."""
    app = FleetApp(settings(), lambda: SocketSession(ground.socket(), read_only=read_only))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await waiting.eventually(lambda: app.session is not None and app.pulse.summary is not None)
        with app.batch_update():  # nobody looks
            yield make(app, pilot, ground)


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


async def everything(ground: Site, *, read_only: bool, screens: int = 99) -> Everything:
    async with sitting(ground, read_only=read_only) as all_:
        await all_.each_key(screens)
        await all_.each_word()
        await all_.each_entry()
        await all_.the_form()
        await all_.each_action()
        await all_.answered()
        record = all_.app.record
        assert record is not None and record.read_only is read_only
        mutating = [action for action in ACTIONS.values() if action.mutates]
        assert [action.id for action in mutating if not forbidden(action, record)] == []
        return all_


async def test_a_read_only_console_of_a_root_admin(ground: Site) -> None:
    since = last_audit(ground)
    with untouched(ground):
        all_ = await everything(ground, read_only=True)
    assert denied(ground, since).get("read-only session", set()) <= {"instances.edit"}  # the form may ask the daemon; all else is refused here
    assert "Provision idle: this console is read-only" in all_.said
    assert all_.quits > 0


async def test_a_monitors_console(ground: Site) -> None:
    with untouched(ground):
        with role_of_this_user(ground, Role.MONITOR):
            all_ = await everything(ground, read_only=False, screens=2)
    assert "Provision idle: the role monitor may not" in all_.said


async def test_a_console_that_forgot_its_manners(ground: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own refusals taken away, every verb goes out, is confirmed, and is refused by the daemon."""
    monkeypatch.setattr("fleet_tui.actions.forbidden", lambda _action, _session, _row=None: "")
    monkeypatch.setattr("fleet_tui.actions.is_hidden", lambda _action, _session, _row=None: False)
    since = last_audit(ground)
    with untouched(ground):
        async with sitting(ground, read_only=True) as all_:
            await all_.each_action()
            await all_.answered()
    refused = denied(ground, since)
    assert set(refused) == {"read-only session"}
    assert refused["read-only session"] >= {"instance.deprovision", "instance.stop", "instance.snapshot", "operations.cancel", "instances.create"}
    assert any("read-only" in text for text in all_.said)


# --- real consoles in terminals of their own --------------------------------------------------------------------------

PASTE = "\x1b[200~{}\x1b[201~".format
VERBS = "PDRSbpOKTe"
PRINTABLE = "".join(c for c in string.printable[:94] if c not in "q:/x?123456789[]-nl")
"""Without those that open something or lead elsewhere: the test above presses them one by one."""
CONTROL = "".join(chr(n) for n in range(1, 27) if chr(n) not in "\x03\x10")


def clicks(columns: int, lines: int) -> Iterator[str]:
    """Presses, releases and double clicks of the left button all over the screen, and the wheel."""
    for line in range(1, lines + 1):
        for column in range(3 + line % 2 * 13, columns, 26):
            yield f"\x1b[<0;{column};{line}M\x1b[<0;{column};{line}m" * 2
    yield "\x1b[<64;10;10M\x1b[<65;10;10M"


@contextmanager
def terminal_of(ground: Site, *words: str, uid: int | None = None) -> Iterator[Terminal]:
    start = [str(Path(__file__).with_name("console_as.py")), str(uid)] if uid else ["-m", "fleet_tui"]
    environ = {"HOME": str(ground.home), "FLEET_HOME": "", "FLEET_SITE": "", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    terminal = Terminal([sys.executable, *start, "--site", str(ground.socket()), "--no-start", *words], (80, 24), **environ)
    try:
        yield terminal
    finally:
        terminal.close()


def escape(terminal: Terminal) -> None:
    """Out of every dialog and line, and no further."""
    terminal.settle(0.1)
    for _ in range(5):
        if "┌" not in terminal.text and not any(line.startswith(" :") for line in terminal.text.splitlines()):
            return
        before = terminal.text
        terminal.press(ESC)
        for _ in range(30):  # one too many would lead out of the screen behind it, and in the end out of the console
            terminal.settle(0.1)
            if terminal.text != before:
                break


def assault(terminal: Terminal) -> None:
    """Keys, confirmations, pastes, words and clicks on the screens that matter."""
    for place, shown in (("2", "› instances"), ("7", "› operations"), ("1", "ATTENTION|OPERATIONS|nothing needs")):
        escape(terminal)
        terminal.press(place)
        terminal.wait_for(shown)
        for key in VERBS:
            terminal.press(key, "y") if place != "1" else terminal.press(key)
            escape(terminal)
        terminal.press("*", VERBS)
        escape(terminal)
        terminal.press(place, PRINTABLE, CONTROL)
        escape(terminal)
        terminal.press(place, PASTE(VERBS), PASTE(":delete web\r:provision idle\r"), PASTE("\x04\x10delete\r"))
        escape(terminal)
        terminal.press(place, *clicks(80, 24))
        escape(terminal)
    terminal.press("2")
    terminal.wait_for("› instances")
    for line in ("delete idle", "provision idle", "stop web", "deprovision web broken stuck", "cancel stuck", "retry broken", "restore web", "new"):
        for typed in (line, PASTE(f"{line}\nprovision idle")):
            terminal.press(":")
            terminal.wait_for("(?m)^ :")
            terminal.press(typed, "\r")
            escape(terminal)


def test_a_read_only_console_in_a_terminal(ground: Site) -> None:
    since = last_audit(ground)
    with untouched(ground), terminal_of(ground, "--read-only") as terminal:
        terminal.wait_for("READ-ONLY(.|\n)*web(.|\n)*idle|READ-ONLY(.|\n)*idle(.|\n)*web")
        terminal.press("2")
        terminal.wait_for("› instances(.|\n)*broken")
        terminal.press("P")
        terminal.wait_for(r"this\W+console\W+is\W+read-only")
        terminal.press("x")
        terminal.wait_for("NOT NOW(.|\n)*this console is read-only")
        escape(terminal)
        session = newest_session(ground)
        assert session.read_only
        direct_calls(ground, session.id, ReadOnly)
        assault(terminal)
        terminal.press("2")
        terminal.wait_for("› instances")  # toasts of the refusals may still cover the header
    assert set(denied(ground, since)) == {"read-only session"}


def newest_session(ground: Site) -> SessionRow:
    with ground.store().read() as tx:
        row = tx.scalars(select(SessionRow).order_by(SessionRow.opened_at.desc()).limit(1)).one()
        tx.expunge(row)
        return row


def direct_calls(ground: Site, session: str, refusal: type[FleetError]) -> None:
    """Every method that does not read, called on the socket in a session that a console holds, with real targets."""
    client = Client(ground.socket(), with_session=False)
    client._session_id = lambda: session  # type: ignore[method-assign]
    for method in METHODS.values():
        if method.read or method.permission is Permission.AGENT:
            continue
        request = example(method.request)
        for name, value in {"target": "idle", "label": "spare", "name": "mona", "confirm": "idle", "confirmed": True}.items():
            if hasattr(request, name):
                request = replace(request, **{name: value})
        with pytest.raises(refusal):
            client.call(request)
    client.close()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another operating-system user")
def test_a_monitors_console_in_a_terminal(ground: Site) -> None:
    since = last_audit(ground)
    with untouched(ground), terminal_of(ground, uid=MONITOR_UID) as terminal:
        terminal.wait_for("mona monitor(.|\n)*web")
        terminal.press("2")
        terminal.wait_for("› instances(.|\n)*broken")
        terminal.press("P")
        terminal.wait_for(r"the\W+role\W+monitor\W+may\W+not")
        terminal.press("x")
        assert "│ P " not in terminal.wait_for("Actions ·(.|\n)*│ l ")
        assault(terminal)
        terminal.press("2")
        terminal.wait_for("› instances")
        assert newest_session(ground).user == "mona"
    assert all(rule.startswith("role monitor has no ") for rule in denied(ground, since))


@pytest.mark.parametrize("pane", ["dashboard", "instances", "operations", "logs web"])
def test_panes(ground: Site, pane: str) -> None:
    with untouched(ground), terminal_of(ground, "pane", *pane.split()) as terminal:
        terminal.wait_for("READ-ONLY|log")
        terminal.wait_for("web|start")
        assert newest_session(ground).read_only
        terminal.press(VERBS, string.printable[:94].replace("q", ""), CONTROL, "\r", PASTE(":delete idle\r"), *clicks(80, 24))
        terminal.settle(0.2)
        assert terminal.is_alive
        assert "┌" not in terminal.text


def test_read_only_is_for_good(ground: Site) -> None:
    """Given up from within, kept over a daemon that goes away and comes back."""
    with terminal_of(ground) as terminal:
        terminal.wait_for("root-admin(.|\n)*web")
        assert not newest_session(ground).read_only
        terminal.press("2")
        terminal.wait_for("› instances(.|\n)*broken")
        terminal.press(":")
        terminal.wait_for("(?m)^ :")
        terminal.press("read-only\r")
        terminal.wait_for("READ-ONLY")
        given_up = newest_session(ground)
        assert given_up.read_only
        with untouched(ground):
            direct_calls(ground, given_up.id, ReadOnly)
            ground.kill()
            terminal.wait_for("no link")
            terminal.wait_for("link ok")
            assert "READ-ONLY" in terminal.text
            until(lambda: newest_session(ground).id != given_up.id)
            assert newest_session(ground).read_only
            terminal.press("P")
            terminal.wait_for(r"this\W+console\W+is\W+read-only")

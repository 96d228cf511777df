"""Everything a person can do, one row each; nothing else in the interface names a key or a verb.

The footer, ``?``, the ``x`` menu, the palette, the ``:`` line and ``fleet keys`` are all read from here. Danger and permission
come from the method table of the door, so the console cannot disagree with the daemon about them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fleet_tui.backend import instances as i
from fleet_tui.backend import operations as o
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.identity import SessionRecord
from fleet_tui.backend.instances.states import InstanceState, refusal

RESERVED = frozenset({f"ctrl+{key}" for key in "abcdhijkmqswz"} | {"ctrl+left_square_bracket", "ctrl+backslash"})
"""Keys that terminals, multiplexers and shells own; never bound here, and refused in a key map (with every alt+letter)."""

Reason = Callable[[Any], str]
Request = Callable[[Any, str], Any]


def _free(_row: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a person can do.

    ``request`` makes the record that is sent, from the row and a request id; an action without one is carried out by the screen
    itself (a view, or a form that makes the request). ``reason`` says why not now, from the row's state alone.
    """

    id: str
    title: str
    scope: str
    keys: tuple[str, ...] = ()
    kind: str = "view"
    """``go`` to a screen, ``view`` what is here, ``verb`` that changes the fleet."""
    method: str = ""
    request: Request | None = None
    tooltip: str = ""
    undo_text: str = ""
    reason: Reason = _free
    words: tuple[str, ...] = ()
    """What it is called on the ``:`` line, the first first."""
    aims: str = ""
    """Kind of record it works on: ``instance``, ``operation``; empty for none."""
    bulk: bool = False
    also: tuple[str, ...] = ()
    """Ids of the actions this key stands for; the one allowed now is done (``S`` stops or starts)."""

    @property
    def danger(self) -> str:
        return METHODS[self.method].danger if self.method else "safe"

    @property
    def permission(self) -> str:
        return METHODS[self.method].permission.value if self.method else ""

    @property
    def mutates(self) -> bool:
        return bool(self.method) and not METHODS[self.method].read


def _move(action: str) -> Reason:
    def why(row: Any) -> str:
        if row is None:
            return "no instance is selected"
        return refusal(action, row.state, row.failed_stage, row.machine is not None)

    return why


def _instance(row: Any) -> str:
    return "no instance is selected" if row is None else ""


def _busy_instance(row: Any) -> str:
    return _instance(row) or ("" if row.operation_id else "nothing is running on it")


def _cancellable(row: Any) -> str:
    if row is None:
        return "no operation is selected"
    return f"it has ended: {row.state.value}" if row.state.is_final else ""


def _retryable(row: Any) -> str:
    if row is None:
        return "no operation is selected"
    return "" if row.state in (o.OperationState.FAILED, o.OperationState.CANCELLED) else f"it is {row.state.value}"


def _op(request: Callable[..., Any]) -> Request:
    return lambda row, request_id: request(target=row.id, request_id=request_id)


def _verb(
    name: str, title: str, keys: str, request: Callable[..., Any], tooltip: str, *, undo: str = "", word: str = ""
) -> Action:
    """A life-cycle verb of an instance; its name is that of its method."""
    return Action(
        f"instance.{name}", title, "instance", tuple(keys), "verb", f"instance.{name}", _op(request), tooltip,
        undo, _move(name), (word or name,), "instance", bulk=True,
    )  # fmt: skip


def _go(name: str, title: str, key: str, *words: str) -> Action:
    return Action(f"go.{name}", title, "global", (key,), "go", tooltip=f"go to {title}", words=(name, *words))


def _view(id_: str, title: str, keys: str, tooltip: str, *, words: tuple[str, ...] = (), aims: str = "") -> Action:
    return Action(id_, title, id_.partition(".")[0], tuple(keys.split()), "view", tooltip=tooltip, words=words, aims=aims)


_GLOBAL = (
    _go("dashboard", "Dashboard", "1", "home"),
    _go("instances", "Instances", "2", "instance"),
    _go("hosts", "Hosts", "3", "host"),
    _go("operations", "Operations", "7", "ops"),
    _go("events", "Events", "9", "event"),
    _view("global.back", "Back", "escape q", "back one thing; q quits at the root"),
    _view("global.help", "Keys", "?", "keys of this screen, searchable and runnable", words=("help", "keys")),
    _view("global.menu", "Actions", "x", "what can be done with the selection, and why not", words=("actions",)),
    _view("global.command", "Command line", ":", "type a kind, a verb or a name"),
    _view("global.palette", "Palette", "ctrl+p", "every action by name", words=("palette",)),
    _view("global.refetch", "Fetch again", "ctrl+r", "ask the daemon again for what is shown", words=("refetch", "refresh")),
    _view("global.previous", "Back in history", "[", "the view before this one", words=("back",)),
    _view("global.next", "Forward in history", "]", "the view after this one", words=("forward",)),
    _view("global.last", "Last view", "-", "swap with the view before", words=("last",)),
    _view("global.theme", "Next theme", "", "dark, light, high contrast, terminal's own", words=("theme",)),
    _view("global.quit", "Quit", "", "leave; what runs goes on", words=("quit", "q", "exit")),
    Action("global.read-only", "Make this session read-only", "global", (), "view", "session.make_read_only",
           tooltip="this console can change nothing any more; there is no way back", words=("read-only",)),
)  # fmt: skip

_MOVE = (
    _view("move.down", "Down", "j down", "a row or line down"),
    _view("move.up", "Up", "k up", "a row or line up"),
    _view("move.top", "Top", "g home", "the first"),
    _view("move.bottom", "Bottom", "G end", "the last; in logs, follow again"),
    _view("move.page-down", "Page down", "pagedown", "a page on"),
    _view("move.page-up", "Page up", "pageup", "a page back"),
)

_LIST = (
    _view("list.open", "Open", "enter", "go in", words=("open",)),
    _view("list.filter", "Filter", "/", "as typed; ! not, state:x, kind:y", words=("filter",)),
    _view("list.mark", "Mark", "space", "mark this row for a bulk verb"),
    _view("list.range", "Mark range", "v", "mark from the last mark to here"),
    _view("list.mark-all", "Mark all filtered", "*", "mark every row the filter shows"),
    _view("list.sort-left", "Sort by column left", "<", "sort by the column to the left"),
    _view("list.sort-right", "Sort by column right", ">", "sort by the column to the right"),
    _view("list.reverse", "Reverse", "r", "reverse the order"),
    _view("list.wide", "Wide", "w", "show every column"),
    _view("list.problems", "Problems only", "z", "hide what is well", words=("problems",)),
    _view("list.describe", "Describe", "d", "everything about it, in words", words=("describe",)),
    _view("list.raw", "Raw", "y", "the record as JSON", words=("raw",)),
    _view("list.copy", "Copy name", "c", "name to your clipboard (OSC 52)", words=("copy",)),
    _view("list.copy-row", "Copy row", "C", "row to your clipboard (OSC 52)"),
)

_INSTANCE = (
    Action("instance.new", "New instance", "new", ("n",), "verb", "instances.create",
           tooltip="save a new instance; nothing is made yet", undo_text="delete it again with :delete", words=("new", "create")),
    Action("instance.edit", "Settings", "instance", ("e",), "verb", "instances.edit", tooltip="change its settings",
           reason=_instance, words=("edit", "settings"), aims="instance"),
    _verb("provision", "Provision", "P", i.ProvisionInstance, "make its machine and start the application",
          undo="D deprovisions it; its data disk is kept"),
    _verb("deprovision", "Deprovision", "D", i.DeprovisionInstance, "end its machine; the data disk is kept"),
    _verb("reprovision", "Reprovision", "R", i.ReprovisionInstance, "deprovision and provision again; applies pending changes"),
    Action("instance.power", "Stop / start", "instance", ("S",), "verb", "instance.stop", tooltip="stop it, or start it if it is stopped",
           reason=_instance, aims="instance", also=("instance.stop", "instance.start"), bulk=True),
    _verb("stop", "Stop", "", i.StopInstance, "stop its machine; the data disk stays attached"),
    _verb("start", "Start", "", i.StartInstance, "start its stopped machine", undo="S stops it again"),
    _verb("restart-app", "Restart application", "b", i.RestartApplication, "stop and start the application only"),
    _verb("replay-actions", "Replay setup actions", "p", i.ReplayActions, "run the template's actions again, in place", word="replay"),
    _verb("retry", "Retry start-up", "T", i.RetryStartup, "go on from the phase that failed"),
    _verb("snapshot", "Snapshot data disk", "O", i.SnapshotDisk, "a copy of the data disk as it is now"),
    Action("instance.restore", "Restore a snapshot", "instance", (), "verb", "instance.reprovision",
           tooltip="reprovision with the data disk set back", reason=_move("reprovision"), words=("restore",), aims="instance"),
    Action("instance.cancel", "Cancel operation", "instance", ("K",), "verb", "operations.cancel",
           lambda row, _rid: o.CancelOperation(row.operation_id), "stop the operation at its next step", "",
           _busy_instance, ("cancel",), "instance"),
    _verb("delete", "Delete", "", i.DeleteInstance, "remove the instance and its data disk for ever"),
    _view("instance.logs", "Logs", "l", "its log, live", words=("logs",), aims="instance"),
    _view("instance.operations", "Operations", "o", "its operations", words=("history",), aims="instance"),
)  # fmt: skip

_OPERATION = (
    Action("operation.cancel", "Cancel", "operation", ("K",), "verb", "operations.cancel",
           lambda row, _rid: o.CancelOperation(row.id), "stop it at its next step", "", _cancellable, ("cancel-operation",), "operation", True),
    Action("operation.retry", "Retry", "operation", ("T",), "verb", "operations.retry",
           lambda row, rid: o.RetryOperation(row.id, rid), "submit it again, as a new operation", "K cancels it",
           _retryable, ("retry-operation",), "operation", True),
    _view("operation.target", "Its target", "o", "go to what it works on", aims="operation"),
    _view("operation.logs", "Logs", "l", "lines of this operation, full screen", aims="operation"),
)  # fmt: skip

_LOG = (
    _view("log.follow", "Follow", "s", "stay at the tail"),
    _view("log.filter", "Filter", "/", "only lines that contain it; then n and N walk the matches"),
    _view("log.time", "Times", "t", "show or hide times"),
    _view("log.wrap", "Wrap", "w", "wrap long lines"),
    _view("log.level", "Level", "L", "all, info, warnings, errors"),
    _view("log.match-next", "Next match", "n", "next line that matches"),
    _view("log.match-previous", "Previous match", "N", "previous line that matches"),
    _view("log.mark", "Mark", "m", "draw a line here"),
    _view("log.full", "Full screen", "f", "hide everything but the lines"),
    _view("log.copy", "Copy", "c", "the lines on screen to your clipboard (OSC 52)"),
)

_SINCE = tuple(
    Action(f"since.{key}", f"Since {said}", "since", (str(key),), "view", tooltip=f"lines since {said}")
    for key, said in enumerate(("the start", "1 minute ago", "5 minutes ago", "15 minutes ago", "30 minutes ago", "1 hour ago", "1 day ago"))
)

_PAGES = (
    _view("tabs.next", "Next tab", "right", "the tab to the right"),
    _view("tabs.previous", "Previous tab", "left", "the tab to the left"),
    _view("page.jump", "Open", "enter", "phase: its first line; operation: its steps"),
    _view("page.describe", "Describe", "d", "everything about it, in words", words=("describe",)),
    _view("page.raw", "Raw", "y", "the record as JSON", words=("raw",)),
    _view("tabs.save", "Save", "ctrl+o", "save the settings"),
    _view("tabs.theirs", "Take theirs", "ctrl+t", "in a field that somebody else changed: take their value"),
)
_TEXT = (
    _view("text.search", "Search", "/", "find text"),
    _view("text.match-next", "Next match", "n", "next match"),
    _view("text.match-previous", "Previous match", "N", "previous match"),
    _view("text.copy", "Copy all", "c", "everything to your clipboard (OSC 52)"),
)
_BOARD = (_view("board.zoom", "Zoom panel", "f", "this panel alone, and back"),)

ACTIONS: Mapping[str, Action] = {
    a.id: a for a in (*_GLOBAL, *_MOVE, *_LIST, *_INSTANCE, *_OPERATION, *_LOG, *_SINCE, *_PAGES, *_TEXT, *_BOARD)
}
"""The table, by id. Ids are public names: key maps use them."""

SCREENS: Mapping[str, tuple[str, ...]] = {
    "dashboard": ("global", "move", "board", "list", "new", "instance"),
    "instances": ("global", "move", "list", "new", "instance"),
    "instance": ("global", "move", "tabs", "page", "instance", "log"),
    "operations": ("global", "move", "list", "operation"),
    "operation": ("global", "move", "page", "operation", "log"),
    "events": ("global", "move", "list"),
    "hosts": ("global", "move", "list"),
    "logs": ("global", "move", "log", "since"),
    "detail": ("global", "move", "text"),
}
"""Scopes that each screen draws its keys from. A later scope wins a key from ``global`` (digits in logs)."""

_MENDS = ("instance.cancel", "instance.retry", "instance.provision")
HINTS: Mapping[str, tuple[str, ...]] = {
    "dashboard": (*_MENDS, "list.open", "instance.new", "list.filter", "instance.logs"),
    "instances": (*_MENDS, "list.open", "list.problems", "instance.new", "list.filter", "list.mark", "list.wide"),
    "instance": (*_MENDS, "instance.power", "instance.edit", "instance.logs", "tabs.next", "page.jump"),
    "instance/settings": ("tabs.save", "instance.edit", "instance.reprovision", "tabs.next"),
    "instance/logs": ("log.follow", "log.filter", "log.wrap", "log.full", "log.mark", "tabs.next"),
    "instance/data": ("instance.snapshot", "tabs.next"),
    "operations": ("operation.cancel", "operation.retry", "list.open", "list.filter", "operation.target", "list.problems"),
    "operation": ("operation.cancel", "operation.retry", "page.jump", "operation.target", "log.filter", "log.full"),
    "events": ("list.open", "list.filter", "list.problems", "list.describe"),
    "hosts": ("list.open", "list.problems", "list.filter", "list.wide"),
    "form": ("tabs.save",),
    "logs": ("log.follow", "log.filter", "log.match-next", "log.wrap", "log.level", "log.full", "log.mark"),
    "detail": ("text.search", "text.match-next", "text.copy"),
}  # fmt: skip
"""The few keys that matter, most important first; those not allowed now are left out, ``x`` and ``?`` are always told."""

SHADOWING = frozenset({"since"})
"""Scopes that may take keys from ``global``, as the design says: ``0`` to ``6`` in logs."""


def of_screen(screen: str) -> tuple[Action, ...]:
    """What can be done there, most particular scope last."""
    scopes = SCREENS[screen]
    return tuple(a for scope in scopes for a in ACTIONS.values() if a.scope == scope)


def keys_of(action: Action, keymap: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Its keys, after the person's own key map (``"P,f5"`` by id)."""
    own = (keymap or {}).get(action.id)
    return action.keys if own is None else tuple(key.strip() for key in own.split(",") if key.strip())


def bindings_of(screen: str, keymap: Mapping[str, str] | None = None) -> dict[str, Action]:
    """Key -> action on that screen."""
    found: dict[str, Action] = {}
    for action in of_screen(screen):
        for key in keys_of(action, keymap):
            if key not in found or action.scope in SHADOWING or (keymap and action.id in keymap):
                found[key] = action
    return found


def clashes(keymap: Mapping[str, str] | None = None) -> list[str]:
    """Everything wrong with the keys, one sentence each: clashes with both actions named, reserved keys, unknown ids."""
    said = [f"there is no action {name!r}" for name in (keymap or {}) if name not in ACTIONS]
    for screen in SCREENS:
        taken: dict[str, Action] = {}
        for action in of_screen(screen):
            for key in keys_of(action, keymap):
                other = taken.setdefault(key, action)
                if other is not action and action.scope not in SHADOWING:
                    said.append(f"{key} on {screen} is both {other.id} and {action.id}")
                if key in RESERVED or (key.startswith("alt+") and len(key) == 5):
                    said.append(f"{key} ({action.id}) belongs to the terminal")
    return list(dict.fromkeys(said))


def is_hidden(action: Action, session: SessionRecord | None) -> bool:
    """Whether the role can never do it: such an action is not shown at all."""
    return bool(
        session and action.mutates and not session.read_only and action.permission not in session.permissions
    )


def forbidden(action: Action, session: SessionRecord | None) -> str:
    """Why this session may not do it to anything; empty when it may."""
    if not action.mutates:
        return ""
    if session is None:
        return "not connected to the daemon"
    if session.read_only:
        return "this console is read-only"
    return "" if action.permission in session.permissions else f"the role {session.role.value} may not"


_AIMED_AT: Mapping[str, type] = {"instance": i.InstanceRecord, "operation": o.OperationRecord}


def suits(action: Action, row: Any) -> bool:
    """Whether a row is of the kind the action aims at."""
    return not action.aims or isinstance(row, _AIMED_AT[action.aims])


def why_not(action: Action, row: Any, session: SessionRecord | None) -> str:
    """Why it cannot be done now; empty when it can. Session first, then the row's state.

    A row of another kind than the action aims at counts as none: several panels of one screen may hold the focus.
    """
    row = row if suits(action, row) else None
    return forbidden(action, session) or resolve(action, row).reason(row)


def resolve(action: Action, row: Any) -> Action:
    """The one of the actions a shared key stands for that suits the row."""
    if not action.also or row is None:
        return action
    if row.state is InstanceState.STOPPED:
        return ACTIONS["instance.start"]
    return ACTIONS["instance.stop"]


def hints(
    place: str, row: Any, session: SessionRecord | None, keymap: Mapping[str, str] | None = None, width: int = 80, idle: Container[str] = ()
) -> list[tuple[str, str]]:
    """(key, title) of what matters here and now, for a footer of that width.

    ``place`` is a screen, a tab of one, or the editor of a form that has the focus; ``idle`` holds ids of actions that would do nothing.
    """
    always = [("x", "actions")] if "instance" in place or "operation" in place or place == "dashboard" else []
    always += {"form/text": [("tab", "next field")], "form/choice": [("enter", "choose"), ("tab", "next field")]}.get(place, [])
    always += [(shown(keys_of(ACTIONS["global.back"], keymap)[0]), "back")] if place not in ROOTS else []
    always += [("?", "keys")] if place != "form/text" else []
    room = width - 2 - sum(len(key) + len(title) + 4 for key, title in always)
    told = []
    for id_ in HINTS.get(place, HINTS[place.partition("/")[0]]):
        action = ACTIONS[id_]
        keys = keys_of(action, keymap)
        if not keys or id_ in idle or (action.aims and row is None) or why_not(action, row, session):
            continue
        title = resolve(action, row).title.lower()
        if (room := room - len(keys[0]) - len(title) - 4) < 0:
            break
        told.append((shown(keys[0]), title))
    return told + always


ROOTS = ("dashboard", "instances", "hosts", "operations", "events")
"""Screens that a number key leads to."""

_SHOWN = {"escape": "esc", "pagedown": "pgdn", "pageup": "pgup"}


def shown(key: str) -> str:
    """A key as a person reads it."""
    return _SHOWN.get(key, key)


def sheet(screens: Iterable[str] = tuple(SCREENS), keymap: Mapping[str, str] | None = None) -> list[tuple[str, str, str, str]]:
    """(screen, keys, title, what it does) of everything, for ``fleet keys`` and ``?``."""
    return [
        (screen, " ".join(shown(k) for k in keys_of(a, keymap)), a.title, a.tooltip)
        for screen in screens
        for a in of_screen(screen)
        if not a.also or keys_of(a, keymap)
    ]

"""Everything a person can do, one row each; nothing else in the interface names a key or a verb.

The footer, ``?``, the ``x`` menu, the palette, the ``:`` line and ``fleet keys`` are all read from here. Danger and permission
come from the method table of the door, so the console cannot disagree with the daemon about them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from fleet_tui.actions.cloud import CERTIFICATE, CLOUD, CLOUD_IMAGE, ORPHAN
from fleet_tui.actions.everywhere import BOARD, GLOBAL, LIST, LOG, MOVE, PAGES, SINCE, TEXT
from fleet_tui.actions.hosts import ADD, BRANCH, HOST, TREE
from fleet_tui.actions.instances import INSTANCE, ON_SSL, OPERATION, SNAPSHOT, SSL
from fleet_tui.actions.machines import SERIAL, VM
from fleet_tui.actions.maintenance import EVACUEE, MAINTENANCE
from fleet_tui.actions.networks import MAP, PHYSNET, VLAN
from fleet_tui.actions.profiles import LINEAGE, PROFILES, REGISTERS, SETUP, TEMPLATE, VNET
from fleet_tui.actions.row import AIMED_AT, Action
from fleet_tui.backend.api import METHODS, method_of_kind
from fleet_tui.backend.identity import OWNING, SessionRecord

__all__ = ["ACTIONS", "AIMED_AT", "HINTS", "RESERVED", "ROOTS", "SCREENS", "SHADOWING", "Action"]

RESERVED = frozenset({f"ctrl+{key}" for key in "abcdhijkmqswz"} | {"ctrl+left_square_bracket", "ctrl+backslash"})
"""Keys that terminals, multiplexers and shells own; never bound here, and refused in a key map (with every alt+letter)."""

ACTIONS: Mapping[str, Action] = {
    a.id: a
    for a in (
        *GLOBAL, *MOVE, *LIST, *INSTANCE, *SNAPSHOT, *SSL, *MAINTENANCE, *EVACUEE, *HOST, *BRANCH, *TREE, *VM, *SERIAL, *ADD, *OPERATION,
        *MAP, *PHYSNET, *VLAN, *CLOUD, *CERTIFICATE, *CLOUD_IMAGE, *ORPHAN, *LOG, *SINCE, *PAGES, *TEXT, *BOARD,
        *REGISTERS, *LINEAGE, *PROFILES, *TEMPLATE, *SETUP, *VNET,
    )
}  # fmt: skip
"""The table, by id. Ids are public names: key maps use them."""

_READING = ("log.follow", "log.filter", "log.wrap", "log.time", "log.level", "log.match-next", "log.match-previous", "log.full", "log.copy")

SCREENS: Mapping[str, tuple[str, ...]] = {
    "dashboard": ("global", "move", "board", "list", "range", "new", "instance"),
    "instances": ("global", "move", "list", "range", "new", "instance"),
    "instance": ("global", "move", "tabs", "page", "snapshot", ON_SSL, "instance", "log"),
    "operations": ("global", "move", "list", "range", "operation"),
    "operation": ("global", "move", "page", "operation", "log"),
    "events": ("global", "move", "list", "range"),
    "hosts": ("global", "move", "list", "tree", "add", "branch", "host"),
    "host": ("global", "move", "tabs.next", "tabs.previous", "page", *_READING, "branch.enable", "branch.disable", "host"),
    "maintenance": (
        "global", "move", "log.follow", "log.wrap", "log.full", "page.describe", "page.raw", "maintenance", "evacuee",
    ),
    "vms": ("global", "move", "list", "range", "add.vm", "vm"),
    "vm": ("global", "move", "page.describe", "page.raw", "log.wrap", "log.full", "vm"),
    "serial": ("serial",),
    "patches": ("global", "move", "list", "range", "add.patches"),
    "offerings": ("global", "move", "list", "range", "add.offering"),
    "cloud": ("global", "move", "page.describe", "page.raw", "cloud"),
    "certificates": ("global", "move", "list", "range", "certificate"),
    "cloud_images": ("global", "move", "list", "range", "cloud_image"),
    "orphans": ("global", "move", "list", "range", "orphan"),
    "vlans": (
        "global", "move.down", "move.up", "move.bottom", "move.page-down", "move.page-up", "map", "page.describe", "page.raw", "list.copy",
        "list.copy-row", "physnet", "vlan",
    ),
    "templates": ("global", "move", "list", "range", "profile.template", "profile.import", "template"),
    "template": ("global", "move", "list.filter", "tabs", "page", "list.copy", "template", "setup"),
    "vnets": ("global", "move", "list", "range", "profile.vnet", "profile.import", "vnet"),
    "vnet": ("global", "move", "list.filter", "tabs", "page", "list.copy", "vnet"),
    "logs": ("global", "move", "log", "since"),
    "detail": ("global", "move", "text"),
}  # fmt: skip
"""Scopes, and single actions by id, that each screen draws its keys from. A later scope wins a key from ``global`` (digits in logs)."""

_MENDS = ("instance.cancel", "instance.retry", "instance.provision")
HINTS: Mapping[str, tuple[str, ...]] = {
    "dashboard": (*_MENDS, "list.open", "instance.new", "list.filter", "instance.logs"),
    "instances": (*_MENDS, "list.open", "list.problems", "instance.new", "list.filter", "list.mark", "list.wide"),
    "instance": (*_MENDS, "instance.power", "instance.edit", "instance.logs", "tabs.next", "page.jump"),
    "instance/settings": ("tabs.save", "instance.edit", "instance.reprovision", "tabs.next"),
    "instance/logs": ("log.follow", "log.filter", "log.wrap", "log.full", "log.mark", "tabs.next"),
    "instance/ssl": ("instance.edit", "ssl.test", "ssl.renew", "ssl.chain", "ssl.copy", "instance.reprovision", "tabs.next"),
    "instance/data": ("instance.snapshot", "instance.grow", "instance.restore", "tabs.next"),
    "instance/setup": ("page.jump", "instance.replay-actions", "tabs.next"),
    "operations": ("operation.cancel", "operation.retry", "list.open", "list.filter", "operation.target", "list.problems"),
    "operation": ("operation.cancel", "operation.retry", "page.jump", "operation.target", "log.filter", "log.full"),
    "events": ("list.open", "list.filter", "list.problems", "list.describe"),
    "hosts": ("host.retry", "host.maintenance", "list.open", "host.vms", "tree.toggle", "branch.enable", "add.host", "list.problems"),
    "hosts/tree": ("list.open", "branch.enable", "branch.disable", "branch.ratio", "branch.rolling", "tree.toggle", "add.host"),
    "host": ("host.retry", "host.maintenance", "host.vms", "branch.enable", "tabs.next", "host.edit", "host.reconnect"),
    "host/log": ("log.follow", "log.filter", "log.wrap", "log.full", "tabs.next"),
    "maintenance": (
        "maintenance.retry", "maintenance.back", "maintenance.cancel", "maintenance.next", "evacuee.migrate", "maintenance.check",
        "maintenance.note", "maintenance.forecast", "maintenance.logs",
    ),
    "vms": ("list.open", "vm.power", "vm.migrate", "vm.console", "add.vm", "list.filter", "list.problems"),
    "vm": ("vm.power", "vm.migrate", "vm.console", "vm.host", "vm.edit", "log.full"),
    "serial": ("serial.leave",),
    "serial/log": (),
    "patches": ("list.open", "list.filter", "list.problems", "add.patches"),
    "offerings": ("list.open", "list.filter", "add.offering"),
    "cloud": ("cloud.setup", "cloud.test", "cloud.rewrap", "cloud.test-key", "cloud.operations"),
    "certificates": ("list.open", "certificate.renew", "list.problems", "list.filter", "list.describe", "list.sort-right"),
    "cloud_images": ("cloud_image.new", "list.open", "list.filter"),
    "orphans": ("list.open", "list.filter", "global.refetch"),
    "vlans": (
        "map.problem-next", "physnet.repair", "map.goto", "physnet.ranges", "map.hosts", "vlan.assign", "map.zoom", "physnet.drift",
        "map.filter", "map.mark", "map.open",
    ),
    "vlans/empty": ("physnet.add-ranges", "map.networks"),
    "vlans/networks": ("map.open", "physnet.ranges", "physnet.drift", "physnet.repair", "map.networks"),
    "vlans/none": (),
    "templates": ("list.open", "profile.template", "template.edit", "template.try", "list.filter", "list.problems"),
    "template": ("tabs.save", "page.jump", "setup.add", "setup.toggle", "setup.try", "setup.later", "setup.earlier", "tabs.next"),
    "template/settings": ("tabs.save", "template.edit", "tabs.next"),
    "template/instances": ("tabs.save", "page.jump", "tabs.next", "list.filter"),
    "vnets": ("list.open", "profile.vnet", "vnet.check", "vnet.edit", "list.filter", "list.problems"),
    "vnet": ("tabs.save", "vnet.edit", "vnet.check", "tabs.next"),
    "vnet/instances": ("page.jump", "tabs.next", "list.filter"),
    "form": ("tabs.save",),
    "form/secret": ("tabs.save", "tabs.file"),
    "form/long": ("tabs.save", "tabs.file"),
    "logs": ("log.follow", "log.filter", "log.match-next", "log.wrap", "log.level", "log.full", "log.mark"),
    "detail": ("text.search", "text.match-next", "text.copy"),
}  # fmt: skip
"""The few keys that matter, most important first; those not allowed now are left out, ``x`` and ``?`` are always told."""

ON_TABS = (ON_SSL,)
"""Scopes of one tab: there their keys come before those of the screen. What is in them can be done from the whole screen by name."""

SHADOWING = frozenset({"since"})
"""Scopes that may take keys from ``global``, as the design says: ``0`` to ``6`` in logs."""


def of_screen(screen: str) -> tuple[Action, ...]:
    """What can be done there, most particular scope last; ``screen`` may be one of :data:`ON_TABS`."""
    scopes = SCREENS.get(screen, (screen,))
    return tuple(a for scope in scopes for a in ACTIONS.values() if scope in (a.scope, a.id))


def keys_of(action: Action, keymap: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Its keys, after the person's own key map (``"P,f5"`` by id)."""
    own = (keymap or {}).get(action.id)
    return action.keys if own is None else tuple(key.strip() for key in own.split(",") if key.strip())


def bindings_of(screen: str, keymap: Mapping[str, str] | None = None) -> dict[str, Action]:
    """Key -> action on that screen."""
    found: dict[str, Action] = {}
    for action in of_screen(screen):
        for key in () if _is_elsewhere(action, screen) else keys_of(action, keymap):
            if key not in found or action.scope in SHADOWING or (keymap and action.id in keymap):
                found[key] = action
    return found


def _is_elsewhere(action: Action, screen: str) -> bool:
    """Whether its keys belong to a tab, and not to the whole screen."""
    return action.scope in ON_TABS and action.scope != screen


def clashes(keymap: Mapping[str, str] | None = None) -> list[str]:
    """Everything wrong with the keys, one sentence each: clashes with both actions named, reserved keys, unknown ids."""
    said = [f"there is no action {name!r}" for name in (keymap or {}) if name not in ACTIONS]
    for screen in (*SCREENS, *ON_TABS):
        taken: dict[str, Action] = {}
        for action in of_screen(screen):
            for key in () if _is_elsewhere(action, screen) else keys_of(action, keymap):
                other = taken.setdefault(key, action)
                if other is not action and action.scope not in SHADOWING:
                    said.append(f"{key} on {screen} is both {other.id} and {action.id}")
                if key in RESERVED or (key.startswith("alt+") and len(key) == 5):
                    said.append(f"{key} ({action.id}) belongs to the terminal")
    return list(dict.fromkeys(said))


def is_hidden(action: Action, session: SessionRecord | None, row: Any = None) -> bool:
    """Whether the role can never do it or see it, and does not own the row: such an action is not shown at all."""
    return bool(
        session and action.method and not (action.mutates and session.read_only) and action.permission not in session.permissions
        and not owns(action, session, row)
    )


def owns(action: Action, session: SessionRecord, row: Any) -> bool:
    """Whether the row is the user's own, and owners may do this to it without the role's right."""
    return bool(METHODS[action.method].own) and session.role in OWNING and session.user in getattr(row, "owners", ())


def forbidden(action: Action, session: SessionRecord | None, row: Any = None) -> str:
    """Why this session may not do it to anything, or not to this row; empty when it may."""
    if not action.mutates:
        why = _lacking(session, action.permission) if action.method and session is not None else ""
        if action.needs and session is not None and session.read_only:
            why = why or "this console is read-only"
        return why or (may_set(action.method, action.needs, session) if action.needs else "")
    if session is None:
        return "not connected to the daemon"
    if session.read_only:
        return "this console is read-only"
    lacking = "" if owns(action, session, row) else _lacking(session, action.permission)
    if action.method == "operations.retry" and row is not None:
        lacking = lacking or _lacking(session, method_of_kind(row.kind).permission.value)
    return lacking or (may_set(action.method, action.needs, session) if action.needs else "")


def may_set(method: str, field: str, session: SessionRecord | None) -> str:
    """Why this session may not set that field of a method's request, which asks for more rights; empty when it may."""
    more = METHODS[method].also.get(field)
    return "" if more is None or session is None else _lacking(session, more.value)


def _lacking(session: SessionRecord, permission: str) -> str:
    return "" if permission in session.permissions else f"the role {session.role.value} may not"


def suits(action: Action, row: Any) -> bool:
    """Whether a row is of the kind the action aims at."""
    return not action.aims or type(row).__name__ == AIMED_AT[action.aims]


def why_not(action: Action, row: Any, session: SessionRecord | None) -> str:
    """Why it cannot be done now; empty when it can. Session first, then the row's state.

    A row of another kind than the action aims at counts as none: several panels of one screen may hold the focus.
    """
    row = row if suits(action, row) else None
    return forbidden(action, session, row) or resolve(action, row).reason(row)


def resolve(action: Action, row: Any) -> Action:
    """The one of the actions a shared key stands for that suits the row."""
    if not action.also or row is None:
        return action
    return next((ACTIONS[id_] for id_ in action.also if not ACTIONS[id_].reason(row)), ACTIONS[action.also[0]])


def hints(
    place: str, row: Any, session: SessionRecord | None, keymap: Mapping[str, str] | None = None, width: int = 80, idle: Container[str] = ()
) -> list[tuple[str, str]]:
    """(key, title) of what matters here and now, for a footer of that width.

    ``place`` is a screen, a tab of one, or the editor of a form that has the focus; ``row`` what is selected, or a mapping of it by what
    actions aim at; ``idle`` holds ids of actions that would do nothing.
    """
    screen = place.partition("/")[0]
    always = [("x", "actions")] if screen in SCREENS and any(a.aims for a in of_screen(screen)) else []
    always += FORM_KEYS.get(place, [])
    always += [(shown(keys_of(ACTIONS["global.back"], keymap)[0]), "back")] if place not in (*ROOTS, *OUTERMOST, "serial") else []
    always += [("?", "keys")] if place not in (*TYPED_INTO, "serial", "serial/log") else []
    room = width - 2 - sum(len(key) + len(title) + 4 for key, title in always)
    told = []
    for id_ in HINTS.get(place, HINTS[screen]):
        action = ACTIONS[id_]
        keys = keys_of(action, keymap)
        aimed = row.get(action.aims) if isinstance(row, Mapping) else row
        if not keys or id_ in idle or (action.aims and aimed is None) or why_not(action, aimed, session):
            continue
        title = resolve(action, aimed).title.lower()
        if (room := room - len(keys[0]) - len(title) - 4) < 0:
            break
        told.append((shown(keys[0]), title))
    return told + always


FORM_KEYS: Mapping[str, list[tuple[str, str]]] = {
    "form/text": [("tab", "next field")], "form/choice": [("enter", "choose"), ("tab", "next field")], "form/long": [("tab", "next field")],
    "form/secret": [("del", "remove"), ("tab", "next field")],
}  # fmt: skip
"""Keys of the editor that has the focus; they are its own, not of the table."""
TYPED_INTO = ("form/text", "form/long", "form/secret")
"""Places where letters are text."""

ROOTS = ("dashboard", "instances", "hosts", "vlans", "operations", "events")
"""Screens that a number key leads to."""
OUTERMOST = ("vlans/empty", "vlans/none")
"""Places of them from which there is no way back either."""

_SHOWN = {"escape": "esc", "pagedown": "pgdn", "pageup": "pgup", "exclamation_mark": "!", "ctrl+right_square_bracket": "ctrl+]"}


def shown(key: str) -> str:
    """A key as a person reads it."""
    return _SHOWN.get(key, key)


def sheet(screens: Iterable[str] = tuple(SCREENS), keymap: Mapping[str, str] | None = None) -> list[tuple[str, str, str, str, str]]:
    """(screen, keys, title, what it does, id) of everything, for ``fleet keys``."""
    return [
        (screen, " ".join(shown(k) for k in keys_of(a, keymap)), a.title, a.tooltip, a.id)
        for screen in screens
        for a in of_screen(screen)
        if not a.also or keys_of(a, keymap)
    ]

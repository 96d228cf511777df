"""The ``:`` line, the palette, the ``x`` menu and ``?``: all read from the one table of actions.

Nothing here draws or sends. The line is parsed into a `Command`; the three lists are made as `Offer` rows that any dialog can show.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleet_tui import actions
from fleet_tui.actions import ACTIONS, Action
from fleet_tui.backend.identity import SessionRecord

SCOPE_TITLES = {
    "evacuee": "this VM", "maintenance": "this maintenance", "host": "this host", "branch": "this place", "vm": "this VM",
    "instance": "this instance", "instance/ssl": "the SSL tab", "snapshot": "this snapshot",
    "operation": "this operation", "new": "instances", "add": "new", "list": "the list", "range": "the list",
    "tree": "the tree", "move": "moving", "log": "the log", "since": "how far back", "tabs": "tabs", "page": "this page", "text": "the text",
    "map": "the map", "physnet": "this network", "vlan": "these IDs", "board": "the dashboard", "serial": "the console", "global": "everywhere",
    "template": "this template", "setup": "this setup action", "vnet": "this virtual network", "profile": "new",
    "cloud": "the cloud account", "certificate": "this certificate", "cloud_image": "this image",
}  # fmt: skip
LONGEST_KEY = 8
"""Cells of a word that still stands where keys do; a longer one is told at the end of the line."""
_NOUNS = (
    "instance", "snapshot", "instance/ssl", "evacuee", "maintenance", "host", "vm", "branch", "vlan", "physnet", "setup", "template", "vnet", "cloud",
    "certificate", "cloud_image", "operation", "new", "add", "profile",
)
"""Scopes of what is done to things, in the order in which they are offered."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line understood. ``names`` are what followed the word; for a ``go`` they are the filter to set."""

    action: Action | None
    names: tuple[str, ...] = ()
    name: str = ""
    """Set when the line is no command: perhaps the name of something to open."""
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """One action as a list shows it."""

    id: str
    title: str
    keys: str
    note: str
    why_not: str
    heading: str


def words(session: SessionRecord | None = None) -> dict[str, Action]:
    """Every word of the line, without those that are hidden from a session's role. The first action to claim one has it."""
    found: dict[str, Action] = {}
    for action in ACTIONS.values():
        for word in () if actions.is_hidden(action, session) else action.words:
            found.setdefault(word, action)
    return found


def parse(line: str) -> Command:
    """What a line means. Words may be shortened as far as they stay unique."""
    try:
        parts = shlex.split(line)
    except ValueError:
        parts = line.split()
    if not parts:
        return Command(None, complaint="nothing was typed")
    word, names = parts[0].lower(), tuple(parts[1:])
    known = words()
    if word in known:
        return Command(known[word], names)
    close = sorted({known[w].id: w for w in known if w.startswith(word)}.values())
    if len(close) == 1:
        return Command(known[close[0]], names)
    if len(close) > 1 and len(parts) > 1:
        return Command(None, complaint=f"{word} could be {', '.join(close)}")
    return Command(None, name=line.strip())


def complete(line: str, names: Iterable[str] = (), session: SessionRecord | None = None) -> list[str]:
    """Lines that this one could become: words that the role may use first, then names of what is known."""
    head, space, tail = line.partition(" ")
    if not space:
        matching = sorted(w for w in words(session) if w.startswith(head.lower()))
        return matching + [name for name in names if head and name.lower().startswith(head.lower())][:20]
    return [f"{head} {_quoted(name)}" for name in names if name.lower().startswith(tail.strip("'\"").lower())][:20]


def _quoted(name: str) -> str:
    return shlex.quote(name) if " " in name else name


def menu(screen: str, row_of: Mapping[str, Any], session: SessionRecord | None, keymap: Mapping[str, str]) -> list[Offer]:
    """The ``x`` menu: verbs and views of the selection; last, with the reason why, those not allowed now."""
    offers = [
        _offer(action, row_of.get(action.aims), session, keymap)
        for scope in _NOUNS
        for action in actions.of_screen(screen)
        if action.scope == scope and not action.also and not actions.is_hidden(action, session, row_of.get(action.aims))
    ]
    return [o for o in offers if not o.why_not] + [replace(o, heading="not now") for o in offers if o.why_not]


def sheet(screen: str, row_of: Mapping[str, Any], session: SessionRecord | None, keymap: Mapping[str, str]) -> list[Offer]:
    """``?``: every key of this screen, the most particular first."""
    scopes = list(dict.fromkeys(a.scope for a in actions.of_screen(screen)))
    rows = [a for scope in reversed(scopes) for a in actions.of_screen(screen) if a.scope == scope]
    return [
        _offer(a, row_of.get(a.aims), session, keymap)
        for a in rows
        if actions.keys_of(a, keymap) and not actions.is_hidden(a, session, row_of.get(a.aims))
    ]


def palette(screen: str, row_of: Mapping[str, Any], session: SessionRecord | None, keymap: Mapping[str, str]) -> list[Offer]:
    """``ctrl+p``: every action of this screen, with and without a key."""
    order: Sequence[str] = (*_NOUNS, "map", "tree", "tabs", "page", "log", "text", "board", "list", "range", "global")
    rows = [a for scope in order for a in actions.of_screen(screen) if a.scope == scope and not a.also]
    return [_offer(a, row_of.get(a.aims), session, keymap) for a in rows if not actions.is_hidden(a, session, row_of.get(a.aims))]


def _offer(action: Action, row: Any, session: SessionRecord | None, keymap: Mapping[str, str]) -> Offer:
    keys = actions.keys_of(action, keymap)
    if not keys:
        keys = next((actions.keys_of(a, keymap) for a in ACTIONS.values() if action.id in a.also), ())
    said, note = " ".join(actions.shown(key) for key in keys), action.tooltip
    if not said and action.words:
        word = f":{action.words[0]}"
        said, note = (word, note) if len(word) <= LONGEST_KEY else ("", f"{note} ({word})")
    return Offer(
        action.id, action.title, said, note, actions.why_not(action, row, session),
        SCOPE_TITLES.get(action.scope, action.scope),
    )  # fmt: skip

"""Cloning and deleting what instances are launched from, and comparing a virtual network with what is really there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fleet_tui import columns
from fleet_tui.backend.instances import profiles as p
from fleet_tui.screens import dialogs
from fleet_tui.screens.ask import Form, ask, entry
from fleet_tui.screens.profile_keys import REF
from fleet_tui.screens.profile_saving import these

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen

_NOUN = {"template": "template", "vnet": "virtual network"}
_CLONE = {"template": p.CloneTemplate, "vnet": p.CloneVirtualNetwork}
_DELETE = {"template": p.DeleteTemplate, "vnet": p.DeleteVirtualNetwork}
_SHOW = {"template": p.ShowTemplate, "vnet": p.ShowVirtualNetwork}
_INSTEAD = {"template": "give them another template, or delete them first", "vnet": "delete those instances first"}


def clone(screen: FleetScreen, kind: str, row: Any) -> None:
    """Ask for a label, and open what was made."""

    def make(v: Mapping[str, Any]) -> Any:
        return _CLONE[kind](row.id, v["label"])

    def done(reply: Any) -> None:
        screen.say(f"{_NOUN[kind]} {reply.label} is made as a clone of {row.label}")
        screen.console.open(kind, f"{REF[kind]}:{reply.id}")

    ask(screen, Form(f"Clone {row.label}", (entry("label", "Label of the new one"),), make, done, "Clone"))


def delete(screen: FleetScreen, kind: str, row: Any) -> None:
    """Refused with the names of who uses it; else its label is to be typed."""

    def looked(sheet: Any) -> None:
        if sheet.linked:
            names = these([instance.label for instance in sheet.linked])
            verb = "uses" if len(sheet.linked) == 1 else "use"
            screen.say(f"{_NOUN[kind]} {row.label} cannot be deleted: {names} {verb} it; {_INSTEAD[kind]}", "warning")
            return
        said = [f"{_NOUN[kind]} {row.label} is forgotten; no instance is linked to it", "it cannot be undone; s saves it to a file first"]
        question = dialogs.Question(f"Delete {row.label}?", "Delete", said, typed=row.label, destructive=True)
        dialogs.confirm(screen.app, question, lambda answer: send() if answer.yes else None)

    def send() -> None:
        request = _DELETE[kind](row.id, row.label)
        screen.ask(lambda session: session.submit(request), gone, group="delete")

    def gone(reply: Any) -> None:
        screen.say(reply.text)
        if kind == screen.KIND and screen.console.screen is screen:
            screen.console.back()

    screen.fetch(_SHOW[kind](row.id), looked, "delete")


def check(screen: FleetScreen, row: p.VirtualNetworkRecord) -> None:
    """Compare a virtual network with what is really there, and say what was found."""

    def checked(found: p.VirtualNetworkRecord) -> None:
        if found.findings:
            more = f" · and {len(found.findings) - 1} more" if len(found.findings) > 1 else ""
            said = f"{found.label}: {columns.plural(len(found.findings), 'finding')} · {found.findings[0].text}{more}"
            screen.say(said, "error" if any(finding.is_error for finding in found.findings) else "warning")
        else:
            screen.say(f"{found.label}: nothing amiss")

    screen.say(f"{row.label}: comparing it with what is really there")
    request = p.CheckVirtualNetwork(row.id)
    screen.ask(lambda session: session.submit(request), checked, group="check")

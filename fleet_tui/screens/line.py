"""The ``:`` line, carried out: what a word means here, and the objects that names stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleet_tui import actions, commands
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.errors import FleetError, NotFound

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session

SHOWN_BY = {
    "instance": "instances.show", "host": "hosts.show", "vm": "vms.show", "template": "templates.show", "vnet": "virtual-networks.show",
}  # fmt: skip
"""Kind of object -> the method that finds one by name."""
OPENED = ("instance", "host", "vm")
"""Those that a name alone opens."""


def run_line(screen: FleetScreen, line: str) -> None:
    """Do what was typed, or say what was not understood."""
    command = commands.parse(line)
    action = command.action
    if command.complaint:
        screen.say(command.complaint, "warning")
    elif action is None:
        _open_named(screen, command.name)
    elif action.kind == "go" and not actions.forbidden(action, screen.console.record):
        screen.console.go(action.id.removeprefix("go."), filter_text=" ".join(command.names))
    elif command.names and (action.aims in SHOWN_BY or action.aims == "branch"):
        names = command.names
        screen.ask(lambda session: [named(session, action.aims, name) for name in names], lambda rows: screen.perform(action, rows))
    else:
        screen.perform(action)


def named(session: Session, kind: str, name: str) -> Any:
    """The object of that kind and name. Raises `NotFound`."""
    if kind == "branch":
        from fleet_tui.screens.branches import find

        return find(session, name)
    found = session.fetch(METHODS[SHOWN_BY[kind]].request(name))
    return found.record if kind in ("template", "vnet") else found


def _open_named(screen: FleetScreen, name: str) -> None:
    """Something called so: an instance, else a host, else a VM."""

    def work(session: Session) -> tuple[str, Any]:
        refusal: NotFound | None = None
        for kind in OPENED:
            try:
                return kind, named(session, kind, name)
            except NotFound as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    def missing(error: FleetError) -> None:
        screen.say(f"{name!r} is no command, and nothing is called so" if error.code == "not_found" else screen.worded(error), "warning")

    screen.ask(work, lambda found: screen.console.open(found[0], f"{found[0]}:{found[1].id}"), missing)


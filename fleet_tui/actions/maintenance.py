"""What can be done on the maintenance screen (spec 8.7): with the host, with its session, and with a VM that has to leave."""

from __future__ import annotations

from typing import Any

from fleet_tui.actions.hosts import degradable, move, power, state_of
from fleet_tui.actions.row import Action, verb, view
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.hosts.states import HostEvent, ResourceState

RETRYABLE = frozenset({"retry", "failed", "blocked", "waiting"})


def _session(row: Any) -> str:
    if row is None:
        return "there is no maintenance session"
    return "the session is closed" if row.closed_at is not None else ""


def _askable(row: Any) -> str:
    why = move(HostEvent.ASK_MAINTENANCE)(row)
    if row is not None and state_of(row) in (ResourceState.PREPARE, ResourceState.ERROR_IN_PREPARE):
        return "its VMs are being moved away already"
    return why


def _movable(row: Any) -> str:
    if row is None:
        return "no VM of a maintenance session is selected; enter opens one, m moves it there"
    return "" if row.state.value in RETRYABLE else f"it is {row.state.value}"


def _retryable(row: Any) -> str:
    return _session(row) or ("" if any(vm.state.value in RETRYABLE for vm in row.vms) else "no VM waits to be moved")


def _returnable(row: Any) -> str:
    if row is None:
        return "there is no maintenance session"
    if row.closed_at is not None:
        return "the session is closed; where its VMs came from is forgotten"
    if row.resource_state != ResourceState.ENABLED.value:
        return f"the host is {row.resource_state}; C cancels its maintenance first"
    return "" if any(vm.state.value == "moved" and vm.back != "back" for vm in row.vms) else "no VM of this session is elsewhere"


def _closable(row: Any) -> str:
    why = _session(row)
    if why or row.resource_state not in {state.value for state in ResourceState if state.is_maintenance}:
        return why
    return f"the host is {row.resource_state}; C cancels its maintenance first"


MAINTENANCE = (
    view("maintenance.next", "Next step", "M", "start the maintenance, or go on to its next step", words=("next",)),
    verb("maintenance.start", "Start maintenance", "", "host.maintain", "move its VMs away, then hold it out of service", _askable,
         aims="host", words=("maintain",), asks=True, scope="maintenance"),
    verb("maintenance.cancel", "Cancel maintenance", "C", "host.cancel-maintenance", "bring it back into service; moves in flight end first",
         move(HostEvent.CANCEL), aims="host", words=("cancel-maintenance",), scope="maintenance"),
    view("maintenance.forecast", "Forecast", "F", "where each VM would go, and what stands in the way; changes nothing", words=("forecast",)),
    verb("maintenance.back", "Migrate back", "B", "host.migrate-back", "choose VMs that return to this host", _returnable, aims="session",
         words=("migrate-back",), asks=True),
    Action("maintenance.retry", "Retry now", "maintenance", ("T",), "verb", "maintenance.retry",
           lambda row, rid: METHODS["maintenance.retry"].request(row.id, rid), "try what failed or waits again now, with new attempts",
           "", _retryable, ("retry-moves",), "session"),
    verb("maintenance.note", "Note", "N", "maintenance.edit", "write down what was done", _session, aims="session", words=("note",), asks=True),
    verb("maintenance.check", "Checklist", "K", "maintenance.edit", "tick what is done", _session, aims="session", words=("checklist",), asks=True),
    verb("maintenance.edit", "Edit session", "e", "maintenance.edit", "reason, ticket and planned end", _session, aims="session",
         words=("edit-session",), asks=True),
    verb("maintenance.announce", "Announce", "A", "host.announce", "mail the owners of its VMs", lambda row: "" if row else "no host is shown",
         aims="host", words=("announce",), asks=True),
    Action("maintenance.close", "Close session", "maintenance", (), "verb", "maintenance.close",
           lambda row, _rid: METHODS["maintenance.close"].request(row.id), "end the session; where its VMs came from is forgotten",
           "", _closable, ("close",), "session"),
    view("maintenance.power", "Power", "p", "power menu of its BMC", aims="host", reason=power),
    verb("maintenance.degrade", "Declare degraded", "exclamation_mark", "host.degrade",
         "it cannot be brought back; its highly available VMs start elsewhere", degradable, aims="host"),
    view("maintenance.host", "Its host", "H", "the host itself"),
    view("maintenance.logs", "Logs", "l", "its log, full screen"),
    view("maintenance.operations", "Operations", "o", "its operations"),
)  # fmt: skip

EVACUEE = (
    verb("evacuee.migrate", "Move by hand", "m", "vm.migrate", "choose where this VM goes", _movable, aims="evacuee", words=("move",), asks=True),
    view("evacuee.open", "Open VM", "enter", "the VM: its state, its move, its log", aims="evacuee"),
)


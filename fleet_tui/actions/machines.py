"""What can be done with a VM."""

from __future__ import annotations

from typing import Any

from fleet_tui.actions.row import Action, Reason, verb, view


def _vm(row: Any) -> str:
    return "no VM is selected" if row is None else ""


def _act(action: str) -> Reason:
    def why(row: Any) -> str:
        from fleet_tui.backend.machines.states import refusal  # loaded by who shows VMs, not by every start

        return _vm(row) or (f"{row.operation} is at work on it" if row.operation_id else refusal(action, row.state, row.destroy_protected))

    return why


def _verb(name: str, title: str, keys: str, tooltip: str, *, undo: str = "", asks: bool = False, bulk: bool = True) -> Action:
    return verb(f"vm.{name}", title, keys, f"vm.{name}", tooltip, _act(name), aims="vm", undo=undo, words=(f"vm-{name}",), bulk=bulk, asks=asks)


VM = (
    Action("vm.power", "Stop / start", "vm", ("S",), "verb", "vm.stop", tooltip="stop it, or start it if it is stopped", reason=_vm, aims="vm",
           also=("vm.stop", "vm.start"), bulk=True),
    _verb("start", "Start", "", "start it where it fits", undo="S stops it again"),
    _verb("stop", "Stop", "", "ask it to shut down; it is killed after 15 s"),
    _verb("reboot", "Reboot", "b", "restart it where it is"),
    _verb("migrate", "Migrate", "m", "move it to another host while it runs", asks=True, bulk=False),
    _verb("resize", "Resize", "", "give it another offering", asks=True, bulk=False),
    verb("vm.edit", "Edit", "e", "vms.edit", "tags, owners and protection", _vm, aims="vm", words=("vm-edit",), asks=True),
    view("vm.console", "Serial console", "s", "its serial line", words=("console",), aims="vm"),
    view("vm.host", "Its host", "H", "the host that it is on", aims="vm"),
    _verb("destroy", "Destroy", "", "remove the VM and its disks for ever"),
    view("vm.logs", "Logs", "l", "its log, live", aims="vm"),
    view("vm.operations", "Operations", "o", "its operations", aims="vm"),
)  # fmt: skip

SERIAL = (view("serial.leave", "Leave", "ctrl+right_square_bracket", "back; the guest goes on"),)
"""Every other key goes to the guest."""

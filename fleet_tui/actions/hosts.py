"""What can be done with zones, pods, clusters and hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet_tui.actions.row import Action, Reason, verb, view
from fleet_tui.backend.api import METHODS
from fleet_tui.backend.hosts.states import MOVES, Allocation, ConnectionState, HostEvent, ManagedState, ResourceState

NO_POWER = "comes with power control"


def state_of(row: Any) -> ResourceState | None:
    """A host's resource state; None for one that this program does not know."""
    try:
        return ResourceState(row.resource_state)
    except ValueError:
        return None


def move(event: HostEvent) -> Reason:
    """Why a host's state does not let that happen now."""

    def why(row: Any) -> str:
        if row is None:
            return "no host is selected"
        state = state_of(row)
        return "" if state is not None and (state, event) in MOVES else f"it is {row.resource_state}"

    return why


def _host(row: Any) -> str:
    return "no host is selected" if row is None else ""


def _branch(row: Any) -> str:
    return "nothing is selected in the tree" if row is None else ""


def _one_of(*kinds: str) -> Reason:
    def why(row: Any) -> str:
        return _branch(row) or ("" if row.kind in kinds else f"it is a {row.kind}; this is for a {' or '.join(kinds)}")

    return why


def _allocating(enabled: bool) -> Reason:
    def why(row: Any) -> str:
        if row is None or row.kind == "fleet":
            return "no zone, pod, cluster or host is selected"
        if row.kind == "host":
            event = HostEvent.ENABLE if enabled else HostEvent.DISABLE
            same = ResourceState.ENABLED if enabled else ResourceState.DISABLED
            return f"it is {same.value} already" if state_of(row.record) is same else move(event)(row.record)
        same_word = Allocation.ENABLED if enabled else Allocation.DISABLED
        return f"it is {same_word.value} already" if row.allocation == same_word.value else ""

    return why


def _allocation(enabled: bool) -> Callable[[Any, str], Any]:
    return lambda row, rid: METHODS["branches.allocate"].request(row.kind, row.name if row.kind == "host" else row.id, enabled, request_id=rid)


def _managed(now: bool) -> Reason:
    def why(row: Any) -> str:
        if said := _one_of("cluster")(row):
            return said
        return "" if (row.record.managed == ManagedState.MANAGED.value) is now else f"it is {row.record.managed}"

    return why


def _empty(row: Any) -> str:
    return _one_of("zone", "pod", "cluster")(row) or (f"it still holds {row.holds}" if row.holds else "")


def _removable(row: Any) -> str:
    why = move(HostEvent.REMOVE)(row)
    return f"{why}: put it into maintenance, or remove it by force" if row is not None and why else why


def degradable(row: Any) -> str:
    link = (ConnectionState.ALERT.value, ConnectionState.DISCONNECTED.value, ConnectionState.DOWN.value)
    return move(HostEvent.DECLARE_DEGRADED)(row) or ("" if row.connection_state in link else "its link is up; only a host that is out of reach")


def power(row: Any) -> str:
    return _host(row) or NO_POWER


def _add(what: str, keys: str = "", tooltip: str = "") -> Action:
    return verb(f"add.{what}", f"New {what}", keys, f"{what}s.create", tooltip, words=(f"new-{what}",), asks=True)


ADD = (
    verb("add.host", "Add host", "n", "host.add", "reach a machine over SSH, show its fingerprint, and take it in", words=("new-host",), asks=True),
    _add("zone", "", "a place of its own, disabled at first"),
    _add("pod", "", "a part of a zone with its management addresses"),
    _add("cluster", "", "hosts of one hypervisor that VMs move between"),
    _add("offering", "", "a size that VMs come in"),
    verb("add.vm", "New VM", "N", "vm.create", "make a VM on one of the hosts", words=("new-vm",), asks=True),
    verb("add.patches", "Import patches", "", "patches.import", "take in a list of patches from a file", words=("import-patches",), asks=True),
)  # fmt: skip

BRANCH = (
    Action("branch.enable", "Enable", "branch", ("E",), "verb", "branches.allocate", _allocation(True),
           "let it take VMs", "D disables it", _allocating(True), ("enable",), "branch", True),
    Action("branch.disable", "Disable", "branch", ("D",), "verb", "branches.allocate", _allocation(False),
           "take no new VM here; those that run go on", "E enables it", _allocating(False), ("disable",), "branch", True),
    verb("branch.ratio", "Over-provisioning", "O", "cluster.ratio", "CPU and memory ratios, with what they change", _one_of("cluster"),
         aims="branch", words=("ratio",), asks=True),
    verb("branch.password", "Cluster password", "W", "cluster.password", "one password on every host of the cluster", _one_of("cluster"),
         aims="branch", words=("password",), asks=True),
    verb("branch.unmanage", "Let go", "", "cluster.manage", "send no more commands to its hosts", _managed(True), aims="branch",
         words=("unmanage",), managed=False),
    verb("branch.manage", "Take back", "", "cluster.manage", "send commands to its hosts again", _managed(False), aims="branch",
         words=("manage",), managed=True),
    verb("branch.rolling", "Rolling maintenance", "M", "cluster.maintain", "every host of the cluster in turn, group by group",
         _one_of("cluster"), aims="branch", words=("rolling",), asks=True),
    Action("branch.delete", "Delete", "branch", (), "verb", "branches.delete",
           lambda row, rid: METHODS["branches.delete"].request(row.kind, row.id, request_id=rid),
           "remove an empty zone, pod or cluster", "", _empty, ("delete-branch",), "branch"),
)  # fmt: skip

HOST = (
    view("host.maintenance", "Maintenance", "m", "take it out of service without losing a VM", words=("maintenance",), aims="host"),
    view("host.vms", "VMs", "v", "the VMs that are on it", aims="host"),
    verb("host.edit", "Edit", "e", "hosts.edit", "tags, note and log-in", _host, aims="host", words=("edit-host",), asks=True),
    view("host.patches", "Patches", "K", "patches of its hypervisor, and what is missing", aims="host"),
    verb("host.reconnect", "Reconnect", "R", "host.reconnect", "drop the link and build it again", _host, aims="host",
         words=("reconnect",), bulk=True),
    verb("host.retry", "Retry adding", "T", "host.retry", "try again to take it in", move(HostEvent.RETRY), aims="host", words=("retry-host",)),
    view("host.power", "Power", "p", "power menu of its BMC", aims="host", reason=power),
    verb("host.degrade", "Declare degraded", "exclamation_mark", "host.degrade",
         "it cannot be brought back; its highly available VMs start elsewhere", degradable, aims="host", words=("degrade",)),
    verb("host.cancel-degraded", "Cancel degraded", "", "host.cancel-degraded", "it is back after all", move(HostEvent.CANCEL_DEGRADED),
         aims="host", words=("cancel-degraded",)),
    verb("host.reinstall", "Re-install", "", "host.reinstall", "remove it, wait for SSH, add it again with the old settings",
         move(HostEvent.REMOVE), aims="host", words=("reinstall",)),
    verb("host.remove", "Remove", "", "host.remove", "take it out of the fleet", _removable, aims="host", words=("remove",)),
    verb("host.force-remove", "Remove by force", "", "host.remove", "also one that is dead or holds VMs: they are restarted elsewhere or stopped",
         _host, aims="host", words=("force-remove",), needs="force", force=True),
    view("host.logs", "Logs", "l", "its log, live", aims="host"),
    view("host.operations", "Operations", "o", "its operations", aims="host"),
)  # fmt: skip

TREE = (
    view("tree.toggle", "Tree", "t", "zones, pods and clusters; what is chosen there narrows the list", words=("tree",)),
    view("tree.open", "Unfold", "right", "show what is in it"),
    view("tree.close", "Fold", "left", "hide what is in it"),
)

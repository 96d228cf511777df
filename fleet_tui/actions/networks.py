"""What can be done on the map of a physical network: with the map itself, with the network, and with IDs of it.

Keys are those of the design first: ``d`` describes, ``c`` copies, ``z`` shows problems only and ``-`` is the last view everywhere, so here
zooming is ``Z``, giving IDs to an owner is ``a``, the scope is ``S`` and taking a range away is ``_``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet_tui.actions.row import Action, Reason, verb, view
from fleet_tui.backend.api import METHODS


def _network(row: Any) -> str:
    return "no physical network is shown" if row is None else ""


def _ranged(row: Any) -> str:
    return _network(row) or ("" if row.ranges else "it has no range yet; + adds one")


def _enabling(enabled: bool) -> Reason:
    def why(row: Any) -> str:
        if said := _network(row):
            return said
        if (row.state.value == "Enabled") is enabled:
            return f"it is {row.state.value} already"
        return "" if row.nic_labels or not enabled else "it has no NIC label; :nic-labels sets it"

    return why


def _enable(enabled: bool) -> Callable[[Any, str], Any]:
    return lambda row, _rid: METHODS["physnets.edit"].request(row.id, enabled=enabled)


def _unused(row: Any) -> str:
    return _network(row) or (f"{row.networks} guest networks are on it" if row.networks else "")


def _dedicable(row: Any) -> str:
    if row is None:
        return "no ID is selected"
    if row.dedication is not None:
        return f"{row.text} is in a dedication of {row.dedication.owner_kind.value} {row.dedication.owner}"
    return "" if row.state is not None else f"{row.first} is in no range"


def _dedicated(row: Any) -> str:
    return "no ID is selected" if row is None else "" if row.dedication is not None else f"{row.first} is not dedicated"


def _in_range(row: Any) -> str:
    return "no ID is selected" if row is None else "" if row.scope is not None else f"{row.first} is in no range"


MAP = (
    view("map.left", "Left", "left", "an ID back", scope="map"),
    view("map.right", "Right", "right", "an ID on", scope="map"),
    view("map.first", "First", "home", "the first ID", scope="map"),
    view("map.goto", "Go to ID", "g", "type a number; nothing goes to the first", words=("goto",)),
    view("map.problem-next", "Next problem", "n", "next conflict, orphan, or ID that a host has otherwise", words=("next-problem",)),
    view("map.problem-previous", "Previous problem", "N", "the problem before"),
    view("map.open", "Open", "enter", "zoomed out: in; else everything about the ID"),
    view("map.zoom", "Zoom out", "Z", "1, 10, 100 IDs a cell; then in again", words=("zoom",)),
    view("map.hosts", "Hosts", "H", "what each host has of the IDs of this row, and should have", words=("presence",)),
    view("map.problems", "Problems only", "z", "hide every ID that is well"),
    view("map.filter", "Filter", "/ F", "state:free, account:x, project:x, domain:x, scope:x, network:x; ! not"),
    view("map.mark", "Mark a range", "v", "from here to where you go; verbs then work on it"),
    view("map.networks", "Networks", "P", "choose the physical network", words=("physnets",)),
    view("map.save", "Save map", "s", "as text, CSV or JSON, to your export directory", words=("save-map",)),
    view("map.operations", "Operations", "o", "its operations"),
)  # fmt: skip

PHYSNET = (
    verb("physnet.ranges", "Edit ranges", "e", "vlans.set", "what is not listed is removed; shows the difference as you type", _network,
         aims="physnet", words=("ranges",), asks=True),
    verb("physnet.add-ranges", "Add range", "+", "vlans.set", "more IDs, the others stay", _network, aims="physnet", words=("add-ranges",),
         asks=True),
    verb("physnet.remove-ranges", "Remove range", "_", "vlans.set", "take IDs away that nothing uses", _ranged, aims="physnet",
         words=("remove-ranges",), asks=True),
    verb("physnet.template", "Usual scheme", "t", "vlans.template", "scopes of the usual scheme; adds and removes no ID", _ranged, aims="physnet",
         words=("scheme",), asks=True),
    verb("physnet.drift", "Check drift", "D", "vlan.drift", "ask every host which interfaces it has", _network, aims="physnet",
         words=("drift",)),
    verb("physnet.repair", "Repair", "R", "vlan.repair", "make what is missing again, put right what hangs in a wrong bridge", _network,
         aims="physnet", words=("repair",)),
    verb("physnet.repair-extra", "Repair, remove extra", "", "vlan.repair", "repair, and remove interfaces that nothing expects", _network,
         aims="physnet", words=("repair-extra",), remove_extra=True),
    verb("physnet.sweep", "Sweep", "", "vlan.sweep", "remove interfaces that no VM uses, where they are never removed by themselves", _network,
         aims="physnet", words=("sweep",)),
    Action("physnet.enable", "Enable network", "physnet", (), "verb", "physnets.edit", _enable(True), "let guest networks use it",
           ":disable-physnet undoes it", _enabling(True), ("enable-physnet",), "physnet"),
    Action("physnet.disable", "Disable network", "physnet", (), "verb", "physnets.edit", _enable(False), "take no new guest network",
           ":enable-physnet undoes it", _enabling(False), ("disable-physnet",), "physnet"),
    verb("physnet.labels", "NIC labels", "", "physnets.edit", "the hosts' network card, for each hypervisor", _network, aims="physnet",
         words=("nic-labels",), asks=True),
    Action("physnet.delete", "Delete network", "physnet", (), "verb", "physnets.delete",
           lambda row, _rid: METHODS["physnets.delete"].request(row.id), "forget it and its ranges", "", _unused, ("delete-physnet",), "physnet"),
    verb("physnet.new", "New physical network", "", "physnets.create", "a fabric of a zone, disabled at first", words=("new-physnet",), asks=True),
)  # fmt: skip

VLAN = (
    Action("vlan.assign", "Dedicate / release", "vlan", ("a",), "verb", "vlans.dedicate", tooltip="give IDs to one owner, or to everybody again",
           aims="vlan", also=("vlan.dedicate", "vlan.release")),
    verb("vlan.dedicate", "Dedicate", "", "vlans.dedicate", "keep IDs for one account, project or domain", _dedicable, aims="vlan",
         words=("dedicate",), asks=True),
    Action("vlan.release", "Release dedication", "vlan", (), "verb", "vlans.release",
           lambda row, _rid: METHODS["vlans.release"].request(row.id, row.dedication.first, row.dedication.last),
           "IDs in use stay with their networks and return to the pool when freed", "a dedicates them again", _dedicated, ("release",), "vlan"),
    verb("vlan.scope", "Scope", "S", "vlans.scope", "who may use these IDs: pool, assigned, shared, public, management, reserved", _in_range,
         aims="vlan", words=("scope",), asks=True),
)  # fmt: skip

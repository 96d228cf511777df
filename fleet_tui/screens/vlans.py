"""The map of VLANs: physical networks on the left, in the middle a letter for each ID, on the right everything about the one under the cursor.

Below 100 columns the map stands alone and two lines tell of the ID; ``P`` shows the networks. Who may not see VLANs has no such screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Container
from textual.timer import Timer
from textual.widget import Widget

from fleet_tui import columns
from fleet_tui.actions import Action
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.networks import (
    ListPhysicalNetworks,
    MapRecord,
    PhysicalNetworkRecord,
    PresenceRecord,
    ShowMap,
    ShowPresence,
    ShowVlan,
    VlanRecord,
)
from fleet_tui.backend.networks.states import DriftKind, VlanState
from fleet_tui.backend.operations import Submitted
from fleet_tui.screens import vlan_facts as facts
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.vlan_keys import MapKeys
from fleet_tui.screens.vlan_networks import NetworkTable
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.resource_table import ResourceTable
from fleet_tui.widgets.timers import once
from fleet_tui.widgets.vlan_grid import VlanGrid
from fleet_tui.widgets.vlan_hosts import HostRows
from fleet_tui.widgets.vlan_space import Spot, VlanSpace, matching

NORMAL, BROAD = 100, 140
SIDE, GRID = 39, 72
"""Cells of the list of networks and of the map beside others, with the gap after each, as in the stylesheet."""
STILL_S = 0.12
"""How long the cursor stands on an ID before the daemon is asked about it; what the map knows is said at once."""
DRIFTED = frozenset({DriftKind.MISSING, DriftKind.WRONG_BRIDGE})
"""What is extra is a conflict on the map already."""


class VlansScreen(MapKeys):
    KIND = "vlans"
    BINDINGS = bindings("vlans")

    def __init__(self) -> None:
        super().__init__()
        self.networks: dict[str, PhysicalNetworkRecord] = {}
        self.space: VlanSpace | None = None
        """The network on the map, unfiltered."""
        self.wanted = ""
        """Name or id of the network to show; empty for the one with most problems, else the one that is used most."""
        self.only_problems = False
        self.filter_text = ""
        self._left: int | None = None
        """IDs that a filter leaves; ``None`` without one."""
        self._told: object = None
        """What the footer and the chips depend on, as they were last painted for the cursor."""
        self._vlan: VlanRecord | None = None
        self._still: Timer | None = None
        self._moved_at = 0.0
        self._looked_at: tuple[str, tuple[int, int]] | None = None

    def body(self) -> ComposeResult:
        glyphs = self.console.glyphs
        yield Lines(glyphs=glyphs, id="counts")
        with Container(id="vlan-map"):
            with Container(id="side"):
                yield NetworkTable(glyphs, id="networks")
                yield Lines(glyphs=glyphs, id="network")
            with Container(id="middle"):
                grid = VlanGrid(glyphs=glyphs, id="grid")
                with Container(id="upper"):
                    yield grid
                    yield Lines(glyphs=glyphs, id="vlan")
                yield HostRows(grid, glyphs=glyphs, id="host-rows")
        yield Lines(glyphs=glyphs, id="brief")

    def on_mount(self) -> None:
        self.grid.focus()

    @property
    def grid(self) -> VlanGrid:
        return self.query_one("#grid", VlanGrid)

    @property
    def host_rows(self) -> HostRows:
        return self.query_one("#host-rows", HostRows)

    @property
    def table(self) -> NetworkTable:
        return self.query_one("#networks", NetworkTable)

    @property
    def is_choosing(self) -> bool:
        """Whether the keys go to the list of networks."""
        return self.focused is self.table

    def home(self) -> Widget | None:
        return self.table if self.has_class("-networks") and self.app.size.width < BROAD else self.grid

    def crumbs(self) -> Sequence[str]:
        row = self.space.physical if self.space is not None else None
        if row is None:
            return ["vlans", self.wanted] if self.wanted else ["vlans"]
        cards = ", ".join(dict.fromkeys(row.nic_labels.values()))
        return ["vlans", row.zone, f"{row.name} ({cards})" if cards else row.name]

    def chip(self) -> str:
        parts = [f"{self.grid.zoom:,} IDs a cell"] if self.space is not None and self.grid.zoom > 1 else []
        if self.space is not None and self.grid.anchor is not None:
            first, last = self.grid.marked
            parts.append(f"{last - first + 1:,} marked")
        if self._left is not None:
            parts.append(f"{columns.plural(self._left, 'ID')}:")
        if self.filter_text:
            parts.append(f"/{self.filter_text}")
        return " ".join([*parts, "problems only"] if self.only_problems else parts)

    def place(self) -> str:
        if self.is_choosing:
            return "vlans/networks"
        return "vlans/none" if self.space is None else "vlans" if self.space.physical.ranges else "vlans/empty"

    def idle(self) -> frozenset[str]:
        if self.space is None:
            return frozenset()
        quiet = set() if self.space.problems else {"map.problem-next"}
        mends = self.space.drifted or any(one.state is VlanState.ORPHAN for one in self.space.stretches)
        return frozenset(quiet if mends else {*quiet, "physnet.repair"})

    def subject(self, aims: str) -> Any:
        if aims == "physnet":
            return self.table.cursor_row if self.is_choosing else self.space.physical if self.space is not None else None
        return self.spot() if aims == "vlan" else None

    def spot(self) -> Spot | None:
        """The IDs a verb would work on."""
        return self.space.spot(*self.grid.marked) if self.space is not None else None

    def aim(self, ref: str) -> None:
        """Show that physical network, by id or name."""
        self.wanted = ref.partition(":")[2]
        self.is_loaded = False

    # Fetching

    def load(self) -> None:
        wanted = self.wanted

        def work(session: Any) -> tuple[Sequence[PhysicalNetworkRecord], MapRecord | None, Sequence[PresenceRecord]]:
            networks = session.fetch(ListPhysicalNetworks())
            if not wanted and not networks:
                return networks, None, ()
            found = session.fetch(ShowMap(wanted or min(networks, key=lambda row: (-row.problems, -row.networks)).id))
            drift = session.fetch(ShowPresence(found.physical.id, problems_only=True)) if found.physical.problems else ()
            return networks, found, drift

        self.ask(work, self._have, self._missing, "map")

    def _missing(self, error: FleetError) -> None:
        """The network is gone, or was never there: with others to show, the first of them."""
        if error.code == "not_found" and self.wanted and self.networks and not self.is_pane:
            self.wanted = ""
            self.load()
        else:
            self.grid.empty = error.message
            self.grid.refresh()
        self.failed(error)

    def _have(self, found: tuple[Sequence[PhysicalNetworkRecord], MapRecord | None, Sequence[PresenceRecord]]) -> None:
        networks, record, drift = found
        self.networks = {row.id: row for row in networks}
        self.table.set_rows([(row.id, row) for row in networks])
        if record is None:
            self.space = None
            self.grid.empty = "no physical network yet · :new-physnet makes one"
        else:
            self.wanted = record.physical.id
            if self.space is not None and self.space.physical.id != record.physical.id:
                self.filter_text, self.only_problems, self._vlan = "", False, None
            self.space = VlanSpace(record).with_drift(row.number for row in drift if row.problem in DRIFTED)
            self.table.cursor_key = record.physical.id
        self._looked_at = None
        self.narrow()
        self._look(at_once=True)

    def narrow(self) -> None:
        """Show of the network what the filter and ``z`` leave of it."""
        space = self.space
        self._left = None
        if space is not None and self.only_problems:
            space = space.problems_alone()
        if space is not None and self.filter_text:
            space = space.narrowed(matching(self.filter_text))
        if space is not None and space is not self.space:
            self._left = sum(one.count for one in space.stretches)
        self.grid.show(space, folded=space is not self.space)
        self._paint()

    def choose(self, network: str) -> None:
        """Show another network."""
        if network != self.wanted:
            self.wanted = network
            self.load()

    def changed(self, changed: FleetChanged) -> None:
        refs = changed.refs
        if any(ref.startswith(("physnet:", "network:")) for ref in refs):
            self.load()
        elif self.has_class("-hosts") and any(ref.startswith("host:") for ref in refs):
            self._looked_at = None
            self._look(at_once=True)

    def submitted(self, action: Action, replies: Sequence[Submitted]) -> None:
        """The map shows what comes of it."""
        self.load()

    def minute(self) -> None:
        self._paint()

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(self._paint)

    def show_hosts(self, shown: bool) -> None:
        self.set_class(shown, "-hosts")
        self.app.stylesheet.update(self)
        self._looked_at = None
        self._look(at_once=True)
        self.chrome()

    def show_networks(self, shown: bool) -> None:
        """Where there is no room for both, the list stands instead of the map; else the keys go to it."""
        if self.app.size.width >= BROAD:
            shown = not self.is_choosing
        self.set_class(shown and self.app.size.width < BROAD, "-networks")
        self.app.stylesheet.update(self)  # at once, so that keys typed ahead go to the panel that is meant
        self.set_focus(self.table if shown else self.grid)
        self._paint_network()

    # Painting

    def _paint(self) -> None:
        """Everything but the grid."""
        space, glyphs, width = self.space, self.console.glyphs, self.app.size.width
        counts = self.query_one("#counts", Lines)
        counts.display = space is not None
        if space is not None:
            lines = facts.summary(space, glyphs, self.console.clock.now(), width, self.grid.zoom, self.is_pane)
            counts.show(lines[:1] if self.is_pane and self.has_class("-flat") else lines)
        self._paint_network()
        self._paint_vlan()
        self.chrome()

    def _paint_network(self) -> None:
        row = self.table.cursor_row
        panel = self.query_one("#network", Lines)
        width = SIDE if self.app.size.width >= BROAD else self.app.size.width
        panel.show(facts.network(row, self.space, self.console.glyphs, width) if row is not None else [])

    def _paint_vlan(self) -> None:
        space, grid, now = self.space, self.grid, self.console.clock.now()
        brief = self.query_one("#brief", Lines)
        if space is None:
            self.query_one("#vlan", Lines).show([])
            brief.show([[], []])
            return
        first, last = grid.marked
        one = first == last
        if self.app.size.width >= NORMAL:
            panel, glyphs = self.query_one("#vlan", Lines), self.console.glyphs
            width = self.app.size.width - GRID - (SIDE if self.app.size.width >= BROAD else 0)
            panel.show(facts.detail(space, first, self._vlan, now, glyphs, width) if one else facts.cells(space, first, last))
        elif one:
            brief.show(facts.brief(space, first, self._vlan, now))
        else:
            brief.show(facts.brief_of(space, first, last))

    # The cursor

    def on_vlan_grid_moved(self, event: VlanGrid.Moved) -> None:
        event.stop()
        if self.space is None:
            return
        self._paint_vlan()
        here = self.spot()
        told = (here and (here.state, here.scope, here.dedication is None), self.chip())
        if told != self._told:
            self._told = told
            self.chrome()
        if self.has_class("-hosts"):
            self.host_rows.follow()
        self._look()

    def _look(self, at_once: bool = False) -> None:
        """Ask about the ID under the cursor once it has stood there for a moment."""
        if at_once:
            self._ask_about()
            return
        self._moved_at = self.console.clock.monotonic()
        if self._still is None:  # a timer for each of many moves would cost more than the moves
            self._still = once(self, STILL_S, self._is_still)

    def _is_still(self) -> None:
        left = self._moved_at + STILL_S - self.console.clock.monotonic()
        if left > 0:
            self._still = once(self, left, self._is_still)
        else:
            self._still = None
            self._ask_about()

    @property
    def is_asking(self) -> bool:
        """Whether the cursor has not stood still for long enough."""
        return self._still is not None

    def _ask_about(self) -> None:
        space = self.space
        if space is None:
            return
        target, number = space.physical.id, self.grid.cursor
        if self.grid.zoom == 1 and (self._vlan is None or self._vlan.number != number or self._looked_at is None):
            self.fetch(ShowVlan(target, number), self._have_vlan, "vlan", failed=lambda _error: None)
        window = self.grid.window
        if self.has_class("-hosts") and self._looked_at != (target, window):
            ask = ShowPresence(target, *window)
            self.fetch(ask, lambda found: self.host_rows.show(window, found), "presence", failed=lambda _error: None)
        self._looked_at = (target, window)

    def _have_vlan(self, record: VlanRecord) -> None:
        if self.space is not None and record.number == self.grid.cursor:
            self._vlan = record
            self._paint_vlan()

    @property
    def vlan(self) -> VlanRecord | None:
        """What the daemon said of the ID under the cursor, once it has."""
        return self._vlan if self._vlan is not None and self._vlan.number == self.grid.cursor else None

    def on_vlan_grid_opened(self, event: VlanGrid.Opened) -> None:
        event.stop()
        if self.console.allows("map.open"):
            self.act_map_open()

    def on_resource_table_highlighted(self, event: ResourceTable.Highlighted) -> None:
        event.stop()
        if event.key is not None and self.is_choosing:
            self.choose(event.key)
        self._paint_network()

    def on_resource_table_opened(self, event: ResourceTable.Opened) -> None:
        event.stop()
        self.choose(event.key)
        self.show_networks(False)

    def on_descendant_focus(self) -> None:
        self.chrome()

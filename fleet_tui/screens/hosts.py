"""Hosts: the tree of places, the hosts under what is chosen there, and on a broad terminal what there is to say of one.

At 80 cells one panel is shown at a time and ``t`` swaps them. What is chosen in the tree narrows the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from fleet_tui.backend.hosts import HostRecord, ListHosts, ShowHost
from fleet_tui.backend.machines import ShowCapacity
from fleet_tui.screens import host_facts, tables
from fleet_tui.screens.branches import FLEET, Branch, Hierarchy, Tree, branch_of, rows_of
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.list_keys import ListScreen
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.resource_table import ResourceTable

NORMAL, BROAD = 100, 140
FEW = 8
"""Changed hosts that are fetched one by one; more, and the whole list is."""


class HostsScreen(ListScreen):
    KIND = "hosts"
    BINDINGS = bindings("hosts")

    def __init__(self) -> None:
        super().__init__()
        self._tree_rows = Hierarchy((), (), ())
        self._hosts: dict[str, HostRecord] = {}
        self._unfolded: frozenset[str] = frozenset()
        self._place: tuple[str, ...] = ()
        self._room: Any = None

    def body(self) -> ComposeResult:
        glyphs, clock = self.console.glyphs, self.console.clock
        with Container(id="places"):
            yield Tree(glyphs, clock, id="tree")
            with Container(id="middle"):
                yield tables.table_of("hosts", glyphs, clock, id="table", empty="no hosts yet · n adds one")
                yield Lines(glyphs=glyphs, id="total", by_pieces=True)
            yield Lines(glyphs=glyphs, id="detail")

    def on_mount(self) -> None:
        self.list.sort("name")
        self.list.focus()

    @property
    def list(self) -> ResourceTable:
        return self.query_one("#table", ResourceTable)

    @property
    def tree_panel(self) -> Tree:
        return self.query_one("#tree", Tree)

    @property
    def shows_tree_alone(self) -> bool:
        return self.has_class("-tree") and self.app.size.width < NORMAL

    def home(self) -> Widget | None:
        return self.tree_panel if self.shows_tree_alone else self.list

    def kind_of(self, table: ResourceTable) -> str:
        return "branches" if table.id == "tree" else "hosts"

    def crumbs(self) -> Sequence[str]:
        return ["hosts", *self._place]

    def place(self) -> str:
        return "hosts/tree" if self.table is self.tree_panel else "hosts"

    # Selection

    def subject(self, aims: str) -> Any:
        table = self.table
        row = table.cursor_row if table is not None else None
        if row is None or aims not in ("host", "branch"):
            return None
        if isinstance(row, Branch):
            return row if aims == "branch" else row.record if row.kind == "host" else None
        return row if aims == "host" else branch_of(row)

    def subjects(self, aims: str) -> list[Any]:
        table = self.table
        if table is None or aims not in ("host", "branch"):
            return []
        marked = [row for key in table.shown_keys if key in table.marked and (row := table.row(key)) is not None]
        if aims == "branch":
            marked = [row if isinstance(row, Branch) else branch_of(row) for row in marked]
        marked = [row for row in marked if isinstance(row, Branch) is (aims == "branch")]
        return marked or super().subjects(aims)

    def current(self) -> tuple[str, Any] | None:
        row = self.table.cursor_row if self.table is not None else None
        if isinstance(row, Branch):
            return ("hosts", row.record) if row.record is not None else None
        return None if row is None else ("hosts", row)

    # Data

    def load(self) -> None:
        self.ask(lambda session: (Hierarchy.fetched(session), session.fetch(ListHosts())), self._have, group="hosts")

    def _have(self, found: tuple[Hierarchy, Sequence[HostRecord]]) -> None:
        self._tree_rows, hosts = found
        self._hosts = {f"host:{row.id}": row for row in hosts}
        self._paint()

    def changed(self, changed: FleetChanged) -> None:
        refs = changed.refs
        hosts = sorted(ref for ref in refs if ref.startswith("host:"))
        if any(ref.startswith(("zone:", "pod:", "cluster:")) for ref in refs) or len(hosts) > FEW or any(ref not in self._hosts for ref in hosts):
            self.load()
        elif hosts:
            ids = [ref.partition(":")[2] for ref in hosts]
            self.ask(lambda session: [session.fetch(ShowHost(id_)) for id_ in ids], self._have_some, lambda _error: self.load())

    def _have_some(self, rows: Iterable[HostRecord]) -> None:
        self._hosts.update((f"host:{row.id}", row) for row in rows)
        self._paint()

    def _paint(self) -> None:
        branches = list(rows_of(self._tree_rows, self._hosts.values(), self._unfolded))
        self.tree_panel.set_rows([(branch.key, branch) for branch in branches])
        self._narrow()
        self.chrome()

    def _narrow(self) -> None:
        """List the hosts under what is chosen in the tree."""
        branch = self.tree_panel.cursor_row
        self._place = branch.place if branch is not None else ()
        lead = "/".join(self._place)
        rows = [(key, row) for key, row in self._hosts.items() if f"{row.location}/{row.name}/".startswith(f"{lead}/") or not lead]
        self.list.set_rows(rows)
        self.query_one("#total", Lines).show(host_facts.total([row for _, row in rows], self.console.glyphs))
        self._detail_of(self.list.cursor_row)

    def _detail_of(self, row: HostRecord | None) -> None:
        """What there is to say of the host under the cursor, where there is room to say it."""
        if self.app.size.width < BROAD:
            return
        if row is None or self.focused is self.tree_panel:
            branch = self.tree_panel.cursor_row
            self.query_one("#detail", Lines).show(host_facts.place(branch, self.console.glyphs) if branch is not None else [])
            return
        if self._room is not None and self._room.host != row.name:
            self._room = None
        self._paint_detail(row)
        self.fetch(ShowCapacity(row.id), lambda found: self._have_room(row, found), "room", failed=lambda _error: None)

    def _have_room(self, row: HostRecord, found: Sequence[Any]) -> None:
        self._room = found[0] if found else None
        current = self.list.cursor_row
        if current is not None and current.id == row.id and self.focused is not self.tree_panel:
            self._paint_detail(current)

    def _paint_detail(self, row: HostRecord) -> None:
        panel = self.query_one("#detail", Lines)
        lines = host_facts.overview(row, self._room, self.console.glyphs, self.console.clock.now(), panel.size.width)
        panel.show([[(f" {row.name}", "strong")], [], *lines])

    def minute(self) -> None:
        self.list.touch()

    def on_resize(self) -> None:
        super().on_resize()
        self.call_after_refresh(lambda: self._detail_of(self.list.cursor_row))

    # Keys

    def on_resource_table_highlighted(self, event: ResourceTable.Highlighted) -> None:
        if event.table is self.tree_panel:
            self._narrow()
            self.chrome()
        else:
            self._detail_of(event.table.cursor_row)
        super().on_resource_table_highlighted(event)

    def act_tree_toggle(self) -> None:
        """Swap the two panels, or go to the other one where both are shown."""
        if self.app.size.width < NORMAL:
            self.toggle_class("-tree")
            self.app.stylesheet.update(self)  # at once, so that keys typed ahead go to the panel that is meant
            target = self.home()
        else:
            target = self.list if self.focused is self.tree_panel else self.tree_panel
        self.set_focus(target)

    def on_descendant_focus(self) -> None:
        """Footer and detail follow the panel that has the keys."""
        self.chrome()
        self._detail_of(self.list.cursor_row)

    def _fold(self, unfold: bool) -> None:
        branch = self.tree_panel.cursor_row
        if branch is not None and branch.kind == "cluster" and self.table is self.tree_panel:
            self._unfolded = self._unfolded | {branch.key} if unfold else self._unfolded - {branch.key}
            self._paint()

    def act_tree_open(self) -> None:
        self._fold(True)

    def act_tree_close(self) -> None:
        self._fold(False)

    def leave(self) -> bool:
        if super().leave():
            return True
        if self.shows_tree_alone:
            self.act_tree_toggle()
        elif self._place:
            self.tree_panel.cursor_key = FLEET
        else:
            return False
        return True

    def open_row(self, kind: str, row: Any) -> None:
        """A host opens; a place of the tree leads to its hosts."""
        host = row.record if isinstance(row, Branch) and row.kind == "host" else row
        if not isinstance(row, Branch) or row.kind == "host":
            self.console.open("host", f"host:{host.id}")
        else:
            self.act_tree_toggle()

    def filtered(self, text: str, done: bool) -> None:
        self.list.filter_text = text
        self.chrome()

"""Keys of the map, carried out: going about in it, narrowing it, what is done to networks and IDs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet_tui.backend.networks import PhysicalNetworkRecord, ShowVlan
from fleet_tui.screens.list_keys import MovingScreen
from fleet_tui.widgets.prompt import Prompt
from fleet_tui.widgets.vlan_grid import VlanGrid
from fleet_tui.widgets.vlan_space import Spot, VlanSpace

GOTO = "#"
"""Mode of the prompt in which a number is typed."""


class MapKeys(MovingScreen):
    """What a screen with a map lends: its grid, the network on it and how that is narrowed."""

    space: VlanSpace | None
    networks: dict[str, PhysicalNetworkRecord]
    wanted: str
    only_problems: bool
    filter_text: str
    grid: VlanGrid
    narrow: Callable[[], None]
    choose: Callable[[str], None]
    show_hosts: Callable[[bool], None]
    show_networks: Callable[[bool], None]
    _before_goto = 0

    # Going about

    def act_map_left(self) -> None:
        self.grid.step(-1)

    def act_map_right(self) -> None:
        self.grid.step(1)

    def act_map_first(self) -> None:
        self.grid.top()

    def act_map_goto(self) -> None:
        if self.space is not None:
            self._before_goto = self.grid.cursor
            self.query_one(Prompt).open(GOTO)

    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """The cursor goes along while a number is typed."""
        if event.mode == GOTO:
            event.stop()
            event.prevent_default()
            self.goto(event.text, quietly=True)

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        if event.mode == GOTO:
            event.stop()
            event.prevent_default()
            self.restore_focus()
            if event.text.strip():
                self.goto(event.text)
            else:
                self.grid.top()

    def on_prompt_cancelled(self, event: Prompt.Cancelled) -> None:
        if event.mode == GOTO:
            event.stop()
            event.prevent_default()
            self.restore_focus()
            self.grid.go(self._before_goto)

    def goto(self, text: str, quietly: bool = False) -> None:
        """Put the cursor on an ID that was typed, or say why not."""
        space, word = self.space, text.strip().replace(",", "")
        if space is None:
            return
        if word.isascii() and word.isdigit() and space.first <= int(word) <= space.last:
            self.grid.go(int(word))
        elif not quietly:
            self.grid.go(self._before_goto)
            self.say(f"{text.strip()!r} is no ID; they go from {space.first} to {space.last:,}", "warning")

    def act_map_problem_next(self) -> None:
        self._to_problem(self.space.next_problem(self.grid.marked[1]) if self.space is not None else None)

    def act_map_problem_previous(self) -> None:
        self._to_problem(self.space.previous_problem(self.grid.marked[0]) if self.space is not None else None)

    def _to_problem(self, number: int | None) -> None:
        if number is None:
            self.say("no ID of this network is a problem")
        else:
            self.grid.go(number)

    def act_map_zoom(self) -> None:
        self.grid.zoom_out()
        self.narrow()

    def act_map_open(self) -> None:
        if self.grid.zoom > 1:
            self.grid.zoom_in()
            self.narrow()
        else:
            self.act_page_describe()

    def act_map_mark(self) -> None:
        if self.space is not None:
            self.grid.mark(self.grid.cursor if self.grid.anchor is None else None)
            self.chrome()

    # Narrowing

    def act_map_problems(self) -> None:
        self.only_problems = not self.only_problems
        self.narrow()

    def act_map_filter(self) -> None:
        self.query_one(Prompt).open("/", self.filter_text)

    def filtered(self, text: str, done: bool) -> None:
        """Narrow the map; a number goes to that ID, and the name of a network shows it."""
        word = text.strip()
        named = next((row for row in self.networks.values() if word in (row.id, row.name, f"{row.zone}/{row.name}")), None)
        if done and word.isdigit():
            self.filter_text = ""
            self.narrow()
            self.goto(word)
        elif done and named is not None:
            self.choose(named.id)
        elif done and word and not self.networks and not {":", "!", " "} & set(word):
            self.wanted = word  # not loaded yet: it can only be a name
            self.is_loaded = False
            self.shown()
        else:
            self.filter_text = word
            self.narrow()

    def leave(self) -> bool:
        if self.grid.anchor is not None:
            self.act_map_mark()
        elif self.has_class("-networks"):
            self.show_networks(False)
        elif self.filter_text:
            self.filtered("", True)
        elif self.only_problems:
            self.act_map_problems()
        else:
            return False
        return True

    # What is shown

    def act_map_hosts(self) -> None:
        self.show_hosts(not self.has_class("-hosts"))

    def act_map_networks(self) -> None:
        self.show_networks(not self.has_class("-networks"))

    def act_map_operations(self) -> None:
        if self.space is not None:
            self.console.go("operations", filter_text=self.space.physical.name)

    def act_page_describe(self) -> None:
        self._describe(False)

    def act_page_raw(self) -> None:
        self._describe(True)

    def _describe(self, raw: bool) -> None:
        space = self.space
        if space is None:
            return
        number, name = self.grid.cursor, space.physical.name
        ref = f"physnet:{space.physical.id}"
        self.fetch(
            ShowVlan(space.physical.id, number),
            lambda record: self.console.open("detail", ref, record=record, title=f"{name} {number}", raw=raw), "describe",
        )  # fmt: skip

    def act_list_copy(self) -> None:
        if self.space is not None:
            first, last = self.grid.marked
            self.copy(self.space.spot(first, last).text, "ID" if first == last else "IDs")

    def act_list_copy_row(self) -> None:
        space = self.space
        if space is None:
            return
        rows = [
            f"{one.first}\t{one.last}\t{one.state.value}\t{one.scope.value if one.scope else ''}\t{one.network}\t{one.owner}"
            for one in space.between(*self.grid.marked)
        ]
        self.copy("\n".join(rows), "rows")

    def act_map_save(self) -> None:
        from fleet_tui.screens import vlan_save

        if self.space is not None:
            vlan_save.ask(self, self.space)

    # What is done

    def act_physnet_ranges(self, row: Any) -> None:
        from fleet_tui.screens import vlan_forms

        vlan_forms.edit_ranges(self, row, "set")

    def act_physnet_add_ranges(self, row: Any) -> None:
        from fleet_tui.screens import vlan_forms

        spot = self.subject("vlan")
        vlan_forms.edit_ranges(self, row, "add", spot.text if spot is not None and spot.id == row.id and spot.scope is None else "")

    def act_physnet_remove_ranges(self, row: Any) -> None:
        from fleet_tui.screens import vlan_forms

        spot = self.subject("vlan")
        vlan_forms.edit_ranges(self, row, "remove", spot.text if spot is not None and spot.id == row.id and spot.scope is not None else "")

    def act_physnet_template(self, row: Any) -> None:
        from fleet_tui.screens import vlan_forms

        vlan_forms.apply_scheme(self, row)

    def act_physnet_labels(self, row: Any) -> None:
        from fleet_tui.screens import vlan_forms

        vlan_forms.edit_labels(self, row)

    def act_physnet_new(self) -> None:
        from fleet_tui.screens import vlan_forms

        vlan_forms.new_network(self)

    def act_vlan_dedicate(self, row: Spot) -> None:
        from fleet_tui.screens import vlan_forms

        vlan_forms.dedicate(self, row)

    def act_vlan_scope(self, row: Spot) -> None:
        from fleet_tui.screens import vlan_forms

        span = self.space.range_at(row.first) if self.space is not None else None
        whole = self.grid.anchor is None and self.grid.zoom == 1 and span is not None
        vlan_forms.set_scope(self, row, f"{span.first}-{span.last}" if whole and span is not None else row.text)

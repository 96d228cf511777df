"""A list to tick in: VMs that go back, items of a checklist. Space toggles; nothing happens until it is confirmed, or each tick at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from fleet_tui.screens import dialogs
from fleet_tui.screens.tables import Table
from fleet_tui.widgets.column import Column
from fleet_tui.widgets.safety import safe

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen


@dataclass(frozen=True, slots=True)
class Tick:
    """One line."""

    value: str
    title: str
    note: str = ""
    ticked: bool = False


@dataclass(frozen=True, slots=True)
class Picking:
    """What a list asks. Without ``then`` each tick is told to ``toggled`` at once."""

    title: str
    items: Sequence[Tick]
    verb: str = ""
    then: Callable[[tuple[str, ...]], None] | None = None
    toggled: Callable[[str], None] | None = None
    key: str = "y"


class Pick(ModalScreen[None]):
    """The dialog."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "leave", "Back"), ("space", "toggle", ""), ("asterisk", "all", ""), ("j", "move(1)", ""), ("k", "move(-1)", ""),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.picking = Picking("", ())

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="pick"):
            yield Static(classes="dialog-title", markup=False)
            yield Table(
                [Column("title", "", 20, render=lambda r: r.title, flexible=True), Column("note", "", 30, render=lambda r: (r.note, "muted"))],
                id="ticks", empty="nothing to choose from",
            )  # fmt: skip
            yield Static(classes="dialog-foot", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Do it", id="yes", compact=True)
                yield Button("Cancel", id="no", compact=True)

    @property
    def table(self) -> Table:
        return self.query_one("#ticks", Table)

    def on_screen_resume(self) -> None:
        picking = self.picking
        self.query_one(".dialog-title", Static).update(safe(picking.title))
        self.table.glyphs = getattr(self.app, "glyphs", self.table.glyphs)
        self.table.clear_marks()
        self.table.set_rows([(item.value, item) for item in picking.items])
        self._mark({item.value for item in picking.items if item.ticked})
        self.table.styles.height = min(len(picking.items) + 1, 14)
        self.query_one(".dialog-foot", Static).update("space tick   * all" if picking.then else "space tick   esc back")
        buttons = self.query_one(".buttons")
        buttons.display = picking.then is not None
        self.query_one("#yes", Button).label = safe(f"{picking.verb} [{picking.key}]")
        self.query_one("#yes", Button).refresh(layout=True)  # a label alone leaves it as wide as the one before was
        self.query_one("#no", Button).label = safe("Cancel [esc]")
        self.table.focus()

    def _mark(self, wanted: set[str]) -> None:
        """Tick exactly these, wherever the cursor is."""
        here = self.table.cursor_key
        for key in self.table.shown_keys:
            if (key in self.table.marked) is not (key in wanted):
                self.table.cursor_key = key
                self.table.toggle_mark()
        if here is not None:
            self.table.cursor_key = here

    def action_toggle(self) -> None:
        key = self.table.cursor_key
        if key is None:
            return
        self.table.toggle_mark()
        if self.picking.toggled is not None:
            self.picking.toggled(key)
        self.table.move(1)

    def action_all(self) -> None:
        if self.picking.then is not None:
            everything = set(self.table.shown_keys)
            self._mark(set() if self.table.marked == everything else everything)

    def action_move(self, by: int) -> None:
        self.table.move(by)

    def on_key(self, event: events.Key) -> None:
        if self.picking.then is not None and event.character == self.picking.key:
            event.stop()
            self._accept()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "yes":
            self._accept()
        else:
            self.action_leave()

    def on_resource_table_opened(self, event: Any) -> None:
        """Enter ticks too: it never confirms."""
        event.stop()
        self.action_toggle()

    def _accept(self) -> None:
        chosen = tuple(key for key in self.table.shown_keys if key in self.table.marked)
        then = self.picking.then
        if chosen and then is not None and self.app.screen is self:
            dialogs.close(self)
            then(chosen)

    def action_leave(self) -> None:
        dialogs.close(self)


def pick(screen: FleetScreen, picking: Picking) -> None:
    """Show the list over a screen."""
    app = screen.app
    if not app.is_screen_installed("pick"):
        app.install_screen(Pick(), "pick")
    dialog = app.get_screen("pick")
    assert isinstance(dialog, Pick)
    dialog.picking = picking
    app.push_screen("pick")

"""What a template's screen and a virtual network's have in common: what matters first, tabs, a form, and who is linked to it.

What a save would have wait for a reprovision is said before it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from fleet_tui import actions
from fleet_tui.actions import ACTIONS
from fleet_tui.backend.errors import FleetError, NotFound
from fleet_tui.backend.instances.fields import Field
from fleet_tui.backend.instances.profiles import LinkedInstance
from fleet_tui.screens import profile_fields
from fleet_tui.screens.form import Choice, FieldForm
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.profile_saving import SavedForm, saved_words, these
from fleet_tui.screens.tables import Table
from fleet_tui.widgets.column import Column
from fleet_tui.widgets.paint import Lines, Span
from fleet_tui.widgets.resource_table import ResourceTable
from fleet_tui.widgets.safety import plain

Line = Sequence[Span]
FIXED = "fixed: instances are linked"
"""Beside a field that says where a virtual network is."""


class ProfileScreen(SavedForm):
    """One template or virtual network. Its last two tabs are the form and the instances."""

    TABS: ClassVar[Mapping[str, str]]
    """Tab -> its title."""

    def __init__(self) -> None:
        super().__init__()
        self.tab = next(iter(self.TABS))
        self._wanted_tab = ""
        self._hints: dict[str, str] = {}
        self._enters = False
        """Whether the person asked to edit before there were fields."""
        self._typed: dict[str, Any] = {}
        """What was typed while a save was on its way, until the fields show what is on record."""

    def status_lines(self) -> list[Line]:
        """What matters first of what is on record."""
        raise NotImplementedError

    # Parts

    def body(self) -> ComposeResult:
        glyphs = self.console.glyphs
        yield Lines(glyphs=glyphs, id="tabs")
        yield Lines(glyphs=glyphs, id="facts")
        yield from self.more_parts()
        with Vertical(id="settings"):
            yield FieldForm(id="fields")
            yield Lines(glyphs=glyphs, id="hint")
        yield Table(
            [
                Column("label", "INSTANCE", 16, render=lambda r: f"{glyphs.status(_linked_status(r))} {r.label}", priority=1000, roomy=30),
                Column("state", "STATE", 14, render=lambda r: r.state),
                Column("waits", "WAITS", 5, render=lambda r: "yes" if r.waits else "-", priority=40),
                Column("why", "WHY IT WAITS", 40, render=lambda r: self._why(r), flexible=True),
            ],
            status_of=_linked_status, glyphs=glyphs, id="instances", empty=f"no instance is linked to this {self.NOUN}",
        )  # fmt: skip

    def more_parts(self) -> ComposeResult:
        """Widgets of the tabs before the last two."""
        yield from ()

    def on_mount(self) -> None:
        self._show_tab(self.tab)

    @property
    def thing(self) -> Any:
        return self.record

    def subject(self, aims: str) -> Any:
        return self.record if aims == self.AIMS else super().subject(aims)

    def kind_of(self, table: ResourceTable) -> str:
        return str(table.id)

    def crumbs(self) -> list[str]:
        name = self.record.label if self.record else self.ref.partition(":")[2]
        return [f"{self.NOUN}s", name or f"new {self.NOUN}"]

    def place(self) -> str:
        row = self.form.focused_row if self.is_mounted and self.tab == "settings" else None
        if row is not None:
            return "form/choice" if isinstance(row.editor, Choice) else "form/text"
        return f"{self.KIND}/{self.tab}" if f"{self.KIND}/{self.tab}" in actions.HINTS else self.KIND

    def idle(self) -> frozenset[str]:
        table = self.table
        nothing = frozenset() if table is not None and table.row_count else frozenset({"page.jump", "list.filter"})
        return nothing if self.holds_edits else nothing | {"tabs.save"}

    def home(self) -> Widget | None:
        return None if self.tab == "settings" else self.query_one(f"#{self.tab}")

    # Tabs

    def aim(self, ref: str, *, tab: str = "", edit: bool = False) -> None:
        self._enters = edit
        if ref != self.ref:
            self.sheet, self._complaint = None, ""
            self._saving, self._was_saved, self._typed = None, False, {}
            self._wanted_tab = tab or next(iter(self.TABS))
            if self.is_mounted:  # nothing of the one before is shown, or worked on, under the name of this one
                self.form.forget()
                self.begin()
                self.show_linked(())
        elif tab:
            self._wanted_tab = tab
        super().aim(ref)

    def shown(self) -> None:
        if self._wanted_tab:
            self._show_tab(self._wanted_tab)
            self._wanted_tab = ""
        super().shown()
        if self._enters and self.sheet is not None and self.form.rows:
            self.enter_form()

    def _show_tab(self, tab: str) -> None:
        self.tab = tab
        self.set_focus(None)
        for name in self.TABS:
            self.query_one(f"#{name}").display = name == tab
        titles = [(f" {title} ", "focused" if name == tab else "muted") for name, title in self.TABS.items()]
        self.query_one("#tabs", Lines).show([[(" ", ""), *(part for title in titles for part in (title, (" ", "")))]])
        self.set_focus(self.home())
        self.paint()

    def show_settings(self) -> None:
        if self.tab != "settings":
            self._show_tab("settings")

    def turn(self, by: int) -> None:
        tabs = list(self.TABS)
        self._show_tab(tabs[(tabs.index(self.tab) + by) % len(tabs)])

    def act_tabs_next(self) -> None:
        self.turn(1)

    def act_tabs_previous(self) -> None:
        self.turn(-1)

    def enter_form(self) -> None:
        self.show_settings()
        self._enters = not self.form.rows
        self.form.focus_first()

    def act_move_down(self) -> None:
        if self.tab == "settings":
            self.enter_form()
        else:
            super().act_move_down()

    def act_page_jump(self) -> None:
        if self.tab == "settings":
            self.enter_form()
        elif self.table is not None:
            self.table.open()

    def open_row(self, kind: str, row: Any) -> None:
        if kind == "instances":
            self.console.open("instance", f"instance:{row.id}")

    def on_descendant_focus(self) -> None:
        self._hint()
        self.footer()

    def _hint(self) -> None:
        """What the field that has the focus takes; there is no room for it beside each."""
        row = self.form.focused_row if self.tab == "settings" else None
        said = self._hints.get(row.field.name, "") if row is not None else ""
        self.query_one("#hint", Lines).show([[(f" {row.field.title}: {said}", "muted")] if row is not None and said else []])

    # Fetching

    def load(self) -> None:
        self.fetch(self.show_request(self.ref.partition(":")[2]), self._have, "sheet", failed=self._missing)

    def _missing(self, error: FleetError) -> None:
        if isinstance(error, NotFound):
            self.say(f"{self.record.label} is gone" if self.record else error.message, "warning")
            if self.console.screen is self and not self.holds_edits:
                self.console.back()
        else:
            self.failed(error)

    def _have(self, sheet: Any) -> None:
        first = self.sheet is None
        if self.holds_edits and not self._was_saved and not first:
            if sheet.record.version != self.record.version:
                self._complaint = f"somebody saved this {self.NOUN} meanwhile; ctrl+o shows what differs"
            self.show_linked(sheet.linked)
            self.paint()
            return
        self.sheet = sheet
        if sheet.record.id:
            self.ref = f"{self.ref.partition(':')[0]}:{sheet.record.id}"
        if self._was_saved:
            self._typed = self.typed_since()
            self._was_saved, self._saving = False, None
            self.say(saved_words(self.NOUN, sheet))
        self._complaint = ""
        self.begin()
        self.show_linked(sheet.linked)
        self.run_worker(self._fill(sheet, first), exclusive=True)

    def _why(self, row: LinkedInstance) -> str:
        """Why it waits, without saying on each line what the screen is about."""
        return row.why.removeprefix(f"{self.record.label} was changed: ") if self.record is not None else row.why

    def show_linked(self, linked: Sequence[LinkedInstance]) -> None:
        self.query_one("#instances", ResourceTable).set_rows([(f"instance:{row.id}", row) for row in linked])

    async def _fill(self, sheet: Any, first: bool) -> None:
        """Show what is on record, and over it what was typed meanwhile. In a session that may not edit, every field is locked and says why."""
        fields, values = profile_fields.all_shown(self.FIELDS, {**sheet.record.values, "label": sheet.record.label})
        why = actions.forbidden(ACTIONS[f"{self.AIMS}.edit"], self.console.record)
        locked = dict.fromkeys((field.name for field in fields), why) if why else dict.fromkeys(sheet.locked, FIXED)
        self._hints = {field.name: field.help or field.rule for field in fields}
        fields = [_bare(field) for field in fields]
        self.form.set_class(self.is_new, "-bare")
        focused = self.form.focused_row.field.name if self.form.focused_row is not None else ""
        with self.app.batch_update():
            await self.form.fill(fields, values, locked=locked, choices=profile_fields.choices(sheet.choices))
            for name in self._typed.keys() & self.form.rows.keys() - locked.keys():
                self.form.rows[name].put(self._typed[name])
            self._typed = {}
            self._relevant()
        if self.tab == "settings" and focused in self.form.rows:
            self.form.rows[focused].editor.focus()
        elif self.tab == "settings" and (self._enters or (first and self.is_new)):
            self._enters = False
            self.form.focus_first()
        self.paint()

    def changed(self, changed: FleetChanged) -> None:
        mine = {self.ref, *(f"instance:{row.id}" for row in (self.sheet.linked if self.sheet else ())[:500])}
        if mine & changed.refs and not self.is_new:
            self.load()

    # Painting

    def paint(self) -> None:
        """The lines above the tab, and the footer."""
        if not self.is_mounted:
            return
        width = max(40, self.app.size.width - 2)
        lines: list[Line] = list(self.status_lines()) if self.sheet is not None else []
        if edits := self.edited_words():
            lines += wrapped(f"not saved: {', '.join(edits)}. {self.marks()}", "attention", width)
        if self._complaint:
            lines += wrapped(f"✗ {self._complaint}", "failed", width)
        row = self.query_one("#instances", ResourceTable).cursor_row if self.tab == "instances" else None
        if row is not None and row.waits:
            lines += wrapped(f"  {row.label}: {self._why(row)}", "muted", width)
        self.query_one("#facts", Lines).show(lines)
        self.chrome()

    def marks(self) -> str:
        """What a save would have wait for a reprovision."""
        if self.is_new:
            return "ctrl+o creates it"
        classes = {row.field.change_class for row in self.form.rows.values() if row.edited}
        running = [row.label for row in self.sheet.linked if row.state != "new"]
        if not (classes - {"L"} or self.more_edits()) or not running:
            return f"ctrl+o saves it; no instance waits for a reprovision because of {'it' if running else 'it, for none runs'}"
        return f"ctrl+o saves it; then {these(running)} {'waits' if len(running) == 1 else 'wait'} for a reprovision"

    def on_resource_table_highlighted(self, event: ResourceTable.Highlighted) -> None:
        super().on_resource_table_highlighted(event)
        if event.table.id == "instances":
            self.paint()

    def _relevant(self) -> None:
        """Only fields that mean anything with what is chosen, and headings that have any."""
        heading: Widget | None = None
        for part in self.form.children:
            row = next((row for row in self.form.rows.values() if row is part), None)
            if row is None:
                heading = part
                part.display = False
                continue
            part.display = self.meant(row.field)
            if part.display and heading is not None:
                heading.display = True

    def on_field_form_edited(self, event: FieldForm.Edited) -> None:
        event.stop()
        self._relevant()
        self.paint()

    def on_choice_wanted(self, event: Choice.Wanted) -> None:
        event.stop()
        from fleet_tui.screens.new_instance import choose_value

        choose_value(self.app, event.choice)

    # Looking closer

    def act_page_describe(self) -> None:
        self._detail(False)

    def act_page_raw(self) -> None:
        self._detail(True)

    def _detail(self, raw: bool) -> None:
        if self.sheet is not None:
            self.console.open("detail", self.ref, record=self.sheet, title=self.record.label or self.crumbs()[1], raw=raw)

    def act_list_copy(self) -> None:
        if self.record is not None:
            self.copy(self.record.label, "name")


def _bare(field: Field) -> Field:
    """As the form has it: what it takes is told elsewhere, and when a place may be changed is told by the lock."""
    applies = "L" if field.change_class == "P" else field.change_class
    return replace(field, help="kept" if field.help.startswith("kept;") else "", change_class=applies)


def _linked_status(row: LinkedInstance) -> str:
    return "attention" if row.waits else "failed" if row.state == "failed" else "off" if row.state in ("new", "stopped", "deprovisioned") else "well"


def wrapped(text: str, style: str, width: int) -> list[Line]:
    """A sentence in lines, those after the first indented."""
    return [[(f" {line}", style)] for line in textwrap.wrap(plain(text), width, subsequent_indent="  ")]

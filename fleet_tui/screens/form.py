"""A form made from the table of fields: value, when it applies, what was wrong with it; everything typed is kept.

The same form edits an instance's settings and makes a new one. It knows nothing of the daemon: the screen gives it
values, complaints and other people's changes, and asks it what has been edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text
from textual import events
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from fleet_tui.backend.instances.fields import Field, parse
from fleet_tui.screens.editors import MOST_TYPED, Choice, SecretEditor, TextBox
from fleet_tui.screens.field_row import FieldRow

TOO_MUCH = f"not taken: more than {MOST_TYPED // 1024} KiB were pasted"


class FieldForm(VerticalScroll, can_focus=False):
    """Fields under their group headings."""

    class Edited(Message):
        """Something was typed or chosen."""

    def __init__(self, *, id: str | None = None, applies: bool = True) -> None:
        super().__init__(id=id, classes="form" if applies else "form -bare")
        self._enter_moves_on = self._tells_when = applies
        self.rows: dict[str, FieldRow] = {}
        self._meant: Callable[[Field, Mapping[str, Any]], bool] | None = None

    def forget(self) -> None:
        """Show no field until the next `fill`."""
        self.rows = {}
        self.remove_children()

    async def fill(
        self,
        fields: Iterable[Field],
        values: Mapping[str, Any],
        *,
        locked: Mapping[str, str] | None = None,
        applied: Mapping[str, Any] | None = None,
        choices: Mapping[str, Sequence[str]] | None = None,
        reasons: Mapping[str, str] | None = None,
        meant: Callable[[Field, Mapping[str, Any]], bool] | None = None,
    ) -> None:
        """Show these fields anew; what was typed before is gone.

        Args:
            meant: whether a field means anything beside these values; one that does not is not shown, nor saved.
        """
        await self.remove_children()
        self.rows, group, self._meant = {}, "", meant
        parts: list[Widget] = []
        for field in fields:
            if field.group != group:
                told = "applies" if self._tells_when and not group else ""
                group = field.group
                parts.append(Horizontal(Static(Text(group.upper())), Static(told), classes="group"))
            row = FieldRow(
                field, values.get(field.name, field.default), locked=(locked or {}).get(field.name, ""),
                was=(applied or {}).get(field.name), why=(reasons or {}).get(field.name, ""), choices=(choices or {}).get(field.name, ()),
                hints=not self._tells_when,
            )  # fmt: skip
            self.rows[field.name] = row
            parts.append(row)
        self._sift()
        await self.mount_all(parts)

    def has(self, fields: Iterable[Field], values: Mapping[str, Any]) -> bool:
        """Whether these are the fields shown, and have room for their values. A form that is worked in has: no row goes from under the cursor."""
        if [row.field for row in self.rows.values()] != list(fields):
            return False
        fits = all(row.fits(values.get(name, row.field.default)) for name, row in self.rows.items())
        return fits or self.focused_row is not None or self.is_edited

    def learn(
        self,
        values: Mapping[str, Any],
        *,
        locked: Mapping[str, str],
        applied: Mapping[str, Any],
        choices: Mapping[str, Sequence[str]],
        reasons: Mapping[str, str],
        own: frozenset[str] = frozenset(),
    ) -> list[FieldRow]:
        """These are on record now: shown where nothing was typed. No row comes or goes, nor does the cursor. Gives the fields that both changed.

        Args:
            own: names of fields that were changed here.
        """
        return [
            row for name, row in self.rows.items()
            if row.learn(
                values.get(name, row.field.default), locked=locked.get(name, ""), was=applied.get(name), why=reasons.get(name, ""),
                choices=choices.get(name, ()), is_own=name in own,
            )
        ]  # fmt: skip

    def _sift(self) -> None:
        """Show the fields that mean something beside what is chosen now."""
        if self._meant is not None:
            values = {name: row.raw for name, row in self.rows.items() if isinstance(row.editor, Choice)}
            for row in self.rows.values():
                row.display = self._meant(row.field, values)

    @property
    def is_edited(self) -> bool:
        return any(row.edited for row in self.rows.values())

    def edits(self) -> dict[str, Any]:
        """Fields whose value differs from what they began with, parsed as far as they can be."""
        return {name: parse(row.field, row.raw)[0] for name, row in self.rows.items() if row.edited}

    def values(self) -> dict[str, Any]:
        """Every field, parsed as far as it can be."""
        return {name: parse(row.field, row.raw)[0] for name, row in self.rows.items()}

    def check(self) -> bool:
        """Say beside each edited field what is wrong with it by itself. True when nothing is."""
        problems = {name: parse(row.field, row.raw)[1] for name, row in self.rows.items() if row.edited}
        self.complain({name: said for name, said in problems.items() if said})
        return not any(problems.values())

    def complain(self, problems: Mapping[str, str]) -> None:
        """Show each problem beside its field, and go to the first."""
        for name, row in self.rows.items():
            row.complain(problems.get(name, ""))
        first = next((row for name, row in self.rows.items() if name in problems), None)
        if first is not None:
            first.editor.focus()
            first.scroll_visible(animate=False)

    def focus_first(self) -> None:
        for row in self.rows.values():
            if row.display and row.editor.focusable:
                row.editor.focus()
                return

    @property
    def focused_row(self) -> FieldRow | None:
        return next((row for row in self.rows.values() if row.editor.has_focus), None)

    async def _on_key(self, event: events.Key) -> None:
        row = self.focused_row
        if row is None or isinstance(row.editor, TextArea) or event.key not in ("up", "down"):
            return
        step = self.screen.focus_next if event.key == "down" else self.screen.focus_previous
        step(".editor")
        event.stop()

    def _row_of(self, editor: Widget | None) -> FieldRow | None:
        return next((row for row in self.rows.values() if row.editor is editor), None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the next field; in a small dialog it saves, so there the event goes on up."""
        if not self._enter_moves_on:
            return
        event.stop()
        self.screen.focus_next(".editor")

    def on_secret_editor_submitted(self, event: SecretEditor.Submitted) -> None:
        if not self._enter_moves_on:
            return
        event.stop()
        self.screen.focus_next(".editor")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        if (row := self._row_of(event.text_area)) is not None:
            row.tell()
        self.post_message(self.Edited())

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        self._sift()
        self.post_message(self.Edited())

    def on_secret_editor_changed(self, event: SecretEditor.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())

    def on_text_box_too_much(self, event: TextBox.TooMuch) -> None:
        event.stop()
        self._refuse(event.box)

    def on_secret_editor_too_much(self, event: SecretEditor.TooMuch) -> None:
        event.stop()
        self._refuse(event.editor)

    def _refuse(self, editor: Widget) -> None:
        if (row := self._row_of(editor)) is not None:
            row.complain(TOO_MUCH)

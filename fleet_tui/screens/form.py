"""A form made from the table of fields: value, when it applies, what was wrong with it; everything typed is kept.

The same form edits an instance's settings and makes a new one. It knows nothing of the daemon: the screen gives it
values, complaints and other people's changes, and asks it what has been edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from fleet_tui.backend.instances.fields import APPLIES, Field, parse
from fleet_tui.widgets.safety import plain, safe


class Choice(Static, can_focus=True):
    """One of several words. Space and the arrows go round; enter asks for a list."""

    class Wanted(Message):
        """The person wants to choose from a list."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    class Changed(Message):
        """Another word was chosen."""

    def __init__(self, value: Any, options: Sequence[Any], locked: bool = False, name: str | None = None) -> None:
        super().__init__(markup=False, classes="editor choice", name=name)
        self.options = tuple(options)
        self.value = value
        self.can_focus = not locked
        self._paint()

    def choose(self, value: Any) -> None:
        if value != self.value:
            self.value = value
            self._paint()
            self.post_message(self.Changed())

    def _paint(self) -> None:
        word = {True: "yes", False: "no", "": "(newest)"}.get(self.value, self.value)
        text = safe(str(word))
        if self.can_focus:
            text.append(" ▼")
        self.update(text)

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("space", "right", "left") and self.options:
            here = self.options.index(self.value) if self.value in self.options else -1
            self.choose(self.options[(here + (-1 if event.key == "left" else 1)) % len(self.options)])
        elif event.key == "enter":
            if len(self.options) > 2:
                self.post_message(self.Wanted(self))
            elif self.options:
                self.choose(self.options[1 - self.options.index(self.value)] if len(self.options) == 2 else self.value)
        else:
            return
        event.stop()
        event.prevent_default()


def line_editor(value: str = "", **options: Any) -> Input:
    """An input of one line whose cursor does not blink: an idle screen writes nothing."""
    editor = Input(value, compact=True, select_on_focus=False, **options)
    editor.cursor_blink = False
    return editor


class FieldRow(Vertical):
    """One field: title, editor, when it applies, and below them what is wrong."""

    def __init__(self, field: Field, value: Any, *, locked: str = "", was: Any = None, choices: Sequence[str] = ()) -> None:
        super().__init__(classes="field -locked" if locked else "field")
        self.field, self.base, self.locked, self.was = field, value, locked, was
        self._choices = tuple(field.choices or choices)
        self.theirs: Any = None
        self.editor: Widget = self._editor()
        if locked and field.kind not in ("choice", "bool"):
            self.editor.disabled = True

    def _editor(self) -> Widget:
        if self.field.kind == "bool":
            return Choice(bool(self.base), (False, True), bool(self.locked))
        if self.field.kind == "choice":
            return Choice(self.base, self._choices, bool(self.locked))
        if self.field.kind == "multiline":
            area = TextArea(str(self.base or ""), classes="editor", compact=True, tab_behavior="focus")
            area.cursor_blink = False
            return area
        return line_editor(_typed(self.base), classes="editor", placeholder=self.field.help, password=self.field.kind == "secret")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(Text(self.field.title), classes="label")
            yield self.editor
            yield Static(Text(self.field.unit), classes="unit")
            yield Static(self._applies(), classes="applies")
        yield Static("", classes="problem", markup=False)

    def _applies(self) -> Text:
        text = Text(APPLIES["P"] if self.locked and self.field.change_class == "P" else self.locked or APPLIES[self.field.change_class])
        if self.was is not None:
            text.append(f"  was {plain(_typed(self.was))}", "bold")
        return text

    @property
    def raw(self) -> Any:
        if isinstance(self.editor, Choice):
            return self.editor.value
        if isinstance(self.editor, TextArea):
            return self.editor.text
        assert isinstance(self.editor, Input)
        return self.editor.value

    @property
    def edited(self) -> bool:
        return not self.locked and _typed(self.raw) != _typed(self.base)

    def put(self, value: Any) -> None:
        """Type a value for the person."""
        if isinstance(self.editor, Choice):
            self.editor.choose(value)
        elif isinstance(self.editor, TextArea):
            self.editor.text = str(value)
        elif isinstance(self.editor, Input):
            self.editor.value = _typed(value)

    def complain(self, problem: str) -> None:
        """Say what is wrong beneath the field; empty takes it away."""
        said = self.query_one(".problem", Static)
        said.update(Text(f"✗ {plain(problem)}" if problem else ""))
        self.set_class(bool(problem), "-wrong")

    def conflict(self, theirs: Any) -> None:
        """Somebody else saved another value meanwhile."""
        self.theirs = theirs
        self.complain(f"they saved: {_typed(theirs)} · yours: {_typed(self.raw)} · ctrl+t takes theirs, ctrl+o saves yours")


class FieldForm(VerticalScroll, can_focus=False):
    """Fields under their group headings."""

    class Edited(Message):
        """Something was typed or chosen."""

    def __init__(self, *, id: str | None = None, applies: bool = True) -> None:
        super().__init__(id=id, classes="form" if applies else "form -bare")
        self._enter_moves_on = self._tells_when = applies
        self.rows: dict[str, FieldRow] = {}

    async def fill(
        self,
        fields: Iterable[Field],
        values: Mapping[str, Any],
        *,
        locked: Mapping[str, str] | None = None,
        applied: Mapping[str, Any] | None = None,
        choices: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Show these fields anew; what was typed before is gone."""
        await self.remove_children()
        self.rows, group = {}, ""
        parts: list[Widget] = []
        for field in fields:
            if field.group != group:
                told = "applies" if self._tells_when and not group else ""
                group = field.group
                parts.append(Horizontal(Static(Text(group.upper())), Static(told), classes="group"))
            row = FieldRow(
                field, values.get(field.name, field.default), locked=(locked or {}).get(field.name, ""),
                was=(applied or {}).get(field.name), choices=(choices or {}).get(field.name, ()),
            )  # fmt: skip
            self.rows[field.name] = row
            parts.append(row)
        await self.mount_all(parts)

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
            if row.editor.focusable:
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

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the next field; in a small dialog it saves, so there the event goes on up."""
        if not self._enter_moves_on:
            return
        event.stop()
        self.screen.focus_next(".editor")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())


def _typed(value: Any) -> str:
    """A value as a person would type it."""
    if isinstance(value, list | tuple):
        return ", ".join(str(word) for word in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)

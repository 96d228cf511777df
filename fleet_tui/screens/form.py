"""A form made from the table of fields: value, when it applies, what was wrong with it; everything typed is kept.

The same form edits an instance's settings and makes a new one. It knows nothing of the daemon: the screen gives it
values, complaints and other people's changes, and asks it what has been edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from fleet_tui.backend.instances.fields import APPLIES, Field, parse
from fleet_tui.screens import pem
from fleet_tui.screens.editors import MOST_TYPED, Choice, SecretEditor, TextBox, line_editor
from fleet_tui.widgets.safety import plain, safe

UNTIL_FIRST = "until first provision"
"""When a field of class P applies that is not fixed yet."""
NARROW = 18
"""Cells of an editor at 80 columns; a longer value gets a line of its own."""
SHORT_WAS = 14
"""Cells of an old value that still stands beside its field at 80 columns; a longer one has a line of its own."""
TOO_MUCH = f"not taken: more than {MOST_TYPED // 1024} KiB were pasted"


class FieldRow(Vertical):
    """One field: title, editor, when it applies, and below them what waits and what is wrong.

    Args:
        was: what the machine was made with, of a field that waits for a reprovision.
        why: why it waits, where that is more than another value.
        hints: whether an empty editor says what goes into it; where the screen tells that of the field that has the focus, it does not.
    """

    def __init__(
        self, field: Field, value: Any, *, locked: str = "", was: Any = None, why: str = "", choices: Sequence[str] = (), hints: bool = True,
    ) -> None:
        wide = field.kind in ("multiline", "pairs") or (not hints and field.kind in ("list", "text") and len(typed(value)) > NARROW)
        super().__init__(classes=f"field{' -locked' * bool(locked)}{' -wide' * wide}{' -pem' * field.raw}")
        self.field, self.base, self.locked, self.was, self.why = field, value, locked, was, why
        self._hints = hints
        self._choices = tuple(field.choices or choices)
        self.theirs: Any = None
        self.has_conflict = False
        self.editor: Widget = self._editor()
        if locked and field.kind not in ("choice", "bool"):
            self.editor.disabled = True

    def _editor(self) -> Widget:
        if self.field.kind == "bool":
            return Choice(bool(self.base), (False, True), bool(self.locked))
        if self.field.kind == "choice":
            return Choice(self.base, self._choices, bool(self.locked))
        if self.field.kind in ("multiline", "pairs"):
            return TextBox(typed(self.base), "editor", self.field.raw)
        if self.field.kind == "secret":
            return SecretEditor(str(self.base or ""), hint=self.field.help if self._hints else "")
        return line_editor(typed(self.base), classes="editor", placeholder=self.field.help if self._hints else "")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(Text(self.field.title), classes="label")
            if self.has_class("-wide"):
                yield Static("", classes="told", markup=False)
            else:
                yield self.editor
                yield Static(Text(self.field.unit), classes="unit")
            yield Static(self._applies(), classes="applies")
        if self.has_class("-wide"):
            yield self.editor
        waits = self._waits()
        if waits:
            yield Static(safe(waits), classes="why")
        yield Static("", classes="problem", markup=False)

    def on_mount(self) -> None:
        self.tell()

    def tell(self) -> None:
        """Beside the title of a text: how much is in it."""
        if self.has_class("-wide"):
            for told in self.query(".told").results(Static):  # none while the row comes or goes
                told.update(safe(pem.said_of_text(str(self.raw))))

    def _applies(self) -> Text:
        open_until = UNTIL_FIRST if self.field.change_class == "P" else APPLIES[self.field.change_class]
        is_fixed = self.field.change_class == "P" and self.locked.startswith("fixed")
        text = Text(APPLIES["P"] if is_fixed else self.locked or open_until)
        if self._is_short_was:
            text.append(f"  was {plain(typed(self.was)) or 'empty'}", "bold")
        return text

    @property
    def _is_short_was(self) -> bool:
        shown = self.field.kind not in ("secret", "multiline", "pairs") and not self.field.raw
        return self.was is not None and shown and len(typed(self.was)) <= SHORT_WAS and self.was != self.base

    def _waits(self) -> str:
        """What of it waits for a reprovision, unless the old value beside it says so already."""
        if self._is_short_was and (not self.why or self.why.startswith("was ")):
            return ""
        return f"⟳ waits: {self.why}" if self.why else f"⟳ waits: {worth(self.field, self.was)} is in use" if self.was is not None else ""

    @property
    def raw(self) -> Any:
        if isinstance(self.editor, Choice):
            return self.editor.value
        if isinstance(self.editor, TextArea):
            return self.editor.text
        if isinstance(self.editor, SecretEditor):
            return self.editor.secret
        assert isinstance(self.editor, Input)
        return self.editor.value

    @property
    def edited(self) -> bool:
        """Whether it holds something else than it began with. One that is not shown, because another choice makes it mean nothing, does not."""
        return not self.locked and bool(self.display) and typed(self.raw) != typed(self.base)

    def put(self, value: Any) -> None:
        """Type a value for the person; of a secret, what stands for the one on record."""
        if isinstance(self.editor, Choice):
            self.editor.choose(value)
        elif isinstance(self.editor, TextArea):
            self.editor.text = typed(value)
        elif isinstance(self.editor, SecretEditor):
            self.editor.keep(str(value or ""))
        elif isinstance(self.editor, Input):
            self.editor.value = typed(value)

    def take(self, text: str) -> None:
        """Take a whole text for the person, as from a file."""
        if isinstance(self.editor, SecretEditor):
            self.editor.put(text)
        elif isinstance(self.editor, TextArea):
            self.editor.text = pem.unix_lines(text)

    @property
    def takes_files(self) -> bool:
        return isinstance(self.editor, SecretEditor | TextArea) and not self.editor.disabled

    def complain(self, problem: str) -> None:
        """Say what is wrong beneath the field; empty takes it away."""
        said = self.query_one(".problem", Static)
        said.update(Text(f"✗ {plain(problem)}" if problem else ""))
        self.set_class(bool(problem), "-wrong")

    def conflict(self, theirs: Any) -> None:
        """Somebody else saved another value meanwhile."""
        self.theirs, self.has_conflict = theirs, True
        yours = "your own" if self.field.kind == "secret" else worth(self.field, self.raw)
        self.complain(f"they saved: {worth(self.field, theirs)} · yours: {yours} · ctrl+t takes theirs, ctrl+o saves yours")

    def settle(self, value: Any) -> None:
        """This is on record now, and what is shown."""
        self.base, self.theirs, self.has_conflict = value, None, False
        if isinstance(self.editor, TextBox):
            self.editor.stored = typed(value)
        self.put(value)
        self.complain("")


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


def typed(value: Any) -> str:
    """A value as a person would type it."""
    if isinstance(value, list | tuple):
        return ", ".join(str(word) for word in value)
    if isinstance(value, Mapping):
        return "\n".join(f"{name}={said}" for name, said in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def worth(field: Field, value: Any) -> str:
    """A value in a sentence: a text by what is in it, a secret by whether there is one."""
    if field.kind == "secret":
        return "another one" if value else "none"
    said = typed(value)
    if field.raw or "\n" in said or pem.holds_private_key(said):
        return pem.said_of_text(said) or f"{len(said.splitlines())} lines"
    return said or "nothing"

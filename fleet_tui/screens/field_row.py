"""One field of a form: its title, what its value is typed into, when it applies, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from fleet_tui.backend.instances.fields import APPLIES, Field
from fleet_tui.screens import pem
from fleet_tui.screens.editors import Choice, SecretEditor, TextBox, line_editor
from fleet_tui.widgets.safety import plain, safe

UNTIL_FIRST = "until first provision"
"""When a field of class P applies that is not fixed yet."""
NARROW = 18
"""Cells of an editor at 80 columns; a longer value gets a line of its own."""
SHORT_WAS = 14
"""Cells of an old value that still stands beside its field at 80 columns; a longer one has a line of its own."""


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
        wide = _is_wide(field, value, hints)
        super().__init__(classes=f"field{' -locked' * bool(locked)}{' -wide' * wide}{' -pem' * field.raw}")
        self.field, self.base, self.locked, self.was, self.why = field, value, locked, was, why
        self._hints = hints
        self._choices = tuple(field.choices or choices)
        self.theirs: Any = None
        self.has_conflict = False
        self.editor: Widget = self._editor()
        if locked and field.kind not in ("choice", "bool"):
            self.editor.disabled = True
        # Held, not looked up: an answer may come while the row is on its way in or out.
        self._when = Static(self._applies(), classes="applies")
        self._waiting = Static(safe(self._waits()), classes="why")
        self._waiting.display = bool(self._waits())
        self._problem = Static("", classes="problem", markup=False)

    def fits(self, value: Any) -> bool:
        """Whether this value would have the row that it has."""
        return self.has_class("-wide") == _is_wide(self.field, value, self._hints)

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
            yield self._when
        if self.has_class("-wide"):
            yield self.editor
        yield self._waiting
        yield self._problem

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
        return self.is_typed and bool(self.display)

    @property
    def is_typed(self) -> bool:
        """The same whether it is shown or not."""
        return not self.locked and typed(self.raw) != typed(self.base)

    def put(self, value: Any) -> None:
        """Type a value for the person; of a secret, what stands for the one on record."""
        if isinstance(self.editor, Choice):
            self.editor.choose(value)
        elif isinstance(self.editor, TextArea):
            if self.editor.text != typed(value):  # else only the cursor would go
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
        self._problem.update(Text(f"✗ {plain(problem)}" if problem else ""))
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

    def retype(self, base: Any, raw: Any) -> None:
        """Have in it what was typed into the row that it takes the place of, which began with ``base``."""
        self.base = base
        if isinstance(self.editor, SecretEditor):
            self.editor.retype(str(base or ""), raw)
            return
        self.put(raw)
        if isinstance(self.editor, Input):
            self.editor.cursor_position = len(self.editor.value)
        elif isinstance(self.editor, TextArea):
            self.editor.move_cursor(self.editor.document.end)

    def learn(self, value: Any, *, locked: str = "", was: Any = None, why: str = "", choices: Sequence[str] = (), is_own: bool = False) -> bool:
        """This is on record now. It is shown, unless something else was typed: that stays. Gives whether both differ from what it began with.

        Args:
            is_own: whether it came of what was typed here, so that nobody else changed anything.
        """
        self.was, self.why = was, why
        self._lock(locked)
        if isinstance(self.editor, Choice):
            self.editor.options = self._choices = tuple(self.field.choices or choices) if self.field.kind == "choice" else self.editor.options
        differ = False
        if self.is_typed and typed(self.raw) != typed(value):
            differ = self.edited and value != self.base and not is_own
            self.base = value
            if isinstance(self.editor, SecretEditor):
                self.editor.stored = str(value or "")
            elif isinstance(self.editor, TextBox):
                self.editor.stored = typed(value)
            if differ:
                self.conflict(value)
        elif self.has_conflict or value != self.base or typed(self.raw) != typed(value):
            self.settle(value)
        self._when.update(self._applies())
        waits = self._waits()
        self._waiting.update(safe(waits))
        self._waiting.display = bool(waits)
        return differ

    def _lock(self, why: str) -> None:
        if bool(why) != bool(self.locked):
            self.set_class(bool(why), "-locked")
            if isinstance(self.editor, Choice):
                self.editor.lock(bool(why))
            else:
                self.editor.disabled = bool(why)
        self.locked = why


def _is_wide(field: Field, value: Any, hints: bool) -> bool:
    return field.kind in ("multiline", "pairs") or (not hints and field.kind in ("list", "text") and len(typed(value)) > NARROW)


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

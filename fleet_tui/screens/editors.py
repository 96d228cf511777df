"""What values are typed into: one of several words, a line, a text, a secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Input, Static, TextArea

from fleet_tui.screens import pem
from fleet_tui.widgets.safety import safe

MOST_TYPED = 256 * 1024
"""Characters that a text or a secret takes; more is a paste of something else."""


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

    def lock(self, is_locked: bool) -> None:
        self.can_focus = not is_locked
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


class TextBox(TextArea):
    """A text of several lines, taken whole however it was pasted.

    With ``whole`` a paste takes the place of what is on record: nobody puts one certificate into the middle of another. Once something
    was typed or pasted, the next paste goes where the cursor is, so that a chain can be put together.

    A private key that got into it by mistake stays, so that nothing typed is lost and the daemon can say which block is wrong; but while
    there is one, not a line of the text is painted, and none is copied.
    """

    class TooMuch(Message):
        """A paste was not taken: it is larger than any value."""

        def __init__(self, box: TextBox) -> None:
            super().__init__()
            self.box = box

    def __init__(self, text: str, classes: str, whole: bool = False) -> None:
        super().__init__(text, classes=classes, compact=True, tab_behavior="focus", soft_wrap=True)
        self.cursor_blink = False
        self.stored, self._whole = text, whole
        self._was_hidden = False

    @property
    def holds_key(self) -> bool:
        return pem.holds_private_key(self.text)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        text = pem.unix_lines(event.text)
        if self.read_only:
            return
        if len(text) + len(self.text) > MOST_TYPED:
            self.post_message(self.TooMuch(self))
        elif self._whole and self.text == self.stored:
            self.text = text
            self.move_cursor(self.document.end)
        elif (result := self._replace_via_keyboard(text, *self.selection)) is not None:
            self.move_cursor(result.end_location)

    def _on_text_area_changed(self, event: TextArea.Changed) -> None:
        hidden, self._was_hidden = self._was_hidden, self.holds_key
        if hidden != self._was_hidden:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        if not self.holds_key:
            return super().render_line(y)
        width = self.size.width
        said = "a private key is in it: nothing of it is shown" if y == 0 else ""
        return Strip([Segment(said.ljust(width)[:width], self.rich_style)], width)

    def action_copy(self) -> None:
        if not self.holds_key:
            super().action_copy()

    def action_cut(self) -> None:
        if not self.holds_key:
            super().action_cut()


class SecretEditor(Static, can_focus=True):
    """A secret of one line or many. It is typed, pasted or taken from a file, and never painted, neither while it is typed nor afterwards.

    What one would look for in a key that was pasted can be told without it: its kind, its size, and whether its last line is there. Whoever
    wants to see its characters has the file. No widget of the framework holds it: those paint, log, select, undo and copy what they hold.

    A secret on record is told to be set, and nothing else: not even its length is known here. Typing takes its place; ``delete`` marks it to
    be removed, and takes the mark back.
    """

    class Changed(Message):
        """Something was typed, or marked to be removed."""

    class Submitted(Message):
        """Enter, when no line of a key can follow."""

    class TooMuch(Message):
        """A paste was not taken: it is larger than any secret."""

        def __init__(self, editor: SecretEditor) -> None:
            super().__init__()
            self.editor = editor

    def __init__(self, stored: str, classes: str = "editor", hint: str = "") -> None:
        super().__init__(markup=False, classes=f"{classes} secret")
        self._hint = hint
        """Said while there is nothing else to say."""
        self._stored = stored
        """What stands for the one on record; empty where there is none."""
        self._typed = ""
        self.is_removed = False
        self._paint()

    def __repr__(self) -> str:
        return "SecretEditor()"

    @property
    def secret(self) -> str:
        """What is to be saved: what was typed, nothing when it is to be removed, else what stands for the one on record."""
        return self._typed or ("" if self.is_removed else self._stored)

    def put(self, text: str) -> None:
        """Type it for the person."""
        self._typed, self.is_removed = pem.unix_lines(text), False
        self._told()

    def keep(self, stored: str) -> None:
        """Forget what was typed: there is this one on record."""
        self._stored, self._typed, self.is_removed = stored, "", False
        self._told()

    @property
    def stored(self) -> str:
        """What stands for the one on record."""
        return self._stored

    @stored.setter
    def stored(self, stored: str) -> None:
        """There is another one on record; what was typed, or the mark, stays."""
        self._stored, self.is_removed = stored, self.is_removed and bool(stored)
        self._paint()

    def retype(self, stored: str, secret: str) -> None:
        """What another editor held: beside this one on record, that ``secret`` is to be saved."""
        self._stored, self._typed, self.is_removed = stored, secret if secret != stored else "", bool(stored) and not secret
        self._told()

    def _told(self) -> None:
        self._paint()
        self.post_message(self.Changed())

    def _paint(self, has_focus: bool | None = None) -> None:
        if self._typed:
            said = pem.said_of_secret(self._typed)
        elif self.is_removed:
            said = "removed when saved"
        else:
            said = "set" if self._stored else "not set" if self.disabled else ""
        cursor = "▏" if (self.has_focus if has_focus is None else has_focus) else ""
        text = safe(said + cursor)
        if not said and self._hint:
            text.append(self._hint, "dim")
        self.update(text)

    def on_focus(self) -> None:
        self._paint(True)

    def on_blur(self) -> None:
        self._paint(False)

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """No letter of it is ever a verb."""
        return character is not None and character.isprintable()

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            if pem.is_unfinished(self._typed):
                self.put(self._typed + "\n")  # pasted where the terminal sends keys one by one
            else:
                self.post_message(self.Submitted())
        elif event.key == "backspace":
            self.put(self._typed[:-1])
        elif event.key == "ctrl+u":
            self.put("")
        elif event.key == "delete":
            self.is_removed = bool(self._stored) and not self._typed and not self.is_removed
            self._typed = ""
            self._told()
        elif event.character is not None and event.is_printable:
            self.put(self._typed + event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        text = pem.unix_lines(event.text)
        if len(text) + len(self._typed) > MOST_TYPED:
            self.post_message(self.TooMuch(self))
            return
        if "\n" not in text.rstrip("\n"):
            text = text.rstrip("\n")  # a password is copied with the end of its line
        self.put(self._typed + text)

"""The few dialogs there are, each installed once and reused: a screen pushed anew each time would never be freed.

Confirmation follows danger. *Disruptive* states the consequences and is confirmed with another key than the one that opened it, with the
focus on cancel. *Destructive* asks for the name to be typed (for several, the count).
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from fleet_tui.screens.editors import Choice, line_editor
from fleet_tui.widgets.safety import plain, safe

CONFIRM_CELLS, CHOOSE_CELLS, FRAME_CELLS = 70, 110, 4
"""Widths of the dialogs as in the stylesheet, and what border and padding take of them."""

CHOOSE_LINES = 6
"""Lines of the choosing dialog around its list."""

SCROLLBAR_CELLS = 1


@dataclass(frozen=True, slots=True)
class Question:
    """What a confirmation says."""

    title: str
    verb: str
    """Word on the button: ``Deprovision``."""
    consequences: Sequence[str] = ()
    refusals: Sequence[str] = ()
    typed: str = ""
    """What has to be typed; empty for a key."""
    options: Sequence[tuple[str, str]] = ()
    """(name, label) of things that can be ticked."""
    retell: Callable[[frozenset[str], Callable[[Sequence[str]], None]], None] | None = None
    """Asked for the consequences anew when something was ticked; gives them to what it is called with, then or later."""
    key: str = "y"
    refuse: str = "Cancel"
    destructive: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the person decided."""

    yes: bool
    options: frozenset[str] = field(default_factory=frozenset)


class Confirm(ModalScreen[Answer]):
    """Asks one question. Enter on the focused button cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "answer(False)", "Cancel")]

    def __init__(self) -> None:
        super().__init__()
        self.question = Question("", "")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="confirm"):
            yield Static(classes="dialog-title", markup=False)
            with VerticalScroll(classes="dialog-body", can_focus=False):
                yield Static(id="consequences", markup=False)
                yield Static(id="refusals", markup=False)
            yield Vertical(id="options")
            yield Static(id="typed-label", markup=False)
            yield line_editor(id="typed")
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="no", compact=True)
                yield Button("Do it", id="yes", compact=True)

    async def on_screen_resume(self) -> None:
        q = self.question
        self.query_one(".dialog-title", Static).update(safe(q.title))
        self._tell(q.consequences)
        room = min(CONFIRM_CELLS, self.app.size.width * 96 // 100) - FRAME_CELLS
        self.query_one("#refusals", Static).update(_bullets(q.refusals, "✗", room))
        options = self.query_one("#options")
        await options.remove_children()
        await options.mount_all(
            [Horizontal(Static(Text(label), classes="label"), Choice(False, (False, True), name=name)) for name, label in q.options]
        )
        typed = self.query_one("#typed", Input)
        typed.value = ""
        typed.display = bool(q.typed)
        label = self.query_one("#typed-label", Static)
        label.display = bool(q.typed)
        label.update(safe(f"Type  {q.typed}  to confirm:"))
        yes, no = self.query_one("#yes", Button), self.query_one("#no", Button)
        yes.label = Text(f"{q.verb}" if q.typed else f"{q.verb} [{q.key}]")
        no.label = Text(f"{q.refuse} [esc]")
        for button in (yes, no):
            button.refresh(layout=True)  # a label alone leaves it as wide as the one before was
        yes.disabled = bool(q.typed)
        yes.variant = "error" if q.destructive else "warning"
        (typed if q.typed else no).focus()

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        question = self.question
        if question.retell is not None:
            question.retell(self._ticked(), lambda told: self._tell(told) if self.question is question and self.is_current else None)

    def _tell(self, consequences: Sequence[str]) -> None:
        room = min(CONFIRM_CELLS, self.app.size.width * 96 // 100) - FRAME_CELLS
        self.query_one("#consequences", Static).update(_bullets(consequences, "·", room))

    def _ticked(self) -> frozenset[str]:
        return frozenset(str(box.name) for box in self.query(Choice) if box.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one("#yes", Button).disabled = event.value != self.question.typed

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_answer(True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_answer(event.button.id == "yes")

    def on_key(self, event: events.Key) -> None:
        if not self.question.typed and event.character == self.question.key:
            event.stop()
            self.action_answer(True)

    def action_answer(self, yes: bool) -> None:
        if yes and self.question.typed and self.query_one("#typed", Input).value != self.question.typed:
            return
        close(self, Answer(yes, self._ticked()))


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a choice. A dimmed one says why not, and cannot be chosen."""

    value: str
    title: str
    keys: str = ""
    note: str = ""
    why_not: str = ""
    heading: str = ""


class Choose(ModalScreen[str]):
    """A list to choose from, searched as typed: the ``x`` menu, ``?``, the palette and the choices of a form."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "leave", "Back"),
        ("down", "move(1)", "Down"),
        ("up", "move(-1)", "Up"),
        ("pagedown", "move(10)", "Page down"),
        ("pageup", "move(-10)", "Page up"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.title_text = ""
        self.items: Sequence[Item] = ()
        self.chosen = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="choose"):
            yield Static(classes="dialog-title", markup=False)
            yield line_editor(placeholder="type to search", id="search")
            yield OptionList(id="items", compact=True, markup=False)
            yield Static("enter choose   esc back", classes="dialog-foot", markup=False)

    def on_screen_resume(self) -> None:
        self.query_one(".dialog-title", Static).update(safe(self.title_text))
        self.query_one("#items").styles.max_height = max(4, self.app.size.height * 9 // 10 - CHOOSE_LINES)
        search = self.query_one("#search", Input)
        search.value = ""
        self._list("")
        search.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._list(event.value)

    def _list(self, wanted: str) -> None:
        words = wanted.lower().split()
        found = [i for i in self.items if all(w in f"{i.title} {i.keys} {i.note} {i.value}".lower() for w in words)]
        box = self.query_one("#items", OptionList)
        box.clear_options()
        room = min(CHOOSE_CELLS, self.app.size.width * 96 // 100) - FRAME_CELLS - SCROLLBAR_CELLS
        # In a narrow window few long titles and keys may stand out, so that all notes have room.
        keys = min(max((len(i.keys) for i in found), default=0), 12 if room > 90 else 8)
        width = min(max((len(i.title) for i in found), default=10), 30 if room > 90 else 22)
        options: list[Option] = []
        heading, first = "", -1
        for item in found:
            if item.heading != heading:
                heading = item.heading
                options.append(Option(Text(heading.upper(), "bold"), disabled=True))
            if first < 0 and not item.why_not:
                first = len(options)
            options.append(Option(_item(item, keys, width, room), id=item.value, disabled=bool(item.why_not)))
        box.add_options(options or [Option(Text("  nothing matches", "dim"), disabled=True)])
        box.highlighted = first if first >= 0 else None
        at = next((n for n, o in enumerate(options) if o.id == self.chosen and not o.disabled), None)
        if at is not None and not words:
            box.highlighted = at

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        box = self.query_one("#items", OptionList)
        if box.highlighted is not None:
            close(self, str(box.get_option_at_index(box.highlighted).id or ""))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        close(self, str(event.option.id or ""))

    def action_move(self, by: int) -> None:
        box = self.query_one("#items", OptionList)
        step = box.action_cursor_down if by > 0 else box.action_cursor_up
        for _ in range(abs(by)):
            step()

    def action_leave(self) -> None:
        close(self, "")


def close(dialog: ModalScreen[Any], result: Any = None) -> None:
    """Dismiss a dialog that is still there. A key typed ahead, or an answer that comes late, finds it gone: then there is nothing to
    dismiss, and Textual would take away whatever screen stands there instead, or end the console at the last one.
    """
    if dialog.app.screen is dialog:
        dialog.dismiss(result)


def confirm(app: Any, question: Question, then: Callable[[Answer], None]) -> None:
    """Ask, and call ``then`` with the answer."""
    dialog = _installed(app, "confirm", Confirm)
    dialog.question = question
    app.push_screen("confirm", lambda answer: then(answer or Answer(False)))


def choose(app: Any, title: str, items: Sequence[Item], then: Callable[[str], None], chosen: str = "") -> None:
    """Offer a list, and call ``then`` with the value chosen; not at all when the person leaves."""
    dialog = _installed(app, "choose", Choose)
    dialog.title_text, dialog.items, dialog.chosen = title, items, chosen
    app.push_screen("choose", lambda value: then(value) if value else None)


def _installed(app: Any, name: str, kind: Callable[[], Any]) -> Any:
    if not app.is_screen_installed(name):
        app.install_screen(kind(), name)
    return app.get_screen(name)


def _bullets(lines: Sequence[str], bullet: str, room: int) -> Text:
    """Wrapped here, so that what goes on in the next line stands under its beginning."""
    return Text("\n").join(Text(part) for line in lines for part in _hung(plain(line), f"{bullet} ", room))


def _hung(text: str, lead: str, room: int) -> list[str]:
    """A text after its lead, wrapped to so many cells, the lines after the first indented as far."""
    return textwrap.wrap(text, max(20, room), initial_indent=lead, subsequent_indent=" " * len(lead)) or [lead]


def _item(item: Item, keys: int, width: int, room: int) -> Text:
    """Keys, title and note in columns. A note that is too long for its line goes on in the next: a reason is not to be cut."""
    quiet = "dim" if item.why_not else ""
    lead = f"{plain(item.keys, 12):<{keys}}  " if keys else ""
    title = f"{plain(item.title, 60):<{width}}  "
    note = item.why_not or item.note
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(lead, quiet or "bold")
    text.append(title, quiet)
    text.append("\n".join(_hung(plain(note, 160), lead + title, room))[len(lead + title) :], "dim")
    return text

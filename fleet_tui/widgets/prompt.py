"""The one line that takes words: ``:`` for commands, ``/`` for a filter, ``<`` for the name of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from fleet_tui.widgets.glyphs import UNICODE, Glyphs
from fleet_tui.widgets.paint import Lines, Span, width_of
from fleet_tui.widgets.safety import plain

HISTORY = 200
"""Lines remembered for each mode."""

SHOWN = 8
"""Completions offered beside the line."""


class _Field(Input):
    """The framework's input without its border, blink and markup; keys of its own are the prompt's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "prompt('complete', 1)", "Complete", show=False, id="prompt.complete"),
        Binding("shift+tab", "prompt('complete', -1)", "Complete back", show=False, id="prompt.complete_back"),
        Binding("up", "prompt('recall', -1)", "Earlier", show=False, id="prompt.earlier"),
        Binding("down", "prompt('recall', 1)", "Later", show=False, id="prompt.later"),
        Binding("escape", "prompt('cancel', 0)", "Cancel", show=False, id="prompt.cancel"),
    ]

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)
        self.cursor_blink = False

    def action_prompt(self, verb: str, step: int) -> None:
        prompt = self.parent
        assert isinstance(prompt, Prompt)
        if verb == "complete":
            prompt.complete_next(step)
        elif verb == "recall":
            prompt.recall(step)
        else:
            prompt.cancel()

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        lines = event.text.splitlines()
        if lines:
            self.insert_text_at_cursor(plain(lines[0], 1000))


class Prompt(Horizontal):
    """One line, hidden until `open`. In ``/`` mode every change is told, so that a list narrows as one types.

    Args:
        complete: the text so far to what it could become, best first.
    """

    DEFAULT_CSS = """
    Prompt { height: 1; display: none; }
    Prompt > .prompt-mode { width: 2; height: 1; }
    Prompt > .prompt-offers { width: auto; max-width: 50%; }
    Prompt > _Field { width: 1fr; min-width: 12; border: none; height: 1; padding: 0; background: transparent; }
    Prompt > _Field:focus { border: none; background: transparent; background-tint: transparent; }
    """

    class Said(Message):
        """What the prompt says: a mode (``:`` or ``/``) and the text."""

        def __init__(self, prompt: Prompt, mode: str, text: str) -> None:
            super().__init__()
            self.prompt, self.mode, self.text = prompt, mode, text

        @property
        def control(self) -> Prompt:
            return self.prompt

    class Submitted(Said):
        """Enter was pressed; the prompt has closed."""

    class Changed(Said):
        """The text is another one."""

    class Cancelled(Said):
        """Escape was pressed; the prompt has closed. ``text`` is what it was opened with."""

    def __init__(
        self,
        complete: Callable[[str], Sequence[str]] | None = None,
        *,
        glyphs: Glyphs = UNICODE,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.complete = complete
        self.mode = ":"
        self.history: dict[str, list[str]] = {":": [], "/": []}
        self._glyphs = glyphs
        self._mode_line = Lines(glyphs=glyphs, classes="prompt-mode")
        self._field = _Field()
        self._offers_line = Lines(glyphs=glyphs, classes="prompt-offers")
        self._opened_with = ""
        self._recalled: int | None = None
        self._offers: list[str] = []
        self._offered: int | None = None
        self._set_by_us: str | None = None

    def compose(self) -> ComposeResult:
        yield self._mode_line
        yield self._field
        yield self._offers_line

    @property
    def is_open(self) -> bool:
        return bool(self.display)

    @property
    def text(self) -> str:
        return self._field.value

    def open(self, mode: str, text: str = "") -> None:
        """Show the line and take the keys."""
        self.mode, self._opened_with, self._recalled = mode, text, None
        self._mode_line.show([[(f" {mode}", "strong")]])
        self._put(text)
        self.display = True
        self._offer()
        self.screen.set_focus(self._field, scroll_visible=False)

    def close(self) -> None:
        """Hide the line; the focus goes back to where the screen puts it."""
        self.display = False
        self._field.blur()

    def cancel(self) -> None:
        self.close()
        self.post_message(self.Cancelled(self, self.mode, self._opened_with))

    def _put(self, text: str) -> None:
        """Put text into the field ourselves, so that it does not count as typed."""
        text = plain(text, 1000)
        if text != self._field.value:
            self._set_by_us = text
        self._field.value = text
        self._field.cursor_position = len(text)

    # Completion

    def _offer(self) -> None:
        """Look up completions of what is typed and show the first few."""
        self.offer([] if self.complete is None else self.complete(self.text))

    def offer(self, words: Sequence[str]) -> None:
        """Show completions of what is typed now; for those that were not known at once."""
        self._offered = None
        self._offers = [plain(word, 200) for word in words[:50]]
        self._show_offers()

    def _show_offers(self) -> None:
        line: list[Span] = []
        for index, offer in enumerate(self._offers[:SHOWN]):
            line += [("  ", ""), (offer, "match" if index == self._offered else "muted")]
        if len(self._offers) > SHOWN:
            line.append((f"  {self._glyphs.ellipsis}", "muted"))
        self._offers_line.show([line])
        wanted = min(sum(width_of(text) for text, _ in line), max(0, self.size.width // 2))
        if self._offers_line.size.width != wanted and self.is_open:
            self._offers_line.refresh(layout=True)

    def complete_next(self, step: int) -> None:
        """Put the next completion into the line; a single one is taken as it is."""
        if not self._offers:
            return
        start = -1 if self._offered is None and step > 0 else self._offered or 0
        self._offered = (start + step) % len(self._offers)
        self._put(self._offers[self._offered])
        if len(self._offers) == 1:
            self._offer()  # a folder taken whole: what is in it comes next
        else:
            self._show_offers()
        self.post_message(self.Changed(self, self.mode, self.text))

    # History

    def recall(self, step: int) -> None:
        """Go through earlier lines of this mode."""
        lines = self.history.setdefault(self.mode, [])
        at = (len(lines) if self._recalled is None else self._recalled) + step
        if at < 0 or not lines:
            return
        self._recalled = min(at, len(lines))
        self._put(lines[at] if at < len(lines) else "")
        self._offer()
        self.post_message(self.Changed(self, self.mode, self.text))

    def _remember(self, text: str) -> None:
        lines = self.history.setdefault(self.mode, [])
        if text.strip():
            if text in lines:
                lines.remove(text)
            lines.append(text)
            del lines[:-HISTORY]

    # What happens to it

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        ours, self._set_by_us = event.value == self._set_by_us, None
        if ours or not self.is_open:
            return
        self._offer()
        self.post_message(self.Changed(self, self.mode, event.value))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        text = self.text
        self._remember(text)
        self.close()
        self.post_message(self.Submitted(self, self.mode, text))

"""One dialog for every small form: fields, what is wrong beside each, what it would do, and everything typed kept until it is done."""

from __future__ import annotations

import textwrap
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Input, Static

from fleet_tui.backend.api import method_of
from fleet_tui.backend.errors import FleetError, InvalidInput, WrongState
from fleet_tui.backend.instances.fields import Field
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.screens import dialogs
from fleet_tui.screens.editors import Choice, SecretEditor
from fleet_tui.screens.form import FieldForm
from fleet_tui.widgets.paint import Lines, Span
from fleet_tui.widgets.safety import plain, safe
from fleet_tui.widgets.timers import once

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session

Line = Sequence[Span]
COMPLAINT = 3
"""Most lines of what is wrong with the whole of it."""
FRAME = 9
"""Lines of the dialog besides its fields and what they would do."""
PREVIEW_S = 0.3
"""Quiet after an edit before what it would do is asked again."""


def entry(name: str, title: str, kind: str = "text", default: Any = "", **fields: Any) -> Field:
    """A field of a small form. What it begins with may be foreign; an editor counts cells, so it gets only what can be seen."""
    default = plain(default) if isinstance(default, str) else tuple(plain(word) for word in default) if isinstance(default, tuple) else default
    return Field(name, title, "", kind, "L", default, **fields)


@dataclass(frozen=True, slots=True)
class Form:
    """What a dialog asks, and what is done with the answer.

    ``make`` turns the values into the request, on a thread, for it may read a file; it raises `InvalidInput` for what the form itself can
    see to be wrong. ``before`` may ask the daemon what would happen, and gives the question to be confirmed and the request to send then.
    """

    title: str
    fields: Sequence[Field]
    make: Callable[[Mapping[str, Any]], Any]
    done: Callable[[Any], None]
    verb: str = "Save"
    values: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    locked: Mapping[str, str] = field(default_factory=dict)
    """Name of a field -> why it cannot be set here."""
    before: Callable[[Session, Any], tuple[dialogs.Question, Any] | None] | None = None
    preview: Callable[[Mapping[str, Any]], Any] | None = None
    """Values to the read that tells what they would do; ``None`` for nothing to ask."""
    shown: Callable[[Any], Sequence[Line]] | None = None
    """What it tells, in lines."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Field of the request -> field of the form, where they differ."""


def planned(verb: str, *, key: str = "y", extra: Sequence[str] = ()) -> Callable[[Session, Any], tuple[dialogs.Question, Any]]:
    """``before`` of an operation that has to be confirmed: its dry run, stated."""

    def ask_first(session: Session, request: OperationRequest) -> tuple[dialogs.Question, Any]:
        plan = session.submit(replace(request, dry_run=True)).plan
        if plan is not None and plan.refusals:
            refused = plan.refusals[0]
            raise WrongState(refused.message, hint=refused.hint)
        said = [*plan.consequences, *plan.changes, *extra] if plan is not None else list(extra)
        return dialogs.Question(f"{verb} {request.target}?", verb, said, key=key), replace(request, confirmed=True)  # type: ignore[call-arg]

    return ask_first


class FormDialog(ModalScreen[None]):
    """The dialog. It stays, with everything typed, until the daemon has taken the request."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "leave", "Cancel"), ("ctrl+o", "save", "Save"), ("pagedown", "scroll(1)", ""), ("pageup", "scroll(-1)", ""),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]

    def __init__(self) -> None:
        super().__init__()
        self.spec: Form | None = None
        self.opener: FleetScreen | None = None
        self._is_new = False
        self._request_id = ""
        self._timer: Timer | None = None
        self._aside_rows = 3
        self._is_refused = False
        """Whether what it would do was refused too."""
        self._is_filled = self._is_sending = False
        """Whether its fields have come, and whether an answer to what it sent is on its way."""

    def open(self, opener: FleetScreen, spec: Form) -> None:
        """Show this form."""
        self.spec, self.opener, self._is_new = spec, opener, True
        self._request_id = uuid.uuid4().hex
        self._is_filled = self._is_sending = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="form-dialog"):
            yield Static(classes="dialog-title", markup=False)
            yield FieldForm(id="form", applies=False)
            yield Static("", id="complaint", markup=False)
            with VerticalScroll(id="aside", can_focus=False):
                yield Lines(id="aside-lines")
            with Horizontal(classes="buttons"):
                yield Button("Save", id="save", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    @property
    def form(self) -> FieldForm:
        return self.query_one("#form", FieldForm)

    async def on_screen_resume(self) -> None:
        if not self._is_new or self.spec is None:
            return
        self._is_new = False
        spec = self.spec
        self.query_one(".dialog-title", Static).update(safe(spec.title))
        self._is_refused = False
        self._complain("")
        self.query_one("#save", Button).label = safe(f"{spec.verb} [ctrl+o]")
        self.query_one("#save", Button).refresh(layout=True)  # a label alone leaves it as wide as the one before was
        self.query_one("#cancel", Button).label = safe("Cancel [esc]")
        self.query_one("#aside").display = spec.preview is not None
        self._fit(spec)
        self.query_one("#aside-lines", Lines).show([[(" asking what it would do", "muted")]])
        await self.form.fill(spec.fields, spec.values, locked=spec.locked, choices=spec.choices)
        if self.spec is not spec:
            self.form.forget()
            return
        self._is_filled = True
        self.form.focus_first()
        self._preview()

    def on_resize(self) -> None:
        if self.spec is not None:
            self._fit(self.spec)

    def _fit(self, spec: Form) -> None:
        """Fields and preview share what the window has; the buttons stay in sight."""
        rows, asked = self.app.size.height * 96 // 100, len(spec.fields)
        shown = min(asked + 2, max(4, (rows - FRAME) // (2 if spec.preview is not None else 1)))
        self.form.styles.max_height = shown
        self._aside_rows = max(3, rows - FRAME - shown)
        self.query_one("#aside").styles.max_height = self._aside_rows

    # What it would do

    def on_field_form_edited(self, event: FieldForm.Edited) -> None:
        event.stop()
        if self.spec is not None and self.spec.preview is not None:
            if self._timer is not None:
                self._timer.stop()
            self._timer = once(self, PREVIEW_S, self._preview)

    @property
    def is_asking(self) -> bool:
        """Whether what was typed is still to be asked about."""
        return self._timer is not None

    def _preview(self) -> None:
        self._timer = None
        spec, opener = self.spec, self.opener
        if spec is None or opener is None or spec.preview is None or not self.form.rows:
            return
        request = spec.preview(self.form.values())
        if request is not None:
            opener.fetch(request, self._of(spec, lambda reply: self._previewed(spec, reply)), "preview", failed=self._of(spec, self._not_previewed))

    def _of(self, spec: Form, then: Callable[[Any], None]) -> Callable[[Any], None]:
        """What is to be painted of an answer, unless the person has left this form by then: the dialog may show another."""

        def painted(answer: Any) -> None:
            if self.spec is spec:
                then(answer)

        return painted

    def _previewed(self, spec: Form, reply: Any) -> None:
        self._is_refused = False
        if spec.shown is not None:
            self.query_one("#aside-lines", Lines).show(spec.shown(reply))

    def _not_previewed(self, error: FleetError) -> None:
        told = " · ".join(part for part in (error.message, error.hint) if part)
        said = textwrap.wrap(plain(told), max(20, self.query_one("#aside").size.width - 1))
        self.query_one("#aside-lines", Lines).show([[(f" {line}", "attention")] for line in said])
        self._is_refused = True

    def action_scroll(self, by: int) -> None:
        aside = self.query_one("#aside")
        aside.scroll_relative(y=by * max(1, aside.size.height - 1), animate=False)

    # Saving

    def on_secret_editor_submitted(self, event: SecretEditor.Submitted) -> None:
        event.stop()
        self.action_save()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes on to the next field; from the last one it saves, unless that has to be confirmed anyway."""
        event.stop()
        rows = list(self.form.rows.values())
        if len(rows) == 1 or (event.input is rows[-1].editor):
            self.action_save()
        else:
            self.focus_next(".editor")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "save":
            self.action_save()
        else:
            self.action_leave()

    def on_choice_wanted(self, event: Choice.Wanted) -> None:
        event.stop()
        from fleet_tui.screens.new_instance import choose_value

        choose_value(self.app, event.choice)

    def action_leave(self) -> None:
        """What was typed goes; a long text, which nobody types again, only when that is meant."""
        if self.spec is not None and self._is_filled and any(row.edited and "\n" in str(row.raw).strip() for row in self.form.rows.values()):
            question = dialogs.Question("Leave without saving?", "Discard", ["the text that was typed or pasted is lost"], refuse="Stay", key="y")
            dialogs.confirm(self.app, question, lambda answer: self._leave() if answer.yes else None)
        else:
            self._leave()

    def _leave(self) -> None:
        """What was typed goes, secrets with it."""
        self.spec = None
        self.run_worker(self.form.remove_children())
        self.form.rows = {}
        dialogs.close(self)

    def action_save(self) -> None:
        spec, opener = self.spec, self.opener
        if spec is None or opener is None or not self._is_filled or self._is_sending or not self.form.check():
            return
        values, request_id = self.form.values(), self._request_id

        def work(session: Session) -> tuple[Any, Any, tuple[dialogs.Question, Any] | None]:
            request = spec.make(values)
            if is_dataclass(request) and getattr(request, "request_id", None) == "":
                request = replace(request, request_id=request_id)  # type: ignore[type-var]
            asked = spec.before(session, request) if spec.before is not None else None
            return request, (session.submit(request) if asked is None else None), asked

        self._send(spec, opener, work, lambda found: self._answered(spec, *found))

    def _send(self, spec: Form, opener: FleetScreen, work: Callable[[Session], Any], then: Callable[[Any], None]) -> None:
        """Once at a time: a second one would be refused for what the first has done."""
        self._is_sending = True

        def answered(found: Any) -> None:
            if self.spec is spec:
                self._is_sending = False
            then(found)

        def refused(error: FleetError) -> None:
            self._is_sending = False
            self._refused(error)

        opener.ask(work, answered, self._of(spec, refused))

    def _answered(self, spec: Form, request: Any, reply: Any, asked: tuple[dialogs.Question, Any] | None) -> None:
        if asked is None:
            self._done(spec, request, reply)
            return
        if self.spec is not spec:  # the person left it while the question was on its way
            return
        question, request = asked
        opener = self.opener
        assert opener is not None

        def decided(answer: dialogs.Answer) -> None:
            if answer.yes:
                self._send(spec, opener, lambda session: session.submit(request), lambda taken: self._done(spec, request, taken))

        dialogs.confirm(self.app, question, decided)

    def _done(self, spec: Form, request: Any, reply: Any) -> None:
        """What was done is told even when the person has left meanwhile. An answer that was only read is nobody's then."""
        if self.spec is spec:
            self._leave()
        elif method_of(request).read:
            return
        spec.done(reply)

    def _refused(self, error: FleetError) -> None:
        spec = self.spec
        if spec is None:
            return
        problems = {p.field: p.message for p in error.problems} if isinstance(error, InvalidInput) else {}
        advice = ""
        if not problems and (field := error.details.get("field")):  # the daemon knows which one led to it
            problems, advice = {str(field): error.message}, error.hint
        problems = {spec.names.get(name, name): said for name, said in problems.items()}
        self.form.complain(problems)
        if (first := next((row for name, row in self.form.rows.items() if name in problems), None)) is not None:
            self.call_after_refresh(first.scroll_visible, animate=False)  # once what is said beneath it has its lines
        rest = [f"{name}: {said}" for name, said in problems.items() if name not in self.form.rows]
        self._complain("; ".join(rest) or advice or ("" if problems else " · ".join(part for part in (error.message, error.hint) if part)))

    def _complain(self, text: str) -> None:
        line = self.query_one("#complaint", Static)
        line.update(safe(text))
        line.display = bool(text)
        if text and self._is_refused:
            self.query_one("#aside-lines", Lines).show([])  # it says the same
        # The buttons stay in sight: what it would do gives way to what is wrong.
        self.query_one("#aside").styles.max_height = max(3, self._aside_rows - COMPLAINT * bool(text))


def ask(opener: FleetScreen, spec: Form) -> None:
    """Show a form over a screen."""
    app = opener.app
    if not app.is_screen_installed("form"):
        app.install_screen(FormDialog(), "form")
    dialog = app.get_screen("form")
    assert isinstance(dialog, FormDialog)
    dialog.open(opener, spec)
    app.push_screen("form")

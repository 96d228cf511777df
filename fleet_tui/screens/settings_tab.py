"""The settings of one instance: a form that keeps what was typed whatever comes between, and never saves over somebody else unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from fleet_tui.backend.errors import FleetError, InvalidInput, WrongState
from fleet_tui.backend.instances import EditInstance, InstanceRecord, InstanceSettings, ShowSettings
from fleet_tui.backend.instances.fields import FIELDS
from fleet_tui.screens import dialogs
from fleet_tui.screens.form import Choice, FieldForm
from fleet_tui.widgets.safety import safe

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen


class SettingsTab(Vertical):
    """The form, its heading and its complaint line."""

    def __init__(self, owner: FleetScreen, id: str) -> None:
        super().__init__(id=id)
        self._owner = owner
        self._target = ""
        self._strategy = ""
        self._version = 0
        self.is_stale = True
        self.wants_focus = False
        """Whether the person asked to edit; turning tabs alone leaves the keys where they are."""

    def compose(self) -> ComposeResult:
        yield Static("", id="settings-note", markup=False)
        yield FieldForm(id="settings-form")

    @property
    def form(self) -> FieldForm:
        return self.query_one("#settings-form", FieldForm)

    @property
    def place(self) -> str:
        """Which footer, while a field has the focus: letters go into text, so there only control keys are keys."""
        row = self.form.focused_row if self.display else None
        return "" if row is None else "form/choice" if isinstance(row.editor, Choice) else "form/text"

    @property
    def is_edited(self) -> bool:
        return self.form.is_edited

    def aim(self, row: InstanceRecord) -> None:
        """Show this instance's settings. Edits of the same instance stay as they are; a newer version is only noted."""
        if row.id != self._target:
            self._target, self.is_stale = row.id, True
        elif row.version != self._version and not self.is_edited:
            self.is_stale = True
        self._strategy = row.https_strategy

    def load(self) -> None:
        """Fetch, unless what is shown is current or being edited."""
        if self.is_stale and self._target:
            self.is_stale = False
            self._owner.fetch(ShowSettings(self._target), self._have, "settings")

    def _have(self, settings: InstanceSettings) -> None:
        self.run_worker(self._fill(settings), exclusive=True)

    async def _fill(self, settings: InstanceSettings) -> None:
        self._version = settings.version
        fields = [field for field in FIELDS if (not field.strategies or self._strategy in field.strategies) and field.name not in settings.hidden]
        wants_focus = self.wants_focus or self.form.focused_row is not None
        await self.form.fill(fields, settings.values, locked=settings.locked, applied=settings.applied, choices=settings.choices)
        self.note("")
        if wants_focus:
            self.enter_form()

    def enter_form(self) -> None:
        """Put the cursor into the first field, now or when the fields have come."""
        self.wants_focus = not self.form.rows or self.is_stale
        self.form.focus_first()

    def note(self, text: str, is_wrong: bool = False) -> None:
        line = self.query_one("#settings-note", Static)
        line.update(safe(text))
        line.display = bool(text)
        line.set_class(is_wrong, "-wrong")

    def save(self) -> None:
        edits = self.form.edits()
        if not edits:
            self._owner.say("nothing was edited")
            return
        if not self.form.check():
            self.note("not saved: see the fields marked ✗", True)
            return
        request = EditInstance(self._target, self._version, edits)
        self._owner.ask(lambda session: session.submit(request), self._saved, self._refused, "save")

    def _saved(self, row: InstanceRecord) -> None:
        count = len(row.pending_changes)
        waits = f" · {count} {'change waits' if count == 1 else 'changes wait'} for a reprovision (R)" if count else ""
        self._owner.say(f"settings of {row.label} saved{waits}")
        self._target, self.is_stale = row.id, True
        self.load()

    def _refused(self, error: FleetError) -> None:
        if isinstance(error, WrongState) and "fields" in error.details:
            self._owner.fetch(ShowSettings(self._target), self._compare, "settings")
            return
        problems = {p.field: p.message for p in error.problems} if isinstance(error, InvalidInput) else {}
        self.form.complain(problems)
        rest = "; ".join(f"{name}: {said}" for name, said in problems.items() if name not in self.form.rows)
        self.note(f"not saved: {rest or self._owner.worded(error)}", True)

    def _compare(self, fresh: InstanceSettings) -> None:
        """Somebody saved meanwhile: show both values beside each edited field, and take their other changes in."""
        conflicts = 0
        for name, row in self.form.rows.items():
            theirs = fresh.values.get(name)
            if theirs == row.base or name not in fresh.values:
                continue
            if row.edited:
                row.conflict(theirs)
                conflicts += 1
            else:
                row.base = theirs
                row.put(theirs)
        self._version = fresh.version
        said = f"{conflicts} of your fields too" if conflicts else "none of your fields; theirs are taken in"
        self.note(f"not saved: somebody else saved these settings meanwhile, {said}. ctrl+o saves yours, ctrl+t takes theirs", True)

    def take_theirs(self) -> None:
        row = self.form.focused_row
        if row is None or row.theirs is None:
            self._owner.say("this field was changed by nobody else")
            return
        row.base = row.theirs
        row.put(row.theirs)
        row.theirs = None
        row.complain("")

    def ask_to_leave(self, then: Callable[[], None]) -> None:
        """Ask before edits are thrown away."""
        names = ", ".join(row.field.title for row in self.form.rows.values() if row.edited)

        def answered(answer: dialogs.Answer) -> None:
            if answer.yes:
                self.is_stale, self._version = True, -1
                for row in self.form.rows.values():
                    row.put(row.base)
                then()

        dialogs.confirm(
            self.app,
            dialogs.Question("Leave without saving?", "Discard", [f"edited and not saved: {names}", "ctrl+o saves them"], refuse="Stay"),
            answered,
        )

    def on_choice_wanted(self, event: Choice.Wanted) -> None:
        event.stop()
        from fleet_tui.screens.new_instance import choose_value

        choose_value(self.app, event.choice)

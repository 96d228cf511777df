"""The settings of one instance: a form that keeps what was typed whatever comes between, and never saves over somebody else unseen.

Two tabs show parts of the same settings, each field on one of them; what one saves, the other takes in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static, TextArea

from fleet_tui import actions
from fleet_tui.actions import ACTIONS
from fleet_tui.backend.errors import FleetError, InvalidInput, WrongState
from fleet_tui.backend.instances import EditInstance, InstanceRecord, InstanceSettings, ShowSettings
from fleet_tui.backend.instances.fields import BY_NAME, FIELDS, Field, is_meant
from fleet_tui.screens import dialogs
from fleet_tui.screens.editors import Choice, SecretEditor
from fleet_tui.screens.form import FieldForm, FieldRow
from fleet_tui.widgets.safety import safe

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen

STORAGE, ADDRESS = "ssl.key_storage", "public_ip_allocation"


def is_of_ssl(field: Field, strategy: str) -> bool:
    """Whether a field stands on the SSL tab. The public address does with the strategy that needs one, beside the domains that lead to it."""
    return field.group == "HTTPS" or (field.name == ADDRESS and strategy == "letsencrypt")


class SettingsTab(Vertical):
    """The form, and above it what became of the last save.

    Args:
        of: which fields it shows, of those that mean something under the strategy of the instance's virtual network.
    """

    def __init__(self, owner: FleetScreen, id: str, of: Callable[[Field, str], bool]) -> None:
        super().__init__(id=id, classes="settings")
        self._owner = owner
        self._of = of
        self._target = ""
        self._strategy = ""
        self._version = 0
        self._said = ""
        self.is_stale = True
        self.wants_focus = False
        """Whether the person asked to edit; turning tabs alone leaves the keys where they are."""
        self.twin: SettingsTab | None = None
        """The other form of the same settings."""

    def compose(self) -> ComposeResult:
        yield Static("", classes="note", markup=False)
        yield FieldForm()
        yield Static("", classes="about", markup=False)

    @property
    def form(self) -> FieldForm:
        return self.query_one(FieldForm)

    @property
    def place(self) -> str:
        """Which footer, while a field has the focus: letters go into text, so there only control keys are keys."""
        row = self.form.focused_row if self.display else None
        if row is None:
            return ""
        if isinstance(row.editor, Choice):
            return "form/choice"
        return "form/secret" if isinstance(row.editor, SecretEditor) else "form/long" if isinstance(row.editor, TextArea) else "form/text"

    @property
    def is_edited(self) -> bool:
        return self.form.is_edited

    def edited(self) -> list[str]:
        """Titles of the fields that were edited."""
        return [row.field.title for row in self.form.rows.values() if row.edited]

    def aim(self, row: InstanceRecord) -> None:
        """Show this instance's settings. Edits of the same instance stay as they are; a newer version is only noted."""
        if row.id != self._target:
            self._target, self.is_stale, self._said = row.id, True, ""
        elif row.version != self._version and not self.is_edited:
            self.is_stale = True
        self._strategy = row.https_strategy

    def load(self) -> None:
        if self.is_stale:
            self.is_stale = False
            self._owner.fetch(ShowSettings(self._target), self._have, f"settings-{self.id}")

    def _have(self, settings: InstanceSettings) -> None:
        self.run_worker(self._fill(settings), exclusive=True)

    async def _fill(self, settings: InstanceSettings) -> None:
        self._version = settings.version
        hidden = frozenset(settings.hidden)
        fields = [f for f in FIELDS if (not f.strategies or self._strategy in f.strategies) and f.name not in hidden and self._of(f, self._strategy)]
        wants_focus = self.wants_focus or self.form.focused_row is not None
        locked = {name: why for name, why in settings.locked.items() if name in BY_NAME and not BY_NAME[name].storages}
        if why := actions.forbidden(ACTIONS["instance.edit"], self._owner.console.record):  # who may not save is not let type
            locked = dict.fromkeys((f.name for f in fields), why)
        await self.form.fill(
            fields, settings.values, locked=locked, applied=settings.applied, choices=settings.choices, reasons=settings.reasons, meant=self._means,
        )
        self.note(self._said)
        if wants_focus:
            self.enter_form()

    def _means(self, field: Field, values: Mapping[str, Any]) -> bool:
        return is_meant(field, self._strategy, str(values.get(STORAGE, "")))

    def enter_form(self) -> None:
        """Put the cursor into the first field, now or when the fields have come."""
        self.wants_focus = not self.form.rows or self.is_stale
        self.form.focus_first()

    def note(self, text: str, is_wrong: bool = False) -> None:
        line = self.query_one(".note", Static)
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
        warnings = getattr(row, "warnings", ())
        self._said = f"saved, but: {'; '.join(warnings)}" if warnings else ""
        self._target, self.is_stale = row.id, True
        self.load()
        if self.twin is not None:
            self.twin.catch_up()

    def catch_up(self) -> None:
        """The other form has saved: what was typed here goes on from there."""
        if not self.form.rows or self.is_stale:
            self.is_stale = True
        elif self.is_edited:
            self._owner.fetch(ShowSettings(self._target), self._take_in, f"settings-{self.id}")
        else:
            self.is_stale = True

    def _take_in(self, fresh: InstanceSettings) -> list[FieldRow]:
        """Others' values into fields that were not edited. Gives the fields that both changed."""
        both = []
        for name, row in self.form.rows.items():
            theirs = fresh.values.get(name)
            if theirs == row.base or name not in fresh.values:
                continue
            if row.edited:
                both.append(row)
            else:
                row.settle(theirs)
        self._version = fresh.version
        return both

    def _refused(self, error: FleetError) -> None:
        if isinstance(error, WrongState) and "fields" in error.details:
            self._owner.fetch(ShowSettings(self._target), self._compare, f"settings-{self.id}")
            return
        problems: dict[str, str] = {}
        for problem in error.problems if isinstance(error, InvalidInput) else ():
            problems[problem.field] = f"{problems[problem.field]}; {problem.message}" if problem.field in problems else problem.message
        self.form.complain(problems)
        shown = {name for name, row in self.form.rows.items() if row.display}
        rest = "; ".join(f"{BY_NAME[name].title if name in BY_NAME else name}: {said}" for name, said in problems.items() if name not in shown)
        self.note(f"not saved: {rest or ('see the fields marked ✗' if problems else self._owner.worded(error))}", True)

    def _compare(self, fresh: InstanceSettings) -> None:
        """Somebody saved meanwhile: show both values beside each edited field, and take their other changes in."""
        both = self._take_in(fresh)
        for row in both:
            row.conflict(fresh.values.get(row.field.name))
        said = f"{len(both)} of your fields too" if both else "none of your fields; theirs are taken in"
        self.note(f"not saved: somebody else saved these settings meanwhile, {said}. ctrl+o saves yours, ctrl+t takes theirs", True)

    def take_theirs(self) -> None:
        row = self.form.focused_row
        if row is None or not row.has_conflict:
            self._owner.say("this field was changed by nobody else")
            return
        row.settle(row.theirs)

    def discard(self) -> None:
        """Throw away what was typed."""
        self.is_stale, self._version = True, -1
        for row in self.form.rows.values():
            row.put(row.base)

    def on_descendant_focus(self) -> None:
        """What goes into the field that has the focus is told in one place, so that nothing moves."""
        row = self.form.focused_row
        about = f"{row.field.title}: {'; '.join(filter(None, (row.field.rule, row.field.help))) or row.field.kind}" if row is not None else ""
        self.query_one(".about", Static).update(safe(about))

    on_descendant_blur = on_descendant_focus

    def on_field_form_edited(self, event: FieldForm.Edited) -> None:
        event.stop()
        self._owner.footer()

    def on_choice_wanted(self, event: Choice.Wanted) -> None:
        event.stop()
        from fleet_tui.screens.new_instance import choose_value

        choose_value(self.app, event.choice)


def ask_to_leave(app: Any, forms: list[SettingsTab], then: Callable[[], None]) -> None:
    """Ask before edits are thrown away."""
    names = ", ".join(title for form in forms for title in form.edited())

    def answered(answer: dialogs.Answer) -> None:
        if answer.yes:
            for form in forms:
                form.discard()
            then()

    dialogs.confirm(
        app, dialogs.Question("Leave without saving?", "Discard", [f"edited and not saved: {names}", "ctrl+o saves them"], refuse="Stay"), answered,
    )

"""The settings of one instance: a form that keeps what was typed whatever comes between, and never saves over somebody else unseen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static, TextArea

from fleet_tui import actions
from fleet_tui.actions import ACTIONS
from fleet_tui.backend.errors import FleetError, InvalidInput, WrongState
from fleet_tui.backend.instances import InstanceSettings
from fleet_tui.backend.instances.fields import BY_NAME, FIELDS, Field, is_meant
from fleet_tui.screens import dialogs
from fleet_tui.screens.editors import Choice, SecretEditor
from fleet_tui.screens.field_row import FieldRow
from fleet_tui.screens.form import FieldForm
from fleet_tui.screens.on_record import OnRecord
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
        on: what it shows parts of.
        of: which fields it shows, of those that mean something under the strategy of the instance's virtual network.
    """

    def __init__(self, owner: FleetScreen, on: OnRecord, id: str, of: Callable[[Field, str], bool]) -> None:
        super().__init__(id=id, classes="settings")
        self._owner = owner
        self._on = on
        self._of = of
        self._said = ""
        self._is_wanted = self._is_filled = False
        """Whether the tab was looked at since this instance is shown, and whether its fields have come."""
        self._kept: dict[str, tuple[Any, Any]] = {}
        """While fields come: name of one that was typed in -> what it began with, and what was typed."""
        self.wants_focus = False
        """Whether the person asked to edit; turning tabs alone leaves the keys where they are."""

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
        return bool(self._kept) or self.form.is_edited

    def edited(self) -> list[str]:
        """Titles of the fields that were edited."""
        return [BY_NAME[name].title for name in self._kept if name in BY_NAME] or [row.field.title for row in self.form.rows.values() if row.edited]

    def forget(self) -> None:
        """Another instance is to be shown."""
        self.workers.cancel_node(self)
        self._said, self._kept = "", {}
        self._is_wanted = self._is_filled = self.wants_focus = False
        self.form.forget()
        self.note("")

    def load(self) -> None:
        """The tab is shown, or what it shows may have changed."""
        self._is_wanted = True
        self._on.load()
        if not self._is_filled and self._on.settings is not None:
            self.take_in()

    def take_in(self, own: frozenset[str] = frozenset(), *, was_refused: bool = False) -> None:
        """Other values are on record: into the fields that were not typed in. One that both changed shows both.

        Args:
            own: names of fields that were changed by a save from here.
            was_refused: whether somebody else's save kept this form from being saved.
        """
        settings = self._on.settings
        if settings is None or not self._is_wanted:  # then it is filled when it is looked at
            return
        hidden, strategy = frozenset(settings.hidden), self._on.strategy
        fields = [f for f in FIELDS if (not f.strategies or strategy in f.strategies) and f.name not in hidden and self._of(f, strategy)]
        if self._is_filled and self.form.has(fields, settings.values):
            self._learn(settings, own, was_refused)
        else:
            self.run_worker(self._fill(fields, settings, own, was_refused), exclusive=True)

    async def _fill(self, fields: list[Field], settings: InstanceSettings, own: frozenset[str], was_refused: bool) -> None:
        """Show these fields, with what was typed in them."""
        focused = self.form.focused_row
        goes_on = "" if focused is None else focused.field.name
        self.wants_focus = self.wants_focus or focused is not None
        self._kept |= {name: (row.base, row.raw) for name, row in self.form.rows.items() if row.is_typed}
        self._is_filled = False
        await self.form.fill(fields, settings.values, meant=self._means, **self._beside(settings, fields))
        for name, (base, raw) in self._kept.items():
            if name in self.form.rows:
                self.form.rows[name].retype(base, raw)
        self._kept, self._is_filled = {}, True
        self._learn(settings, own, was_refused)
        if goes_on in self.form.rows:
            self.wants_focus = False
            self.form.rows[goes_on].editor.focus()
        elif self.wants_focus:
            self.enter_form()

    def _beside(self, settings: InstanceSettings, fields: list[Field]) -> dict[str, Any]:
        """What stands beside the values."""
        locked = {name: why for name, why in settings.locked.items() if name in BY_NAME and not BY_NAME[name].storages}
        if why := actions.forbidden(ACTIONS["instance.edit"], self._owner.console.record):  # who may not save is not let type
            locked = dict.fromkeys((f.name for f in fields), why)
        return {"locked": locked, "applied": settings.applied, "choices": settings.choices, "reasons": settings.reasons}

    def _learn(self, settings: InstanceSettings, own: frozenset[str], was_refused: bool) -> None:
        both = self.form.learn(settings.values, own=own, **self._beside(settings, [row.field for row in self.form.rows.values()]))
        if both or was_refused:
            said = f"{len(both)} of your fields too" if both else "none of your fields; theirs are taken in"
            refused = "not saved: " * was_refused
            self.note(f"{refused}somebody else saved these settings meanwhile, {said}. ctrl+o saves yours, ctrl+t takes theirs", True)
        elif not self.is_edited:
            self.note(self._said)

    def _means(self, field: Field, values: Mapping[str, Any]) -> bool:
        return is_meant(field, self._on.strategy, str(values.get(STORAGE, "")))

    def enter_form(self) -> None:
        """Put the cursor into the first field, now or when the fields have come."""
        self.wants_focus = not self._is_filled
        self.form.focus_first()

    def note(self, text: str, is_wrong: bool = False) -> None:
        line = self.query_one(".note", Static)
        line.update(safe(text))
        line.display = bool(text)
        line.set_class(is_wrong, "-wrong")

    def save(self) -> None:
        if self._on.settings is None or not self._is_filled:
            self._owner.say("nothing to save: the settings have not come yet")
        elif self._on.is_saving:
            self._owner.say("the last save is not answered yet")
        elif not self.form.is_edited:
            self._owner.say("nothing was edited")
        elif not self.form.check():
            self.note("not saved: see the fields marked ✗", True)
        else:
            self._on.save(self, self.form.edits(), {name: row.raw for name, row in self.form.rows.items() if row.edited})

    def saved(self, typed: Mapping[str, Any], warnings: Sequence[str]) -> None:
        """What had been typed is on record now. What was typed since is not."""
        for name, row in self.form.rows.items():
            row.complain("")
            row.has_conflict = False
            if name in typed:
                row.base = typed[name]
            elif not row.display:  # it means nothing beside what was saved
                row.settle(row.base)
        self._said = f"saved, but: {'; '.join(warnings)}" if warnings else ""
        self.note(self._said)

    def refused(self, error: FleetError) -> None:
        """Nothing was saved."""
        if isinstance(error, WrongState) and "fields" in error.details:
            self.note("not saved: somebody else saved these settings meanwhile", True)
            self._on.compare(self)
            return
        problems: dict[str, str] = {}
        for problem in error.problems if isinstance(error, InvalidInput) else ():
            problems[problem.field] = f"{problems[problem.field]}; {problem.message}" if problem.field in problems else problem.message
        self.form.complain(problems)
        shown = {name for name, row in self.form.rows.items() if row.display}
        rest = "; ".join(f"{BY_NAME[name].title if name in BY_NAME else name}: {said}" for name, said in problems.items() if name not in shown)
        self.note(f"not saved: {rest or ('see the fields marked ✗' if problems else self._owner.worded(error))}", True)

    def take_theirs(self) -> None:
        row = self.form.focused_row
        if self._on.is_comparing:
            self._owner.say("what somebody else saved is on its way; press it again once it is shown")
            return
        if row is None or not row.has_conflict:
            self._owner.say("this field was changed by nobody else")
            return
        row.settle(row.theirs)
        if not self.is_edited:  # nothing of one's own is left to be saved
            self.note(self._said)

    def discard(self) -> None:
        """Throw away what was typed."""
        self._kept = {}
        for row in self.form.rows.values():
            row.settle(row.base)

    def field_to_fill(self) -> Callable[[], FieldRow | None]:
        """The field that has the focus, if a whole text can be put into it; to be found again when the text has come, where it may be gone."""
        row, still = self.form.focused_row, self._on.still()
        name = row.field.name if row is not None else ""

        def found() -> FieldRow | None:
            row = self.form.rows.get(name) if still() else None
            return row if row is not None and row.display and row.takes_files else None

        return found

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


def ask_to_leave(app: Any, on: OnRecord, then: Callable[[], None]) -> None:
    """Ask before edits are thrown away."""
    names = ", ".join(title for form in on.forms for title in form.edited())

    def answered(answer: dialogs.Answer) -> None:
        if answer.yes:
            on.discard()
            then()

    dialogs.confirm(
        app, dialogs.Question("Leave without saving?", "Discard", [f"edited and not saved: {names}", "ctrl+o saves them"], refuse="Stay"), answered,
    )

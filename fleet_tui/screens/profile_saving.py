"""A form that is saved as a whole: nothing is sent before ``ctrl+o``, what was typed is kept, and nobody is overwritten unseen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fleet_tui import actions
from fleet_tui.actions import ACTIONS
from fleet_tui.backend.errors import FleetError, InvalidInput, WrongState
from fleet_tui.backend.instances.fields import Field
from fleet_tui.screens import dialogs, profile_fields
from fleet_tui.screens.form import FieldForm
from fleet_tui.screens.list_keys import ListScreen

if TYPE_CHECKING:
    from fleet_tui.session import Session

NAMED = 4
"""Instances named in a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class _Saving:
    """A save that is on its way."""

    label: str
    sent: Mapping[str, Any]
    """What each field held then."""


class SavedForm(ListScreen):
    """The saving half of a profile's screen."""

    NOUN: ClassVar[str]
    AIMS: ClassVar[str]
    FIELDS: ClassVar[tuple[Field, ...]]

    def __init__(self) -> None:
        super().__init__()
        self.sheet: Any = None
        """What is on record; of a new one, what it starts with."""
        self._complaint = ""
        self._was_saved = False
        self._saving: _Saving | None = None

    # What a kind says of itself

    def show_request(self, target: str) -> Any:
        """The read that fetches the sheet."""
        raise NotImplementedError

    def save_request(self, typed: Mapping[str, Any]) -> Callable[[dict[str, Any]], Any]:
        """Gives what makes the request of the fields that were edited, of a new one of all. That is called on a thread, and looks at no screen."""
        raise NotImplementedError

    def more_edits(self) -> list[str]:
        """What else than fields was edited, in words."""
        return []

    def begin(self) -> None:
        """What is on record has come, or edits were given up: show that."""

    def meant(self, field: Field) -> bool:
        """Whether a field means anything with what is chosen now."""
        return True

    def paint(self) -> None:
        """The lines that tell how things stand."""

    def show_settings(self) -> None:
        """Go where the form is."""

    def show_linked(self, linked: Sequence[Any]) -> None:
        """Instances that are linked."""

    @property
    def form(self) -> FieldForm:
        return self.query_one("#fields", FieldForm)

    @property
    def record(self) -> Any:
        return self.sheet.record if self.sheet is not None else None

    @property
    def is_new(self) -> bool:
        return self.record is not None and not self.record.id

    def edited_words(self) -> list[str]:
        return [*(row.field.title for row in self.form.rows.values() if row.edited), *self.more_edits()] if self.is_mounted else []

    # Saving

    @property
    def holds_edits(self) -> bool:
        return self.is_mounted and self.sheet is not None and (self.form.is_edited or bool(self.more_edits()))

    def complain(self, text: str) -> None:
        self._complaint = text
        self.paint()

    def act_tabs_save(self) -> None:
        if self.sheet is None:
            return
        if self.is_saving:
            self.say("it is being saved")
            return
        if why := actions.forbidden(ACTIONS[f"{self.AIMS}.edit"], self.console.record):
            self.say(f"not saved: {why}", "warning")
        elif not self.holds_edits:
            self.say("nothing was edited")
        elif not self.form.check():
            self.show_settings()
            self.complain("not saved: see the fields marked ✗")
            go_to_wrong(self.form)
        else:
            typed = self.form.values() if self.is_new else self.form.edits()
            edits = {name: value for name, value in typed.items() if self.meant(self.form.rows[name].field)}
            self._saving = saving = _Saving(self.record.label, {name: row.raw for name, row in self.form.rows.items()})
            known, record, by_name = self.save_request(edits), self.record.values, {field.name: field for field in self.FIELDS}

            def send(session: Session) -> Any:
                return session.submit(known(profile_fields.taken(by_name, profile_fields.read_files(edits), record)))

            self.ask(send, lambda row: self._saved(saving, row), lambda error: self._refused(saving, error), "save")

    @property
    def is_saving(self) -> bool:
        return self._saving is not None

    def _saved(self, saving: _Saving, row: Any) -> None:
        if saving is not self._saving:  # the person went on to another one
            self.say(f"{self.NOUN} {row.label} saved")
            return
        self._was_saved, self._complaint = True, ""
        self.ref = f"{self.ref.partition(':')[0]}:{row.id}"
        self.load()

    def typed_since(self) -> dict[str, Any]:
        """What was typed into fields after the save was sent: it stays."""
        sent = self._saving.sent if self._saving is not None else {}
        return {name: row.raw for name, row in self.form.rows.items() if name in sent and not row.locked and row.raw != sent[name]}

    def _refused(self, saving: _Saving, error: FleetError) -> None:
        if saving is not self._saving:
            self.say(f"{self.NOUN} {saving.label} was not saved: {self.worded(error)}", "error")
            return
        self._saving = None
        if isinstance(error, WrongState) and "fields" in error.details:
            self.fetch(self.show_request(self.record.id), self._compare, "sheet")
            return
        problems = {p.field: p.message for p in error.problems} if isinstance(error, InvalidInput) else {}
        self.form.complain({name: said for name, said in problems.items() if name in self.form.rows})
        rest = self.place_problems({name: said for name, said in problems.items() if name not in self.form.rows})
        if problems and any(name in self.form.rows for name in problems):
            self.show_settings()
        said = "; ".join(rest) if problems else self.worded(error)
        self.complain(f"not saved: {said or 'see what is marked ✗'}")
        go_to_wrong(self.form)

    def place_problems(self, problems: Mapping[str, str]) -> list[str]:
        """Show those that are about no field of the form where they belong; gives what belongs nowhere."""
        return [f"{name}: {said}" for name, said in problems.items()]

    def _compare(self, fresh: Any) -> None:
        """Somebody saved meanwhile: both values beside each edited field, and their other changes taken in."""
        _, theirs = profile_fields.all_shown(self.FIELDS, {**fresh.record.values, "label": fresh.record.label})
        conflicts = 0
        for name, row in self.form.rows.items():
            if name not in theirs or theirs[name] == row.base:
                continue
            if row.edited:
                row.conflict(theirs[name])
                conflicts += 1
            else:
                row.base = theirs[name]
                row.put(theirs[name])
        conflicts += self.compare_more(fresh)
        self.sheet = fresh
        self.show_linked(fresh.linked)
        what = f"{conflicts} of your edits too" if conflicts else "nothing that you edited; theirs is taken in"
        self.complain(f"not saved: somebody else saved this {self.NOUN} meanwhile, {what}. ctrl+o saves yours, ctrl+t takes theirs")

    def compare_more(self, fresh: Any) -> int:
        """The same for what is no field; gives how many conflicts there are."""
        return 0

    def act_tabs_theirs(self) -> None:
        row = self.form.focused_row
        if row is None or row.theirs is None:
            self.say("this was changed by nobody else")
            return
        row.base = row.theirs
        row.put(row.theirs)
        row.theirs = None
        row.complain("")
        self.complain(self._complaint if self.holds_edits else "")

    # Leaving

    def leave(self) -> bool:
        """Out of the fields first, with everything typed kept; then out of the screen, which asks."""
        if self.form.focused_row is not None:
            self.set_focus(self.home())
            self.paint()
        elif super().leave():
            pass
        elif self.holds_edits:
            self.ask_to_leave(self.console.back)
        else:
            return False
        return True

    def ask_to_leave(self, then: Callable[[], None]) -> None:
        said = [f"edited and not saved: {', '.join(self.edited_words())}", "ctrl+o saves them"]

        def answered(answer: dialogs.Answer) -> None:
            if answer.yes:
                for row in self.form.rows.values():
                    row.put(row.base)
                self.begin()
                self.sheet, self.is_loaded = None, False
                self._saving, self._was_saved = None, False
                then()

        dialogs.confirm(self.app, dialogs.Question("Leave without saving?", "Discard", said, refuse="Stay"), answered)


def go_to_wrong(form: FieldForm) -> None:
    """Have what is wrong with the first such field in sight, once there is room for it."""
    row = next((row for row in form.rows.values() if row.has_class("-wrong")), None)
    if row is not None:
        scroll = row.query_one(".problem").scroll_visible
        form.call_after_refresh(lambda: form.call_after_refresh(lambda: scroll(animate=False)))  # the focus scrolls to the editor before that


def these(names: Sequence[str]) -> str:
    """``web-1, web-2 and 7 more``."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def saved_words(noun: str, sheet: Any) -> str:
    """What came of a save: who waits now, and why."""
    waiting = [row for row in sheet.linked if row.waits]
    if not waiting:
        return f"{noun} {sheet.record.label} is saved"
    names = these([row.label for row in waiting])
    return f"{noun} {sheet.record.label} is saved · waiting for a reprovision: {names} ({waiting[0].why})"

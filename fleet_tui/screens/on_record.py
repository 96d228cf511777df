"""The settings of one instance as they are on record: whose they are, which version the forms stand on, and whether they are being saved.

Two tabs show parts of the same settings, each field on one of them. This alone asks for them and sends them, for both: what one saves the other
takes in, and an answer about an instance that is not shown any more reaches no form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.instances import EditInstance, InstanceRecord, InstanceSettings, ShowSettings

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.screens.settings_tab import SettingsTab


class OnRecord:
    """What the forms of one screen stand on. They are its only readers, and never ask the daemon themselves."""

    def __init__(self, owner: FleetScreen) -> None:
        self._owner = owner
        self.forms: Sequence[SettingsTab] = ()
        self.settings: InstanceSettings | None = None
        """None until they have come."""
        self.strategy = ""
        """HTTPS strategy of its virtual network, which says what fields there are."""
        self.is_saving = False
        self._target = ""
        self._is_stale = True
        self._begun = 0
        """Counts beginnings: an answer to a question from before the last one is nobody's."""
        self._own: tuple[int, frozenset[str]] = (0, frozenset())
        """Version that a save from here made, and the fields that it changed."""
        self._refused: SettingsTab | None = None
        """The form whose save was refused because somebody else had saved."""

    @property
    def holds_edits(self) -> bool:
        return any(form.is_edited for form in self.forms)

    @property
    def is_comparing(self) -> bool:
        """Whether a save was refused, and what somebody else had saved has not come yet."""
        return self._refused is not None

    def still(self) -> Callable[[], bool]:
        """Gives whether, at the time it is called, the forms stand on the same instance as now and nothing was given up in between."""
        begun = self._begun
        return lambda: begun == self._begun

    # Whose

    def forget(self) -> None:
        """Another instance is to be shown: nothing of this one is shown, or saved, under its name."""
        self._begin("")
        self.settings = None
        for form in self.forms:
            form.forget()

    def discard(self) -> None:
        """Throw away what was typed."""
        self._begin(self._target)
        for form in self.forms:
            form.discard()

    def _begin(self, target: str) -> None:
        self._begun += 1
        self._target, self._is_stale, self.is_saving, self._refused, self._own = target, True, False, None, (0, frozenset())

    def aim(self, row: InstanceRecord) -> None:
        """Show this instance's settings. While something of the same instance is edited, a newer version is only noted."""
        if row.id != self._target:
            if self._target:
                self.forget()
            self._target, self.strategy = row.id, row.https_strategy
        elif not self.holds_edits:
            self._is_stale |= self.strategy != row.https_strategy or (self.settings is not None and self.settings.version != row.version)
            self.strategy = row.https_strategy

    # Asking

    def load(self) -> None:
        """Ask for them, unless what has come or is on its way is the newest that is known of."""
        if not self._is_stale or not self._target:
            return
        self._is_stale, still = False, self.still()

        def have(found: InstanceSettings) -> None:
            if still():
                self._have(found)

        def failed(error: FleetError) -> None:
            self._is_stale |= still()
            self._owner.failed(error)

        self._owner.fetch(ShowSettings(self._target), have, "settings", failed)

    def reload(self, target: str) -> None:
        """The settings of that instance were changed: take in what is on record now."""
        if target == self._target:
            self._is_stale = True
            self.load()

    def _have(self, found: InstanceSettings) -> None:
        own = self._own[1] if self._own[0] == found.version else frozenset()
        refused, self._refused, self._own = self._refused, None, (0, frozenset())
        self.settings = found
        for form in self.forms:
            form.take_in(own, was_refused=form is refused)

    # Saving

    def save(self, form: SettingsTab, changes: Mapping[str, Any], typed: Mapping[str, Any]) -> None:
        """Send what was edited in a form. It learns what became of it, if it still shows the same instance then; the person does anyway."""
        assert self.settings is not None
        request, still = EditInstance(self._target, self.settings.version, changes), self.still()
        name = self._owner.name_of(self._owner.thing)
        self.is_saving = True

        def saved(row: InstanceRecord) -> None:
            count = len(row.pending_changes)
            waits = f" · {count} {'change waits' if count == 1 else 'changes wait'} for a reprovision (R)" if count else ""
            self._owner.say(f"settings of {row.label} saved{waits}")
            if still() and self.settings is not None:
                self.is_saving, self.strategy = False, row.https_strategy
                self.settings = replace(self.settings, version=row.version)
                self._own = row.version, frozenset(changes)
                form.saved(typed, getattr(row, "warnings", ()))
                self.reload(row.id)

        def refused(error: FleetError) -> None:
            if still():
                self.is_saving = False
                form.refused(error)
            else:
                self._owner.say(f"settings of {name} were not saved: {self._owner.worded(error)}", "error")

        self._owner.ask(lambda session: session.submit(request), saved, refused)

    def compare(self, form: SettingsTab) -> None:
        """A save was refused because somebody else had saved: show both values beside each edited field, and take their other changes in."""
        self._refused = form
        self.reload(self._target)

"""The SSL tab: the certificate on record beside the one that is served, and below it what can be set of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import ScrollableContainer, Vertical

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.instances import InstanceRecord, ShowSsl, SslRecord
from fleet_tui.screens import ssl_facts
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.on_record import OnRecord
from fleet_tui.screens.settings_tab import SettingsTab, is_of_ssl
from fleet_tui.widgets.paint import Lines

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen


class SslTab(Vertical):
    """Facts above, form below. In a low window the facts give way while one edits."""

    BINDINGS = bindings("instance/ssl", "screen.")

    def __init__(self, owner: FleetScreen, on: OnRecord, id: str) -> None:
        super().__init__(id=id)
        self._owner = owner
        self._target = ""
        self.record: SslRecord | None = None
        self.settings = SettingsTab(owner, on, "ssl-settings", is_of_ssl)

    def compose(self) -> ComposeResult:
        with ScrollableContainer(id="ssl-facts", can_focus=True):
            yield Lines(glyphs=self._owner.console.glyphs, id="ssl-lines")
        yield self.settings

    def forget(self) -> None:
        """Another instance is to be shown."""
        self._target, self.record = "", None
        self.query_one("#ssl-lines", Lines).show([[(" asking for its certificate", "muted")]])

    def aim(self, row: InstanceRecord) -> None:
        if row.id != self._target:
            self.forget()
            self._target = row.id

    def load(self) -> None:
        self.settings.load()
        self._ask(False)

    def test(self) -> None:
        """Look at what is served now, and check everything anew."""
        self._owner.say("looking at what it serves now")
        self._ask(True)

    def _ask(self, test: bool) -> None:
        target = self._target

        def have(found: SslRecord) -> None:
            if target != self._target:
                return
            self.record = found
            self.paint()
            if test:
                if wrong := len(ssl_facts.problems(found, self._owner.console.clock.now())):
                    self._owner.say(f"{wrong} problem{'s' * (wrong != 1)} found", "warning")
                else:
                    self._owner.say("tested: nothing is wrong")

        self._owner.fetch(ShowSsl(target, test), have, "ssl", failed=self._refused)

    def _refused(self, error: FleetError) -> None:
        if self.record is None:
            self.query_one("#ssl-lines", Lines).show([[(f" {error.message}", "attention")]])
        self._owner.failed(error)

    def paint(self) -> None:
        if self.record is not None:
            console = self._owner.console
            lines = ssl_facts.lines(self.record, console.glyphs, console.clock.now(), self.app.size.width - 1)
            self.query_one("#ssl-lines", Lines).show(lines)

    def on_resize(self) -> None:
        self.paint()

    def on_descendant_focus(self) -> None:
        self.set_class(self.settings.form.focused_row is not None, "-editing")

    on_descendant_blur = on_descendant_focus

    @property
    def facts(self) -> Any:
        """What keys go to while nothing is edited."""
        return self.query_one("#ssl-facts")

"""Keys of the SSL tab, and taking a text from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fleet_tui.backend.errors import FleetError, InvalidInput
from fleet_tui.backend.instances import EditInstance, InstanceRecord, InstanceSettings, ShowSettings
from fleet_tui.screens import dialogs, ssl_facts
from fleet_tui.screens.command_line import FILE
from fleet_tui.screens.detail import Page
from fleet_tui.screens.frame import FleetScreen
from fleet_tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from fleet_tui.screens.field_row import FieldRow
    from fleet_tui.screens.on_record import OnRecord
    from fleet_tui.screens.settings_tab import SettingsTab
    from fleet_tui.screens.ssl_tab import SslTab

MOST_TAKEN = 64 * 1024
"""Bytes of a file that a field takes: as much as the daemon takes of a certificate with its chain."""


class SslKeys(FleetScreen):
    """Of the screen that has the tab."""

    ssl: SslTab
    form: SettingsTab
    on_record: OnRecord
    _to_fill: Callable[[], FieldRow | None] = staticmethod(lambda: None)
    """Finds the field that a file is named for, if it is still there."""

    def _show_tab(self, tab: str) -> None:
        raise NotImplementedError

    def act_ssl_test(self, row: Any) -> None:
        self._show_tab("ssl")
        self.ssl.test()

    def act_ssl_chain(self, row: Any) -> None:
        self._show_tab("ssl")
        record = self.ssl.record
        lines = ssl_facts.in_full(record) if record is not None else []
        if lines:
            self.console.open("detail", self.ref, record=Page(tuple(lines)), title=f"certificate of {row.label}")
        else:
            self.say("it has no certificate yet" if record is not None else "still loading")

    def act_ssl_copy(self, row: Any) -> None:
        self._show_tab("ssl")
        record = self.ssl.record
        if record is not None and record.certificate_pem:
            self.copy(record.certificate_pem, "certificate")
        else:
            self.say("it has no certificate yet" if record is not None else "still loading")

    # Domains

    def act_ssl_add_domain(self, row: Any) -> None:
        from fleet_tui.screens.ask import Form, ask, entry

        def opened(settings: InstanceSettings) -> None:
            now = list(settings.values.get("domains") or ())
            fields = (entry("domain", "Domain", help="full name, such as web.example.org"),)

            def make(values: Any) -> EditInstance:
                return EditInstance(row.id, settings.version, {"domains": [*now, values["domain"]]})

            ask(self, Form(f"Add a domain to {row.label}", fields, make, self._domains_saved, "Add", names={"domains": "domain"}))

        self.fetch(ShowSettings(row.id), opened, "domains")

    def act_ssl_remove_domain(self, row: Any) -> None:
        def opened(settings: InstanceSettings) -> None:
            now = list(settings.values.get("domains") or ())
            if not now:
                self.say("no domain is named · + adds one", "warning")
                return

            def chosen(name: str) -> None:
                request = EditInstance(row.id, settings.version, {"domains": [one for one in now if one != name]})
                self.ask(lambda session: session.submit(request), self._domains_saved)

            dialogs.choose(self.app, f"Take from {row.label}", [dialogs.Item(name, name) for name in now], chosen)

        self.fetch(ShowSettings(row.id), opened, "domains")

    def _domains_saved(self, row: InstanceRecord) -> None:
        waits = " · waits for a reprovision (R)" if "domains" in row.pending_changes else ""
        self.say(f"domains of {row.label} saved{waits}")
        self.on_record.reload(row.id)
        self.ssl.load()

    # From a file

    def act_tabs_file(self) -> None:
        self._to_fill = self.form.field_to_fill()
        if self._to_fill() is None:
            self.say("a text or a key is taken from a file: go to its field first")
            return
        self.query_one(Prompt).open(FILE, "~/")

    def named_file(self, name: str) -> None:
        to_fill = self._to_fill
        row = to_fill()
        if row is not None:
            row.editor.focus()
        if not name.strip():
            return
        if row is None:
            self._nowhere()
            return
        field = row.field.name

        def work(_session: Any) -> str:
            from fleet_tui.screens.forms import read_file

            return read_file(name.strip(), field, MOST_TAKEN)

        def taken(text: str) -> None:
            if (row := to_fill()) is None:
                self._nowhere()
                return
            row.complain("")
            row.take(text)

        def refused(error: FleetError) -> None:
            said = error.problems[0].message if isinstance(error, InvalidInput) and error.problems else error.message
            if (row := to_fill()) is None:
                self.say(said, "warning")
            else:
                row.complain(said)

        self.ask(work, taken, refused, "file")

    def _nowhere(self) -> None:
        self.say("nothing was taken from the file: its field is not there any more", "warning")

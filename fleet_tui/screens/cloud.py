"""Cloud Setup: the site's account, the key that its secrets are under, what is missing, and how to make it (spec 5.4)."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.widget import Widget

from fleet_tui import actions
from fleet_tui.actions import ACTIONS
from fleet_tui.backend.cloud import AccountVerdict, CloudRecord, KeyVerdict, ShowCloud, TestAccount
from fleet_tui.backend.errors import FleetError
from fleet_tui.screens import cloud_facts
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.link import FleetChanged
from fleet_tui.screens.list_keys import MovingScreen
from fleet_tui.widgets.paint import Lines


class CloudScreen(MovingScreen):
    KIND = "cloud"
    BINDINGS = bindings("cloud")
    THING = frozenset({"cloud", "page.describe", "page.raw"})

    def __init__(self) -> None:
        super().__init__()
        self.record: CloudRecord | None = None
        self._tried: cloud_facts.Tried | None = None

    def body(self) -> ComposeResult:
        with ScrollableContainer(id="cloud"):
            yield Lines(glyphs=self.console.glyphs, id="cloud-lines")

    def on_mount(self) -> None:
        self.query_one("#cloud").focus()

    def home(self) -> Widget | None:
        return self.query_one("#cloud")

    def crumbs(self) -> list[str]:
        return ["cloud setup"]

    @property
    def thing(self) -> Any:
        return self.record

    def subject(self, aims: str) -> Any:
        return self.record if aims == "cloud" else None

    # Fetching and painting

    def load(self) -> None:
        self.fetch(ShowCloud(), self._have, "cloud")

    def _have(self, record: CloudRecord) -> None:
        self.record = record
        self._paint()
        self.chrome()

    def _paint(self) -> None:
        if self.record is None:
            return
        session = self.console.record
        lines = cloud_facts.page(
            self.record, self._tried, self.console.glyphs, self.console.clock.now(), self.app.size.width,
            why_not=actions.forbidden(ACTIONS["cloud.setup"], session), simulated=bool(session and session.simulated),
        )  # fmt: skip
        self.query_one("#cloud-lines", Lines).show(lines)

    def chrome(self) -> None:
        super().chrome()
        if self.is_mounted:
            self._paint()  # it is wrapped to the width, and says what this session may do

    def changed(self, changed: FleetChanged) -> None:
        if any(ref.startswith(("cloud:", "operation:")) for ref in changed.refs):
            self.load()

    def minute(self) -> None:
        self._paint()

    # Keys

    def act_cloud_setup(self, row: CloudRecord) -> None:
        from fleet_tui.screens import cloud_forms

        cloud_forms.set_up(self, row, self._saved)

    def _saved(self, record: CloudRecord) -> None:
        self._tried = None
        self._have(record)
        self.say(f"cloud account {record.account} saved: every call that it needs was tried")
        if record.rewrap_id:
            self.console.open("operation", f"operation:{record.rewrap_id}")

    def act_cloud_test(self, row: CloudRecord) -> None:
        self._try(cloud_facts.Tried("account"))
        self.ask(lambda session: session.submit(TestAccount()), self.tried, self._untried, "test")

    def act_cloud_test_key(self, row: CloudRecord) -> None:
        from fleet_tui.screens import cloud_forms

        cloud_forms.test_key(self, row, self.tried)

    def _try(self, tried: cloud_facts.Tried | None) -> None:
        self._tried = tried
        self._paint()
        self.query_one("#cloud").scroll_home(animate=False)

    def tried(self, verdict: AccountVerdict | KeyVerdict) -> None:
        """Show how it did, above everything else."""
        name = "account" if isinstance(verdict, AccountVerdict) else verdict.key
        self._try(cloud_facts.Tried(name, verdict.checks, self.console.clock.now()))

    def _untried(self, error: FleetError) -> None:
        self._try(None)
        self.failed(error)

    def act_cloud_rewrap(self, row: CloudRecord) -> None:
        from fleet_tui.screens import cloud_forms

        cloud_forms.rewrap(self, row)

    def act_cloud_operations(self, row: CloudRecord) -> None:
        if row.rewrap_id:
            self.console.open("operation", f"operation:{row.rewrap_id}")
        else:
            self.console.go("operations", filter_text="re-wrap")

    def act_page_describe(self) -> None:
        self._detail(False)

    def act_page_raw(self) -> None:
        self._detail(True)

    def _detail(self, raw: bool) -> None:
        if self.record is not None:
            self.console.open("detail", "cloud:aws", record=self.record, title="cloud account", raw=raw)

"""One template: its setup actions in the order in which they run, its fields, and the instances made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from textual.app import ComposeResult

from fleet_tui import columns
from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.action_kinds import KINDS
from fleet_tui.backend.instances.profiles import CreateTemplate, EditTemplate, ShowTemplate, TemplateSheet
from fleet_tui.backend.instances.template_fields import FIELDS
from fleet_tui.screens import action_form, dialogs, profile_columns, template_draft
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.profile import Line, ProfileScreen, wrapped
from fleet_tui.screens.tables import Table
from fleet_tui.screens.template_draft import Draft, Drafted
from fleet_tui.widgets.column import Column
from fleet_tui.widgets.resource_table import ResourceTable


class TemplateScreen(ProfileScreen):
    KIND = "template"
    NOUN = AIMS = "template"
    FIELDS = FIELDS
    TABS = {"setups": "Setup actions", "settings": "Settings", "instances": "Instances"}
    BINDINGS = bindings("template")
    THING = frozenset({"template", "page.describe", "page.raw"})

    def __init__(self) -> None:
        super().__init__()
        self.draft = Draft()

    def more_parts(self) -> ComposeResult:
        glyphs = self.console.glyphs
        yield Table(
            [
                Column("place", "#", 3, "right", render=lambda r: str(r.place), priority=1000),
                Column("name", "ACTION", 16, render=lambda r: f"{glyphs.status(r.status)} {r.action.name}", priority=1000, roomy=30),
                Column("on", "RUN", 5, render=lambda r: f"{'on' if r.action.enabled else 'off'}{' *' if r.is_changed else ''}"),
                Column("stage", "STAGE", 14, render=lambda r: r.action.stage, priority=60),
                Column("kind", "KIND", 16, render=lambda r: template_draft.title_of(r.action), priority=40, roomy=20),
                Column("what", "WHAT", 24, render=lambda r: (f"✗ {r.wrong}", "failed") if r.wrong else (template_draft.what(r.action), "muted"),
                       flexible=True, priority=70),
            ],
            status_of=lambda r: r.status, glyphs=glyphs, id="setups", empty="no setup action yet · a adds one",
        )  # fmt: skip

    def crumbs(self) -> list[str]:
        return ["templates", *super().crumbs()[1:]]

    # On record, and edited

    def show_request(self, target: str) -> ShowTemplate:
        return ShowTemplate(target)

    def save_request(self, typed: Mapping[str, Any]) -> Callable[[dict[str, Any]], CreateTemplate | EditTemplate]:
        record, actions = self.record, self.draft.actions if self.is_new or self.draft.is_edited else None

        def request(changes: dict[str, Any]) -> CreateTemplate | EditTemplate:
            if record.id:
                return EditTemplate(record.id, record.version, changes, actions)
            return CreateTemplate(changes.pop("label", ""), changes, actions or ())

        return request

    def begin(self) -> None:
        self.draft.begin(self.record.setup_actions if self.record is not None else ())
        self._list()

    def more_edits(self) -> list[str]:
        return [f"actions ({', '.join(self.draft.words())})"] if self.draft.is_edited else []

    def compare_more(self, fresh: TemplateSheet) -> int:
        theirs, mine = fresh.record.setup_actions, self.draft
        if theirs != mine.base and not mine.is_edited:
            mine.begin(theirs)
            self._list()
        return int(theirs != mine.base and mine.is_edited)

    def place_problems(self, problems: Mapping[str, str]) -> list[str]:
        self.draft.complain(problems)
        self._list()
        if any(row.wrong for row in self.draft.rows()) and self.tab != "setups":
            self._show_tab("setups")
        return [f"{name}: {said}" if not name.startswith("setup_actions") else said for name, said in problems.items()]

    def status_lines(self) -> list[Line]:
        row = self.record
        if self.is_new:
            return [[(" a new template", "strong"), ("   its label and application are under Settings", "muted")]]
        status = profile_columns.template_status(row)
        on, count = profile_columns.actions_on(row), columns.plural(row.instances, "instance")
        said = f"{row.application} · version {row.version} · {on} actions on · {count}"
        lines: list[Line] = [[(f" {self.console.glyphs.status(status)} {row.label}", status), (f"   {said}", "muted")]]
        if note := profile_columns.template_note(row):
            lines += wrapped(f"  {note}", status, self.app.size.width - 2)
        if row.waiting:
            lines.append([(f"   {profile_columns.waiting_words(row.waiting)}", "attention"), ("   i", "key"), (" shows which, and why", "muted")])
        return lines

    # Setup actions

    @property
    def table(self) -> ResourceTable | None:
        return super().table if self.tab != "settings" else None

    def _list(self, key: str = "") -> None:
        table = self.query_one("#setups", ResourceTable)
        table.set_rows([(row.key, row) for row in self.draft.rows()])
        if key:
            table.cursor_key = key

    def _edited(self, key: str = "") -> None:
        self._list(key)
        self.paint()

    def open_row(self, kind: str, row: Any) -> None:
        if kind == "setups":
            self._open_action(row.action, row.key)
        else:
            super().open_row(kind, row)

    def _open_action(self, action: SetupAction, key: str = "") -> None:
        if self.record is None or self._is_busy():
            return

        def made(edited: SetupAction) -> None:
            if not key or self._is_still(key, action):
                self._edited(self.draft.put(edited, key))

        action_form.open_form(self, self.record.id, action, bool(key), made)

    def _is_busy(self) -> bool:
        """What is changed while a save is on its way would be gone when its answer comes."""
        if self.is_saving:
            self.say("the template is being saved; press it again once it is")
        return self.is_saving

    def _is_still(self, key: str, action: SetupAction) -> bool:
        """Whether the action that a dialog was about is there as it was then; what somebody else changed meanwhile is not written over."""
        if self.draft.get(key) == action:
            return True
        self.say(f"{action.name}: somebody else changed it meanwhile; look at it, then do it again", "warning")
        return False

    def act_setup_add(self, row: Any) -> None:
        items = [dialogs.Item(kind.name, kind.title, "", kind.help) for kind in KINDS.values()]

        def chosen(name: str) -> None:
            kind = KINDS[name]
            self._show_tab("setups")
            self._open_action(SetupAction(name, kind.title, {}, kind.stage or "after_install"))

        dialogs.choose(self.app, "Add a setup action that", items, chosen)

    def act_setup_toggle(self, row: Drafted) -> None:
        if not self._is_busy():
            self.draft.toggle(row.key)
            self._edited(row.key)

    def act_setup_later(self, row: Drafted) -> None:
        self._move(row, 1)

    def act_setup_earlier(self, row: Drafted) -> None:
        self._move(row, -1)

    def _move(self, row: Drafted, by: int) -> None:
        if self._is_busy():
            return
        if self.draft.move(row.key, by):
            self._edited(row.key)
        else:
            self.say(f"{row.action.name} is the {'last' if by > 0 else 'first'} of stage {row.action.stage}")

    def act_setup_duplicate(self, row: Drafted) -> None:
        if not self._is_busy():
            self._edited(self.draft.duplicate(row.key))

    def act_setup_delete(self, row: Drafted) -> None:
        def answered(answer: dialogs.Answer) -> None:
            if answer.yes and self._is_still(row.key, row.action) and not self._is_busy():
                self.draft.remove(row.key)
                self._edited()

        said = [f"{template_draft.title_of(row.action)}: {template_draft.what(row.action)}", "it is taken out when the template is saved"]
        dialogs.confirm(self.app, dialogs.Question(f"Delete the action {row.action.name}?", "Delete", said), answered)

    def act_setup_try(self, row: Drafted) -> None:
        action_form.dry_run(self, self.sheet, (row.action,), row.action.name)

    def act_template_try(self, row: Any) -> None:
        action_form.dry_run(self, self.sheet, self.draft.actions, "")

    def act_template_edit(self, row: Any) -> None:
        self.enter_form()

    def act_template_linked(self, row: Any) -> None:
        self._show_tab("instances")

    def act_tabs_theirs(self) -> None:
        if self.tab == "setups" and self.draft.is_edited and self.draft.base != self.record.setup_actions:
            self.begin()
            self.complain(self._complaint if self.holds_edits else "")
        else:
            super().act_tabs_theirs()

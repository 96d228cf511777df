"""The Setup actions tab: what the instance's template does to its machine, in the order in which it happens, and what of it waits."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Horizontal, ScrollableContainer, Vertical

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.instances import InstanceRecord, ShowSettings
from fleet_tui.backend.instances.profiles import RenderedAction, RenderedTemplate, RenderTemplate
from fleet_tui.screens import tables
from fleet_tui.widgets.column import Column
from fleet_tui.widgets.paint import Lines, Span
from fleet_tui.widgets.resource_table import ResourceTable
from fleet_tui.widgets.safety import plain

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen

Line = list[Span]
Numbered = tuple[int, RenderedAction]
"""An action and its place in the order."""


def status_of(row: Numbered) -> str:
    return "failed" if row[1].refused else "well" if row[1].enabled else "off"


def standing(action: RenderedAction) -> str:
    return "refused" if action.refused else "on" if action.enabled else "off"


class SetupTab(Vertical):
    """A row for each action; beside them, where there is room, what the one under the cursor would do."""

    def __init__(self, owner: FleetScreen, id: str) -> None:
        super().__init__(id=id)
        self._owner = owner
        self._row: InstanceRecord | None = None
        self._shown: tuple[object, ...] | None = None
        self.rendered: RenderedTemplate | None = None

    def compose(self) -> ComposeResult:
        glyphs = self._owner.console.glyphs
        yield Lines(glyphs=glyphs, id="setup-head")
        with Horizontal(id="setup-body"):
            yield tables.Table(
                [
                    Column("order", "#", 3, "right", render=lambda r: str(r[0])),
                    Column("name", "ACTION", 18, render=lambda r: f"{glyphs.status(status_of(r))} {r[1].name}", flexible=True),
                    Column("stage", "STAGE", 14, render=lambda r: r[1].stage),
                    Column("kind", "KIND", 21, render=lambda r: r[1].kind),
                    Column("state", "STATE", 7, render=lambda r: standing(r[1]), priority=90),
                ],
                status_of=status_of, glyphs=glyphs, id="setup-actions", empty="its template has no setup action",
            )  # fmt: skip
            with ScrollableContainer(id="setup-run", can_focus=False):
                yield Lines(glyphs=glyphs, id="setup-lines")

    @property
    def table(self) -> ResourceTable:
        return self.query_one("#setup-actions", ResourceTable)

    def forget(self) -> None:
        """Another instance is to be shown."""
        self._row, self.rendered, self._shown = None, None, None
        self.table.set_rows([])
        self.query_one("#setup-head", Lines).show([[(" asking what its template would do", "muted")]])

    def aim(self, row: InstanceRecord) -> None:
        if self._row is None or row.id != self._row.id:
            self.forget()
        self._row = row

    def load(self, anew: bool = False) -> None:
        """Ask what would run, when it may be something else than what is shown; an agent's report alone changes nothing of it."""
        row = self._row
        wanted = () if row is None else (row.id, row.version, row.template, row.pending_changes)
        if row is None or (not anew and self._shown == wanted):
            return

        def work(session: Any) -> tuple[RenderedTemplate, str]:
            rendered = session.fetch(RenderTemplate(target=row.template, instance=row.id))
            return rendered, str(session.fetch(ShowSettings(row.id)).reasons.get("template", ""))

        def have(found: tuple[RenderedTemplate, str]) -> None:
            if self._row is None or self._row.id != row.id:
                return
            self._shown = wanted
            self.rendered = found[0]
            self._head(found[1])
            self.table.set_rows([(str(n), (n, action)) for n, action in enumerate(found[0].actions, 1)])
            self.preview()

        self._owner.ask(work, have, self._refused, "setup")

    def _refused(self, error: FleetError) -> None:
        self.query_one("#setup-head", Lines).show([[(f" {error.message}", "attention")]])
        self._owner.failed(error)

    def _head(self, why: str) -> None:
        assert self.rendered is not None
        glyphs, actions = self._owner.console.glyphs, self.rendered.actions
        off, refused = sum(not a.enabled for a in actions), sum(bool(a.refused) for a in actions)
        counted = f"{len(actions)} action{'s' * (len(actions) != 1)}" + (f", {off} off" if off else "")
        when = f" {glyphs.dot} {counted} {glyphs.dot} run at every provision and reprovision"
        lines: list[Line] = [[(" template ", "muted"), (plain(self.rendered.template), ""), (when, "muted")]]
        if why:
            lines += [[(line, "attention")] for line in _hung(f"{glyphs.pending} waits for a reprovision (R): {why}", self.app.size.width - 2)]
        if refused:
            lines.append([(f" {glyphs.failed} {refused} would be refused here; enter says why", "failed")])
        self.query_one("#setup-head", Lines).show([*lines, []])

    def preview(self) -> None:
        """What the action under the cursor would do."""
        row = self.table.cursor_row
        box = self.query_one("#setup-lines", Lines)
        box.show([] if row is None else [[(text, style)] for text, style in said(row, max(30, self.query_one("#setup-run").size.width - 2))])

    def on_resize(self) -> None:
        self.preview()

    def page(self) -> tuple[str, list[str]]:
        """Title and text of the action under the cursor, for a screen of its own."""
        row = self.table.cursor_row
        return ("", []) if row is None else (row[1].name, [text for text, _ in said(row, max(40, self.app.size.width - 4))])


def _hung(text: str, width: int, lead: str = " ") -> list[str]:
    return textwrap.wrap(plain(text, 2000), max(30, width), initial_indent=lead, subsequent_indent=f"{lead}  ", break_long_words=True)


def said(row: Numbered, width: int) -> list[Span]:
    """Lines of what one action would do; secrets in them are masked where they come from."""
    number, action = row
    found: list[Span] = [(f" {number}. {plain(action.name)}", "title"), (f" {action.kind}, at {action.stage}", "muted")]
    if not action.enabled:
        found.append((" off: it is passed over", "off"))
    if action.refused:
        found += [(line, "failed") for line in _hung(f"it would be refused: {action.refused}", width)]
    found += [("", ""), (" it would", "muted")]
    found += [(line, "") for text in action.lines for line in _hung(text, width, "   ")]
    return found

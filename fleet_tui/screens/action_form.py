"""The form of one setup action, drawn from the table of kinds, with a dry run beside it as one types; and the dry run on an instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual.widgets import TextArea

from fleet_tui.backend.errors import FleetError, InvalidInput, Problem
from fleet_tui.backend.instances import SetupAction
from fleet_tui.backend.instances.action_kinds import KINDS, STAGES, ActionKind
from fleet_tui.backend.instances.fields import Field, parse
from fleet_tui.backend.instances.profiles import RenderedAction, RenderedTemplate, RenderTemplate, TemplateSheet
from fleet_tui.screens import dialogs, profile_fields
from fleet_tui.screens.ask import FRAME, Form, FormDialog, Line, entry
from fleet_tui.screens.profile_saving import go_to_wrong
from fleet_tui.widgets.paint import Lines
from fleet_tui.widgets.safety import plain

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen

NAME, STAGE, ENABLED = "action:name", "action:stage", "action:enabled"
"""Fields of the form that are of the action itself."""
REPEATS = "runs at every provision: it must do no harm when it runs again"
EDITOR_LINES, ROOMY_LINES, HIGH = 6, 14, 30
"""Of a field of several lines, as the stylesheet has it; more of them in a window of so many lines."""
PROBLEM_LINES = 6
"""Kept for what is wrong beside the fields."""
_WHERE = "setup_actions.1."


class ActionDialog(FormDialog):
    """A form with room for a task list, and problems brought back to the fields that they are about."""

    async def on_screen_resume(self) -> None:
        was_new = self._is_new
        await super().on_screen_resume()
        if was_new and self.spec is not None:
            rows = self.app.size.height * 96 // 100 - FRAME
            lines = ROOMY_LINES if self.app.size.height >= HIGH else EDITOR_LINES
            asked = sum(lines if isinstance(row.editor, TextArea) else 1 for row in self.form.rows.values()) + 1
            shown = min(asked + PROBLEM_LINES, max(4, rows - 4))
            self.form.styles.max_height = shown
            self._aside_rows = max(3, rows - shown)
            self.query_one("#aside").styles.max_height = self._aside_rows

    def _preview(self) -> None:
        spec = self.spec
        if spec is not None and spec.preview is not None and self.form.rows and spec.preview(self.form.values()) is None:
            self._timer = None
            self.query_one("#aside-lines", Lines).show(_advice())
        else:
            super()._preview()

    def _not_previewed(self, error: FleetError) -> None:
        super()._not_previewed(_told(error))

    def action_save(self) -> None:
        super().action_save()
        go_to_wrong(self.form)

    def _refused(self, error: FleetError) -> None:
        super()._refused(_beside(error))
        go_to_wrong(self.form)


def open_form(screen: FleetScreen, template: str, action: SetupAction, is_old: bool, taken: Callable[[SetupAction], None]) -> None:
    """Show the form of an action. The daemon checks it, by a dry run that changes nothing, before ``taken`` has it."""
    kind = KINDS.get(action.kind)
    if kind is None:
        screen.say(f"{action.name}: this program does not know the kind {action.kind}", "warning")
        return
    editors, begun = profile_fields.all_shown(kind.parameters, action.parameters)
    fields = [entry(NAME, "Name", default=action.name, rule="at most 100 characters", maximum=100)]
    if kind.stage is None:
        fields.append(Field(STAGE, "Stage", "", "choice", "R", action.stage, choices=STAGES))
    fields += [Field(ENABLED, "Run it", "", "bool", "R", action.enabled), *(replace(field, group="") for field in editors)]
    shown = {field.name: parse(field, begun[field.name])[0] for field in editors if field.kind == "multiline" and field.name in action.parameters}
    made: list[SetupAction] = []

    def drafted(typed: Mapping[str, Any]) -> SetupAction:
        """What was not touched stays to the letter, also what an editor shows otherwise, such as tabs."""
        found = _action(kind, action, typed)
        same = {name: action.parameters[name] for name, text in shown.items() if typed.get(name) == text}
        return replace(found, parameters={**found.parameters, **same})

    def make(typed: Mapping[str, Any]) -> RenderTemplate:
        made[:] = [drafted(profile_fields.read_files(typed))]
        return RenderTemplate(template, setup_actions=(made[0],))

    def preview(typed: Mapping[str, Any]) -> RenderTemplate | None:
        found = drafted(typed)
        for field in kind.parameters:
            if typed.get(f"{profile_fields.FILE}{field.name}") or not _is_well(field, found.parameters.get(field.name)):
                return None
        return RenderTemplate(template, setup_actions=(found,))

    stage = f" · runs {kind.stage}" if kind.stage else ""
    form = Form(
        f"{'Setup action' if is_old else 'New setup action'}: {kind.title}{stage}", fields, make, lambda _reply: taken(made[0]), "Keep",
        values={**begun, NAME: action.name, STAGE: action.stage, ENABLED: action.enabled}, preview=preview, shown=_previewed,
    )  # fmt: skip
    if not screen.app.is_screen_installed("action-form"):
        screen.app.install_screen(ActionDialog(), "action-form")
    dialog = screen.app.get_screen("action-form")
    assert isinstance(dialog, ActionDialog)
    dialog.open(screen, form)
    screen.app.push_screen("action-form")


def _action(kind: ActionKind, before: SetupAction, typed: Mapping[str, Any]) -> SetupAction:
    parameters = profile_fields.taken(kind.by_name, {name: v for name, v in typed.items() if not name.startswith("action:")}, before.parameters)
    return SetupAction(kind.name, typed[NAME] or kind.title, parameters, typed.get(STAGE, before.stage), typed[ENABLED], before.id)


def _is_well(field: Field, value: Any) -> bool:
    """Whether a field would pass by itself, so that asking what it does is no waste."""
    if field.kind == "secret":
        return bool(value) or not field.is_needed
    return not parse(field, field.initial if value is None else value)[1]


def _beside(error: FleetError) -> FleetError:
    """Problems of the one action that was asked about, by the field that each is about."""
    if not isinstance(error, InvalidInput):
        return error
    found = []
    for problem in error.problems:
        place = problem.field.removeprefix(_WHERE).partition(".")[0]
        said = problem.message.partition(": ")[2] if problem.field.startswith(_WHERE) and place != "stage" else problem.message
        found.append(Problem({"stage": STAGE}.get(place, place), said or problem.message))
    return InvalidInput(error.message, problems=found, hint=error.hint)


def _told(error: FleetError) -> FleetError:
    """What is wrong, rather than that something is."""
    beside = _beside(error)
    first = beside.problems[0].message if isinstance(beside, InvalidInput) and beside.problems else ""
    return InvalidInput(first) if first else error


def _previewed(reply: RenderedTemplate) -> list[Line]:
    return [*([(f" {line}", "" if not number else "muted")] for number, line in enumerate(reply.actions[-1].lines[:30])), *_advice()]


def _advice() -> list[Line]:
    return [[(f" {REPEATS}", "muted")]]


# --- the dry run ---------------------------------------------------------------------------------------------------


def dry_run(screen: FleetScreen, sheet: TemplateSheet, actions: Sequence[SetupAction], name: str) -> None:
    """Ask on which instance, then show what would be done there. Nothing is done, and no secret is told."""
    nowhere = dialogs.Item("-", "an instance that does not exist", "", "on a machine of its own")
    items = [nowhere, *(dialogs.Item(row.id, plain(row.label), "", row.state) for row in sheet.linked[:500])]
    first = sheet.linked[0].id if sheet.linked else "-"

    def chosen(instance: str) -> None:
        request = RenderTemplate(sheet.record.id, "" if instance == "-" else instance, tuple(actions))
        screen.fetch(request, lambda reply: _show(screen, reply, name), "dry-run", failed=refused)

    def refused(error: FleetError) -> None:
        screen.failed(_told(error))

    dialogs.choose(screen.app, f"Dry run of {plain(name, 60) or 'all actions'} on", items, chosen, first)


def _show(screen: FleetScreen, reply: RenderedTemplate, name: str) -> None:
    where = f"{reply.instance} in {reply.network}" if reply.instance else "an instance that does not exist"
    actions = reply.actions[-1:] if name else reply.actions
    record = {"nothing_is_done_here": f"what would be done on {where}", **{f"{n}": _lines(a) for n, a in enumerate(actions, 1)}}
    screen.console.open("detail", screen.ref, record=record, title=f"dry run of {name or reply.template or 'the template'}")


def _lines(action: RenderedAction) -> dict[str, Any]:
    said: dict[str, Any] = {"action": action.name, "kind": action.kind, "stage": action.stage, "enabled": action.enabled}
    if action.refused:
        said["refused"] = action.refused
    return {**said, "would": {str(n): line for n, line in enumerate(action.lines, 1)} or "nothing"}

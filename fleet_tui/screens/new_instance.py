"""``n``: the few fields a new instance needs; everything else can be set afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from fleet_tui.backend.errors import FleetError, InvalidInput
from fleet_tui.backend.instances import CreateInstance, InstanceRecord, InstanceSettings, ShowSettings
from fleet_tui.backend.instances.fields import BY_NAME, Field
from fleet_tui.screens import dialogs
from fleet_tui.screens.form import Choice, FieldForm
from fleet_tui.widgets.safety import safe

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen

ASKED = ("label", "kind", "template", "virtual_network", "image", "data_disk.size_gb", "data_disk.size_max_gb")


class NewInstance(ModalScreen[None]):
    """The dialog. It stays, with everything typed, until the daemon has saved the instance."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "Cancel"), ("ctrl+o", "save", "Create")]

    def __init__(self) -> None:
        super().__init__()
        self.settings: InstanceSettings | None = None
        self.opener: FleetScreen | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="new-instance"):
            yield Static("New instance", classes="dialog-title")
            yield FieldForm(id="form", applies=False)
            yield Static("", id="complaint", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Create [enter]".replace("[", "\\["), id="create", compact=True)
                yield Button("Cancel [esc]".replace("[", "\\["), id="cancel", compact=True)

    @property
    def form(self) -> FieldForm:
        return self.query_one("#form", FieldForm)

    async def on_screen_resume(self) -> None:
        if self.settings is not None:
            settings, self.settings = self.settings, None
            fields: list[Field] = [BY_NAME[name] for name in ASKED]
            await self.form.fill(fields, settings.values, choices=settings.choices)
            self.query_one("#complaint", Static).update("")
            self.form.focus_first()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_save()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "create":
            self.action_save()
        else:
            self.action_leave()

    def on_choice_wanted(self, event: Choice.Wanted) -> None:
        event.stop()
        choose_value(self.app, event.choice)

    def action_leave(self) -> None:
        dialogs.close(self)

    def action_save(self) -> None:
        if self.opener is None or not self.form.check():
            return
        values = self.form.values()
        known = {name: values.pop(name) for name in ("label", "kind", "template")}
        request = CreateInstance(network=values.pop("virtual_network"), settings=values, **known)
        self.opener.ask(lambda session: session.submit(request), self._saved, self._refused, "create")

    def _saved(self, row: InstanceRecord) -> None:
        dialogs.close(self)
        assert self.opener is not None
        self.opener.say(f"{row.label} is saved · P provisions it")
        self.opener.console.open("instance", f"instance:{row.id}")

    def _refused(self, error: FleetError) -> None:
        problems = {p.field: p.message for p in error.problems} if isinstance(error, InvalidInput) else {}
        problems = {{"network": "virtual_network"}.get(name, name): said for name, said in problems.items()}
        self.form.complain(problems)
        rest = [f"{name}: {said}" for name, said in problems.items() if name not in self.form.rows]
        said = "; ".join(rest) or ("" if problems else f"{error.message} {error.hint}")
        self.query_one("#complaint", Static).update(safe(said))


def choose_value(app: Any, choice: Choice) -> None:
    """Offer the words of a choice as a list."""
    items = [dialogs.Item(str(option) or "\x00", str(option) or "(newest)") for option in choice.options]
    dialogs.choose(app, "Choose", items, lambda value: choice.choose("" if value == "\x00" else value), str(choice.value))


def ask_for_new(screen: FleetScreen) -> None:
    """Fetch what may be chosen, then open the dialog."""

    def opened(settings: InstanceSettings) -> None:
        app = screen.app
        if not app.is_screen_installed("new-instance"):
            app.install_screen(NewInstance(), "new-instance")
        dialog = app.get_screen("new-instance")
        assert isinstance(dialog, NewInstance)
        dialog.settings, dialog.opener = settings, screen
        app.push_screen("new-instance")

    screen.fetch(ShowSettings(), opened, "new")

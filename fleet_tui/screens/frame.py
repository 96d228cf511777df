"""What every screen has: header, banner, prompt, footer; keys from the one table; questions asked on threads.

A screen says what it shows (`body`), how to get it (`load`) and what to do when something changed (`changed`). Its verbs come from
``actions.py``: a key runs ``do('<id>')``, which is refused with a reason, or becomes a request, or calls ``act_<id>`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.reactive import Reactive
from textual.widget import Widget
from textual.widgets import Static

from fleet_tui import actions, commands
from fleet_tui.actions import ACTIONS, Action
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.operations import Submitted
from fleet_tui.screens.command_line import CommandLine
from fleet_tui.screens.early import Early
from fleet_tui.screens.link import FleetChanged
from fleet_tui.widgets.chrome import Banner, Crumbs, Footer, Header
from fleet_tui.widgets.prompt import Prompt
from fleet_tui.widgets.safety import plain

if TYPE_CHECKING:
    from fleet_tui.session import Session


NAMED_BY = ("label", "target", "name", "vm", "host", "owner")
"""Fields that may hold the name of a record, in the order in which they do."""
PLACE_OF_WORK = {
    "instance": "instance", "maintenance": "maintenance", "host": "operation", "branch": "operation", "add": "operation", "certificate": "operation",
    "cloud": "operation",
}  # fmt: skip
"""Where an operation is watched that was asked for here, by the first part of the action's id; a VM's is told by its row."""


def bindings(screen: str, of: str = "") -> list[BindingType]:
    """Bindings of a screen, made from the table; ids let a person's key map replace them. ``of`` is ``screen.`` for those of a part of it."""
    keys: dict[str, list[str]] = {}
    for key, action in actions.bindings_of(screen).items():
        keys.setdefault(action.id, []).append(key)
    return [
        Binding(",".join(own), f"{of}do('{id_}')", ACTIONS[id_].title, show=False, id=id_) for id_, own in keys.items()
    ]


class FleetScreen(CommandLine):
    """The frame of every screen but the dialogs."""

    KIND: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (60, "-narrow"), (100, "-normal"), (140, "-broad")]
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (20, "-low"), (30, "-high")]
    BINDINGS: ClassVar[list[BindingType]] = []
    THING: ClassVar[frozenset[str]] = frozenset()
    """What actions aim at that is the one thing shown, and ids of those that need it though they aim at nothing: their keys wait for it."""
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """Textual repaints the whole screen when the focus moves; what shows the focus here repaints itself."""

    def __init__(self) -> None:
        super().__init__()
        self.ref = ""
        """What it shows, for history: an object's ref, or empty."""
        self.is_loaded = False
        self._missed: list[FleetChanged] = []
        self.early = Early(self)

    # Parts

    @property
    def is_pane(self) -> bool:
        """Whether it is only looked at: no commands, no names of keys, and as small as somebody likes."""
        return self.has_class("-pane")

    def body(self) -> ComposeResult:
        """The widgets between header and footer."""
        yield from ()

    def crumbs(self) -> Sequence[str]:
        """Where this is: words from the outermost in."""
        return (self.KIND,)

    def compose(self) -> ComposeResult:
        glyphs = self.console.glyphs
        yield Header(id="header", glyphs=glyphs)
        if not self.is_pane:
            yield Crumbs(id="crumbs", glyphs=glyphs)
        yield Banner(id="banner", glyphs=glyphs)
        with Container(id="body"):
            yield from self.body()
        if not self.is_pane:
            yield Static("This window is too small.\nMake it at least 60 by 20.", id="too-small", markup=False)
            yield Prompt(self._complete, id="prompt", glyphs=glyphs)
            yield Footer(id="footer", glyphs=glyphs)

    # Asking

    def ask(
        self,
        work: Callable[[Session], Any],
        then: Callable[[Any], None],
        failed: Callable[[FleetError], None] | None = None,
        group: str = "",
    ) -> None:
        """Have ``work`` done with the session on a thread, and ``then`` painted; a later one of the group wins."""
        self.console.ask(work, *self.early.noted(then, failed or self.failed), f"{id(self)}:{group}" if group else "")

    def fetch(self, request: Any, then: Callable[[Any], None], group: str = "", failed: Callable[[FleetError], None] | None = None) -> None:
        self.ask(lambda session: session.fetch(request), then, failed, group)

    def failed(self, error: FleetError) -> None:
        """A question was refused. What leaves the screen empty stays in its banner. A lost link is the console's own business."""
        if self.console.link_error:
            return
        self.say(self.worded(error), "error")
        if self.early.is_empty:
            self.early.refusal = f"{error.message} · {error.hint}" if error.hint else error.message
            self.chrome()

    def worded(self, error: FleetError) -> str:
        return f"{error.message} {error.hint}".strip()

    def say(self, text: str, severity: str = "information") -> None:
        """A toast. Plain text: nothing in it is markup."""
        self.app.notify(plain(text, 400), severity=cast(Any, severity), markup=False, timeout=8 if severity == "error" else 5)

    # Life

    def load(self) -> None:
        """Fetch everything shown."""

    def changed(self, changed: FleetChanged) -> None:
        """Something changed while this is shown."""

    def minute(self) -> None:
        """A minute passed: repaint ages that read differently now."""

    def hear(self, changed: FleetChanged) -> None:
        """The app passes on what changed; kept for later when this screen is not the one shown."""
        if self.console.is_shown(self):
            self.changed(changed)
        elif self.is_loaded:
            self._missed.append(changed)
            if len(self._missed) > 200:
                self._missed.clear()
                self.is_loaded = False

    def link_restored(self) -> None:
        """What was missed meanwhile is not known: fetch again when shown."""
        self.is_loaded = False
        if self.console.is_shown(self):
            self.shown()

    def shown(self) -> None:
        """It has come to the front."""
        if self.console.session is None:
            return
        if not self.is_loaded:
            self.is_loaded = True
            self._missed.clear()
            self.early.asked()
            self.load()
        elif self._missed:
            missed, self._missed = self._missed, []
            self.changed(FleetChanged.of(missed))

    def on_resize(self) -> None:
        self.call_after_refresh(self.chrome)

    def on_screen_suspend(self) -> None:
        self.early.forget()

    def on_screen_resume(self) -> None:
        self.console.visited(self)
        self.chrome()
        self.shown()

    # Chrome

    def chrome(self) -> None:
        """Header, crumbs, banner and footer as things stand."""
        if not self.is_mounted or not self.query("#header"):
            return
        self.console.paint_header(self.query_one(Header))
        self.console.paint_banner(self.query_one(Banner), self.early.refusal)
        if not self.is_pane:
            chip = self.chip()
            self.query_one(Crumbs).update([self.console.site, *self.crumbs()], [(chip, "moving")] if chip else [])
            self.footer()

    def chip(self) -> str:
        """What narrows the view now: the filter, problems only."""
        return ""

    def footer(self) -> None:
        """The keys that matter here and now."""
        if self.is_pane:
            return
        hints = actions.hints(
            self.place(), self.rows_aimed_at(), self.console.record, self.console.keymap, self.app.size.width, self.idle()
        )
        self.query_one(Footer).update(hints)

    def idle(self) -> frozenset[str]:
        """Ids of actions whose key would do nothing here now, so that the footer does not name them."""
        return frozenset()

    def place(self) -> str:
        """Which footer: the screen, or the tab of it that is shown."""
        return self.KIND

    @property
    def holds_edits(self) -> bool:
        """Whether leaving would lose something typed."""
        return False

    def ask_to_leave(self, then: Callable[[], None]) -> None:
        """Ask before what was typed is lost."""
        then()

    # Actions

    @property
    def thing(self) -> Any:
        """The record of the one thing shown, of a screen that has one; None until it has come."""
        return None

    def subject(self, aims: str) -> Any:
        """The row a verb of that kind would work on; None when there is none here."""
        return None

    def subjects(self, aims: str) -> list[Any]:
        """All rows a bulk verb would work on: those marked, else the one under the cursor."""
        row = self.subject(aims)
        return [] if row is None else [row]

    def action_do(self, id_: str) -> None:
        if self.console.allows(id_):
            self.perform(ACTIONS[id_])
        elif id_ == "global.out":
            self.console.exit(0)

    def perform(self, action: Action, rows: Sequence[Any] | None = None) -> None:
        """Do an action here, on ``rows`` or on what is selected; or say why not."""
        if rows is None and self.early.takes(action):
            return
        chosen = list(rows) if rows is not None else self.subjects(action.aims)
        chosen = [row for row in chosen if actions.suits(action, row)]
        first = chosen[0] if chosen else None
        action = actions.resolve(action, first)
        record = self.console.record
        if len(chosen) > 1:
            why = next((said for row in chosen if (said := actions.forbidden(action, record, row))), "")
        else:
            why = actions.why_not(action, first, record)
        if not why and action.aims and first is None:
            why = f"no {action.aims} is selected"
        if why:
            said = f"{action.title} {self.name_of(first) if first is not None else ''}".strip()
            self.say(f"{said}: {why}", "warning")
            return
        if action.request is not None:
            from fleet_tui.screens import verbs

            verbs.begin(self, action, chosen if action.bulk else chosen[:1])
            return
        if action.kind == "go":
            self.console.go(action.id.removeprefix("go."))
            return
        handler = getattr(self, "act_" + action.id.replace(".", "_").replace("-", "_"), None)
        if handler is None:
            self.say(f"{action.title} is not for this screen", "warning")
        elif action.aims:
            handler(first)
        else:
            handler()

    def submitted(self, action: Action, replies: Sequence[Submitted]) -> None:
        """A verb was accepted: show the work where it can be watched."""
        operations = [reply.operation for reply in replies if reply.operation is not None]
        if len(operations) == 1 and action.danger != "destructive" and (place := PLACE_OF_WORK.get(action.id.partition(".")[0])):
            self.console.open(place, operations[0].target_ref if place != "operation" else f"operation:{operations[0].id}")

    def aim(self, ref: str) -> None:
        """Show this object from the next time the screen comes up."""
        if ref != self.ref:
            self.ref = ref
            self.is_loaded = False
            self.early.forget()  # what was pressed for the one before is not done to this one

    def copy(self, text: str, what: str) -> None:
        """To the clipboard of the person's own terminal, however far away that is (OSC 52)."""
        self.app.copy_to_clipboard(text)
        self.say(f"{what} copied")

    def name_of(self, row: Any) -> str:
        return str(next((value for name in NAMED_BY if (value := getattr(row, name, None))), ""))

    def act_global_back(self) -> None:
        if not self.leave():
            self.console.back()

    def act_global_out(self) -> None:
        if not self.leave() and not self.console.back():
            self.console.leave()

    def leave(self) -> bool:
        """Go back one thing inside this screen (a filter, marks, an edited form). True when there was one."""
        return False

    def rows_aimed_at(self) -> dict[str, Any]:  # by what actions aim at
        return {aims: self.subject(aims) for aims in actions.AIMED_AT}

    def _offer(self, title: str, offers: Iterable[commands.Offer]) -> None:
        from fleet_tui.screens import dialogs

        items = [dialogs.Item(o.id, o.title, o.keys, o.note, o.why_not, o.heading) for o in offers]
        dialogs.choose(self.app, title, items, lambda id_: self.perform(ACTIONS[id_]))

    def act_global_help(self) -> None:
        from fleet_tui.screens.help import show_help

        show_help(self)

    def act_global_menu(self) -> None:
        row = next((row for row in self.rows_aimed_at().values() if row is not None), None)
        said = self.name_of(row) if row is not None else ""
        name = f" · {said}" if said else ""
        offers = commands.menu(self.KIND, self.rows_aimed_at(), self.console.record, self.console.keymap)
        if offers:
            self._offer(f"Actions{name}", offers)
        else:
            nothing = "nothing can be done here: there is nothing to do it to"
            self.say(nothing if self.early.is_empty else "nothing can be done to what is listed here; enter opens it")

    def act_global_palette(self) -> None:
        self._offer("Every action", commands.palette(self.KIND, self.rows_aimed_at(), self.console.record, self.console.keymap))

    def act_global_refetch(self) -> None:
        self.console.try_link_now()
        self.is_loaded = False
        self.shown()
        self.console.pulse.ask()

    def act_global_previous(self) -> None:
        self.console.travel(-1)

    def act_global_next(self) -> None:
        self.console.travel(1)

    def act_global_last(self) -> None:
        self.console.travel(0)

    def act_global_theme(self) -> None:
        self.console.next_theme()

    def act_global_quit(self) -> None:
        self.console.leave()

    def act_global_read_only(self) -> None:
        self.console.make_read_only()

"""FleetApp wires settings, session, modes, theme and key map together. No feature lives here."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.segment import Segment, Segments
from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen

from fleet_tui import actions
from fleet_tui.backend.api import Summary
from fleet_tui.backend.clock import Clock, SystemClock
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.identity import SessionRecord
from fleet_tui.backend.text import clean
from fleet_tui.columns import span
from fleet_tui.screens.at_once import AtOnce
from fleet_tui.screens.errands import Errands
from fleet_tui.screens.heading import paint_banner, paint_header
from fleet_tui.screens.link import FleetChanged, Link
from fleet_tui.screens.pulse import Pulse
from fleet_tui.screens.trail import Place, Trail
from fleet_tui.screens.turns import Turns
from fleet_tui.stylesheets import PARTS, PARTS_OF_PANE, stylesheets
from fleet_tui.widgets import glyphs, safety, themes
from fleet_tui.widgets.chrome import Banner, Header
from fleet_tui.widgets.timers import once

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session
    from fleet_tui.settings import Settings

PLACES = {
    "dashboard": "DashboardScreen", "instances": "InstancesScreen", "hosts": "HostsScreen", "operations": "OperationsScreen",
    "events": "EventsScreen", "instance": "InstanceScreen", "operation": "OperationScreen", "logs": "LogsScreen", "detail": "DetailScreen",
    "host": "HostScreen", "maintenance": "MaintenanceScreen", "vms": "VmsScreen", "vm": "VmScreen", "serial": "SerialScreen",
    "patches": "PatchesScreen", "offerings": "OfferingsScreen", "vlans": "VlansScreen",
    "templates": "TemplatesScreen", "template": "TemplateScreen", "vnets": "VnetsScreen", "vnet": "VnetScreen",
    "cloud": "CloudScreen", "certificates": "CertificatesScreen", "cloud_images": "CloudImagesScreen",
    "orphans": "OrphansScreen",
}  # fmt: skip
"""Kind of screen -> its class, in the module of the same name; imported when first shown."""

DRAIN_S = 0.125
_LONGEST_COPY = 100_000
"""Characters of one line that go to the clipboard."""
STALE_S = 15.0
"""Age from which the header says how old the data is; the banner says it at once."""


class FleetApp(App[int], inherit_bindings=False):
    """The console. Screens find here the session, the clock, the marks to draw with and the way to one another."""

    CSS_PATH = stylesheets(*PARTS)  # type: ignore[assignment]
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False  # a press on a toast ends Textual 8.2.8 where text can be selected; terminals select with shift
    roots: tuple[str, ...] = actions.ROOTS
    TITLE = "fleet"
    DEFAULT_MODE = "dashboard"
    BINDINGS: ClassVar[list[BindingType]] = [("ctrl+c", "say_how_to_quit", "")]

    class Arrived(Message):
        """Results wait to be painted."""

    def __init__(self, settings: Settings, connect: Callable[[], Session], clock: Clock | None = None) -> None:
        self.MODES = {kind: partial(self.make, kind) for kind in self.roots}  # type: ignore[misc]
        super().__init__()
        self.settings = settings
        self.clock = clock or SystemClock()
        self.keymap: dict[str, str] = dict(settings.keys)
        self.glyphs = glyphs.ASCII if settings.ascii else glyphs.choose(os.environ, getattr(sys.__stderr__, "encoding", None))
        themes.register(self)  # type: ignore[arg-type]
        wanted = settings.theme or themes.pick_theme(os.environ)
        themes.begin(self, wanted if wanted in self.available_themes else themes.pick_theme({}))  # type: ignore[arg-type]
        self.animation_level = "none"
        self.session: Session | None = None
        self.record: SessionRecord | None = None
        self.link_error: FleetError | None = None
        self.lost_at: datetime | None = None
        self.trail = Trail()
        self.errands = Errands(self._wake)
        self.turns = Turns(self, self._give)
        self.pulse = Pulse(self)
        self._places: dict[tuple[str, str], FleetScreen] = {}
        self._link = Link(connect, self)
        self._drained_at = 0.0
        self.drain_waits = False

    @property
    def site(self) -> str:
        return self.record.site if self.record else "fleet"

    @property
    def exports(self) -> Path:
        return self.settings.directories.exports

    def on_mount(self) -> None:
        safety.install(self, ascii_only=self.glyphs is glyphs.ASCII)  # type: ignore[arg-type]
        self.set_keymap(self.keymap)
        for clash in actions.clashes(self.keymap) if self.keymap else ():
            self.notify(clash, severity="warning", markup=False, timeout=15)
        self.set_interval(60.0, self._minute)
        self._link.start()

    def on_unmount(self) -> None:
        self._link.end()

    def copy_to_clipboard(self, text: str) -> None:
        """Through OSC 52, cleaned: what is pasted into a shell must not be more than what was seen. Inputs copy through here too."""
        super().copy_to_clipboard("\n".join(clean(line, _LONGEST_COPY) for line in text.splitlines()))

    # Waiting and painting

    def ask(self, work: Callable[[Session], Any], then: Callable[[Any], None], failed: Callable[[FleetError], None], group: str = "") -> None:
        """Have ``work`` done on a thread with the session there is; the answer is painted by the next drain."""
        session = self.session
        if session is not None:
            self.errands.run(lambda: work(session), then, failed, group)
        elif self.link_error is not None:
            failed(self.link_error)

    def bring(self, paint: Callable[[], None]) -> None:
        """From any thread: have ``paint`` called by the next drain."""
        self.errands.bring(paint)

    def _wake(self) -> None:
        self.post_message(self.Arrived())

    def on_fleet_app_arrived(self) -> None:
        if self.drain_waits:
            return
        left = self._drained_at + DRAIN_S - self.clock.monotonic()
        if left > 0:
            self.drain_waits = True
            once(self, left, self._drain)
        else:
            self._drain()

    def _drain(self) -> None:
        self.drain_waits = False
        self._drained_at = self.clock.monotonic()
        with self.batch_update():
            self.errands.drain()
        self._hurry(always=True)

    def _end_batch(self) -> None:
        """Besides the framework's own, which tells the application alone: a screen with something to paint may have been held back."""
        super()._end_batch()
        if not self._batch_count and self.screen_stack:
            self.screen_stack[-1].check_idle()

    def _hurry(self, always: bool = False) -> None:
        screen = next(reversed(self.screen_stack), None)  # there is none while the console ends
        if isinstance(screen, AtOnce):
            screen.hurry(always)

    # The link; these three are called from its thread

    def link_up(self, session: Session, record: SessionRecord) -> None:
        self.bring(lambda: self._up(session, record))

    def link_lost(self, error: FleetError, next_try_s: float) -> None:
        self.bring(lambda: self._lost(error))

    def fleet_changed(self, changed: FleetChanged) -> None:
        self.bring(lambda: self._changed(changed))

    def _up(self, session: Session, record: SessionRecord) -> None:
        self.session, self.record = session, record
        self._drained_at = 0.0  # the first answer is what everybody waits for: paint it when it comes
        was_lost, self.link_error, self.lost_at = self.link_error is not None, None, None
        if was_lost:
            self.notify("the daemon answers again", markup=False, timeout=4)
        self.pulse.ask()
        for screen in self._fleet_screens():
            screen.set_class(False, "-stale")
            screen.link_restored()
            screen.chrome()

    def _lost(self, error: FleetError) -> None:
        if self.link_error is None:
            self.lost_at = self.clock.now()
        self.link_error, self.session = error, None
        for screen in self._fleet_screens():
            screen.set_class(True, "-stale")
            screen.chrome()

    def _changed(self, changed: FleetChanged) -> None:
        if changed.refs:
            self.pulse.ask(soon=False)
        for screen in self._fleet_screens():
            screen.hear(changed)

    def pulse_changed(self, summary: Summary) -> None:
        for screen in self._fleet_screens():
            if self.is_shown(screen):
                self.paint_header(screen.query_one(Header))
                if hasattr(screen, "have_summary"):
                    screen.have_summary(summary)

    def try_link_now(self) -> None:
        self._link.try_now()

    def _minute(self) -> None:
        for screen in self._fleet_screens():
            if self.is_shown(screen):
                screen.minute()
                if self.link_error is not None:
                    screen.chrome()

    # Screens

    def make(self, kind: str) -> FleetScreen:
        """A screen of that kind, imported now if never before.

        It gets its styles when it is mounted; without the note that it has them, the framework would style every widget of
        it a second time.
        """
        made: FleetScreen = getattr(importlib.import_module(f"fleet_tui.screens.{kind}"), PLACES[kind])()
        made._css_update_count = self._css_update_count
        if not self.styles.has_rule("color"):
            self.stylesheet.apply(self)  # what is painted first inherits from here
        return made

    def _fleet_screens(self) -> list[FleetScreen]:
        """Every screen there is but the dialogs, whether on a stack or put away."""
        from fleet_tui.screens.frame import FleetScreen

        stacked = [s for stack in self._screen_stacks.values() for s in stack if isinstance(s, FleetScreen)]
        return [s for s in dict.fromkeys([*stacked, *self._places.values()]) if s.is_mounted]

    @property
    def has_board(self) -> bool:
        """Whether the dashboard is what is shown, so that its rows are worth fetching."""
        shown = next((s for s in reversed(self.screen_stack) if hasattr(s, "hear")), None)
        return hasattr(shown, "have_summary")

    def is_shown(self, screen: Screen[Any]) -> bool:
        """Whether it is what the person sees, a dialog over it or not."""
        shown = next((s for s in reversed(self.screen_stack) if hasattr(s, "hear")), None)
        return screen is shown

    def go(self, mode: str, filter_text: str = "") -> None:
        """Go to a root screen as it was left; there already, or to look for something, to its list."""
        was_here = mode == self.current_mode
        if not was_here:
            self.switch_mode(mode)
        if was_here or filter_text:
            while len(self.screen_stack) > 1:
                self.pop_screen()
        if filter_text:
            self.call_later(lambda: getattr(self.screen, "filtered", lambda *_: None)(filter_text, True))

    def open(self, kind: str, ref: str, **options: Any) -> None:
        """Show one thing. Its screen is made once for each mode and reused, for a new one each time would never be freed."""
        place = (self.current_mode, kind)
        screen = self._places.get(place)
        if screen is not None and screen.ref != ref and screen.holds_edits:
            screen.ask_to_leave(lambda: self.open(kind, ref, **options))
            return
        if screen is None:
            screen = self._places[place] = self.make(kind)
            self.install_screen(screen, "/".join(place))
        screen.aim(ref, **options)
        while screen in self.screen_stack[:-1]:
            self.pop_screen()
        if self.screen is screen:
            self.call_later(screen.on_screen_resume)
        else:
            self.push_screen(screen)

    def allows(self, action_id: str) -> bool:
        """Whether this program does that at all; a pane only looks."""
        return True

    def visited(self, screen: FleetScreen) -> None:
        self.trail.visit(Place(self.current_mode, screen.KIND, screen.ref))

    def travel(self, by: int) -> None:
        """Through the history of views."""
        place = self.trail.step(by)
        if place is None:
            self.notify("no view there", markup=False, timeout=2)
            return
        if place.mode != self.current_mode:
            self.switch_mode(place.mode)
        if place.kind == place.mode:
            self.go(place.mode)
        else:
            self.open(place.kind, place.ref)

    def back(self) -> bool:
        """Out of this screen. False at the root: a key too many must not end the program."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
            return True
        return False

    def leave(self) -> None:
        """End the console, unless a form holds edits that would be lost. What runs in the daemon goes on."""
        holding = next((s for s in self._fleet_screens() if s.holds_edits), None)
        if holding is None:
            self.exit(0)
        else:
            holding.ask_to_leave(lambda: self.exit(0))

    def _fatal_error(self) -> None:
        """A fault of the console's own: said in a sentence. The framework would print every local variable, keys and passwords too."""
        from fleet_tui import crash

        error = sys.exc_info()[1] or self._exception
        if error is not None:
            report = crash.report(error, self.settings.directories.crashes)
            said = crash.words(error, report, "the console", "What runs in the daemon goes on. Start it again")
            self._exit_renderables.append(Segments([Segment(f"fleet: {said}")]))
        self._close_messages_no_wait()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self.turns.take(event)
        else:
            await super().on_event(event)

    async def _give(self, event: events.Event) -> None:
        self._hurry()
        await super().on_event(event)

    def action_say_how_to_quit(self) -> None:
        self.notify("q goes back, and leaves at the root", markup=False, timeout=3)

    # Chrome

    def paint_header(self, header: Header) -> None:
        lost = (self.clock.now() - self.lost_at).total_seconds() if self.lost_at and self.pulse.summary else 0.0
        stale = span(lost) if lost >= STALE_S else ""
        paint_header(header, self.glyphs, self.record, self.pulse.summary, self._linked, stale)

    @property
    def _linked(self) -> bool | None:
        """None while the first connection is being made."""
        return True if self.session is not None else None if self.link_error is None else False

    def paint_banner(self, banner: Banner, refusal: str) -> None:
        """``refusal`` is said when the link itself is well."""
        paint_banner(banner, self.link_error, self.lost_at, self.clock.now(), self.pulse.summary is not None, refusal)

    def next_theme(self) -> None:
        names = [theme.name for theme in themes.THEMES] + ["ansi-dark", "ansi-light"]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        self.notify(f"theme {self.theme}", markup=False, timeout=2)

    def make_read_only(self) -> None:
        def done(record: SessionRecord) -> None:
            self.record = record
            self.notify("this session is read-only now", markup=False)
            for screen in self._fleet_screens():
                screen.chrome()

        self.ask(lambda session: session.make_read_only(), done, lambda error: self.notify(error.message, markup=False))


def run(settings: Settings, connect: Callable[[], Session], pane: tuple[str, ...] | None = None) -> int:
    """Show the console, or one pane of it, until the person leaves.

    Args:
        settings: how it looks and which keys it has.
        connect: opens a session; blocks, and may start the daemon. Called again whenever the link was lost.
        pane: ``("dashboard",)``, ``("logs", "web-20")``: that panel alone, read-only.
    """
    app = FleetApp(settings, connect) if pane is None else pane_app(settings, connect, pane)
    app.run(mouse=pane is None)
    return app.return_code or 0


def pane_app(settings: Settings, connect: Callable[[], Session], pane: tuple[str, ...], clock: Clock | None = None) -> FleetApp:
    """The console reduced to one panel. Raises `UsageError` for a panel that there is not."""
    from fleet_tui.screens.pane import OnlyLooks, checked, read_only

    kind, name = checked(pane)

    class PaneApp(OnlyLooks, FleetApp):
        roots = (kind,)
        DEFAULT_MODE = kind
        CSS_PATH = stylesheets(*filter(None, [PARTS_OF_PANE.get(kind)]))  # type: ignore[assignment]
        pane = (kind, name)

    return PaneApp(settings, lambda: read_only(connect()), clock)

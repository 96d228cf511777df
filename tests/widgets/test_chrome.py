"""The lines around a screen, the bars and the prompt."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from textual.app import App, ComposeResult

from fleet_tui.widgets import safety
from fleet_tui.widgets.charts import Capacity, CapacityBars, meter, percent
from fleet_tui.widgets.chrome import Banner, Crumbs, Footer, Header, spread
from fleet_tui.widgets.glyphs import ASCII
from fleet_tui.widgets.prompt import Prompt

LEFT = [("paris", ""), ("✗ 1 failed", "failed"), ("! 3 alerts", "attention"), ("▲ 2 running", "moving")]
RIGHT = [("op1 operator", ""), ("link ok", "well")]


class ChromeApp(App[None]):
    CSS_PATH = [pathlib.Path(__file__).parents[2] / "styles" / name for name in ("tokens.tcss", "chrome.tcss")]

    def __init__(self) -> None:
        super().__init__()
        safety.install(self)
        self.said: list[tuple[str, str, str]] = []

    def compose(self) -> ComposeResult:
        yield Header()
        yield Crumbs()
        yield Banner()
        yield CapacityBars()
        yield Prompt(lambda text: [word for word in ("hosts", "host add", "instances") if word.startswith(text)])
        yield Footer()

    def on_prompt_submitted(self, message: Prompt.Submitted) -> None:
        self.said.append(("submitted", message.mode, message.text))

    def on_prompt_changed(self, message: Prompt.Changed) -> None:
        self.said.append(("changed", message.mode, message.text))

    def on_prompt_cancelled(self, message: Prompt.Cancelled) -> None:
        self.said.append(("cancelled", message.mode, message.text))


@pytest.fixture
async def app() -> Any:
    made = ChromeApp()
    async with made.run_test(size=(80, 24)) as pilot:
        made.pilot = pilot  # type: ignore[attr-defined]
        yield made


def line(app: Any, kind: type) -> str:
    return app.query_one(kind).render_line(0).text


async def test_a_header_drops_the_least_important_first(app: Any) -> None:
    header = app.query_one(Header)
    seen = []
    for width in (120, 80, 60, 40, 20, 8):
        await app.pilot.resize_terminal(width, 24)
        while header.size.width != width:
            await app.pilot.pause()
        header.update(LEFT, RIGHT, read_only=True)
        text = line(app, Header)
        assert len(text) == width
        seen.append(
            [word for word in ("paris", "READ-ONLY", "failed", "alerts", "running", "op1", "link ok") if word in text]
        )
    assert seen == [
        ["paris", "READ-ONLY", "failed", "alerts", "running", "op1", "link ok"],
        ["paris", "READ-ONLY", "failed", "alerts", "running", "op1", "link ok"],
        ["paris", "READ-ONLY", "failed", "alerts", "running"],
        ["paris", "READ-ONLY", "failed", "alerts"],
        ["paris", "READ-ONLY"],
        ["paris"],
    ]


@pytest.mark.parametrize("width", range(30, 100))
def test_both_ends_of_a_line_stay_apart(width: int) -> None:
    left = [("siege", ""), (" SIMULATED ", ""), ("1 failed", ""), ("1 to look at", ""), ("1 running", "")]
    pieces = spread(left, [("root root-admin", ""), ("link ok", "")], width, "…")
    line = "".join(text for text, _ in pieces)
    assert len(line.rstrip()) <= width
    assert " root" in line or "root" not in line


def test_what_narrows_the_view_is_seen_beside_a_long_path() -> None:
    crumbs = Crumbs(id="line")
    crumbs.parts, crumbs.chips = ("paris", "hosts", "zone-a", "pod-a1", "k" * 90), (("/kvm-01", "moving"),)
    line = "".join(text for text, _ in crumbs.arranged(80))
    assert "/kvm-01" in line and len(line) <= 80


async def test_a_header_shows_the_age_only_when_told(app: Any) -> None:
    app.query_one(Header).update(LEFT, stale="20s", simulated=True)
    assert "! stale 20s" in line(app, Header) and "SIMULATED" in line(app, Header)
    app.query_one(Header).update(LEFT)
    assert "stale" not in line(app, Header)


async def test_showing_the_same_again_repaints_nothing(app: Any) -> None:
    header, footer, asked = app.query_one(Header), app.query_one(Footer), []
    header.update(LEFT, RIGHT)
    footer.update([("enter", "open")])
    header.refresh = footer.refresh = lambda *regions, **options: asked.append(regions)
    header.update(LEFT, RIGHT)
    footer.update([("enter", "open")])
    assert asked == []
    footer.update([("enter", "close")])
    assert len(asked) == 1


async def test_crumbs_keep_both_ends(app: Any) -> None:
    crumbs = app.query_one(Crumbs)
    crumbs.update(["paris", "instances", "web-20"], [("/web !x", "moving")])
    assert line(app, Crumbs).rstrip() == " paris › instances › web-20   /web !x"
    await app.pilot.resize_terminal(30, 24)
    crumbs.update(["paris", "hosts", "kvm-17", "maintenance", "db-7"])
    assert line(app, Crumbs).rstrip() == " paris › … › db-7"


async def test_a_footer_leaves_out_whole_keys(app: Any) -> None:
    await app.pilot.resize_terminal(30, 24)
    app.query_one(Footer).update([("enter", "open"), ("/", "filter"), ("n", "new instance"), ("?", "keys")])
    assert line(app, Footer).rstrip() == " enter open   / filter"


async def test_a_banner_hides_when_there_is_nothing_to_say(app: Any) -> None:
    banner = app.query_one(Banner)
    assert not banner.display
    banner.update("link lost, trying again in 4 s")
    await app.pilot.pause()
    assert banner.display and line(app, Banner).startswith(" ✗ link lost")
    banner.update("")
    assert not banner.display


async def test_a_banner_drops_its_last_clauses_and_keeps_what_to_press(app: Any) -> None:
    banner = app.query_one(Banner)
    banner.update("no link since 14:02 UTC (3m) · ctrl+r tries now · shown as of then · the daemon does not answer at all")
    await app.pilot.pause()
    assert line(app, Banner).rstrip() == " ✗ no link since 14:02 UTC (3m) · ctrl+r tries now · shown as of then"


@pytest.mark.parametrize("spans", [[("x" * 90, "")], [("x" * 80, ""), ("more", "")], [("x" * 60, ""), ("y" * 30, "")]])
async def test_what_does_not_fit_ends_in_an_ellipsis(app: Any, spans: list[tuple[str, str]]) -> None:
    header = app.query_one(Header)
    painted = header.strip(spans, 80)
    assert painted.cell_length == 80 and painted.text.endswith("…")
    assert not header.strip([("x" * 80, ""), ("   ", "")], 80).text.endswith("…"), "blanks are no loss"


async def test_capacity_bars_line_up(app: Any) -> None:
    bars = app.query_one(CapacityBars)
    bars.update([Capacity("cpu", 0.61, 0.09, "yes"), Capacity("ram", 0.78, 0.04, "no !", "failed")])
    await app.pilot.pause()
    heading, cpu, ram = (bars.render_line(y).text for y in range(3))
    for word, number in (("used", "61 %"), ("resv", " 9 %"), ("free", "30 %")):
        assert heading.index(word) + len(word) == cpu.index(number) + len(number)
    assert "no !" in ram


def test_meters_say_the_number() -> None:
    assert meter(0.58, 16) == ("██████░░░░  58 %", "well")
    assert meter(0.95, 16, ASCII) == ("#########.  95 %", "failed")
    assert meter(None) == ("-", "muted")
    assert meter(0.5, 5)[0] == " 50 %"
    assert (percent(0.999), percent(1.0), percent(0.001)) == (" 99 %", "100 %", "  1 %")


async def test_a_prompt_tells_every_change_and_submits(app: Any) -> None:
    prompt = app.query_one(Prompt)
    prompt.open("/")
    await app.pilot.press("w", "e", "enter")
    assert app.said == [("changed", "/", "w"), ("changed", "/", "we"), ("submitted", "/", "we")]
    assert not prompt.is_open


async def test_a_prompt_completes(app: Any) -> None:
    prompt = app.query_one(Prompt)
    prompt.open(":")
    await app.pilot.press("h", "o", "tab")
    assert prompt.text == "hosts"
    await app.pilot.press("tab")
    assert prompt.text == "host add"
    await app.pilot.press("tab", "shift+tab", "enter")
    assert app.said[-1] == ("submitted", ":", "host add")


async def test_a_prompt_recalls_by_mode(app: Any) -> None:
    prompt = app.query_one(Prompt)
    for mode, word in ((":", "a"), ("/", "b"), (":", "c")):
        prompt.open(mode)
        await app.pilot.press(word, "enter")
    prompt.open(":")
    await app.pilot.press("up")
    assert prompt.text == "c"
    await app.pilot.press("up", "up")
    assert prompt.text == "a"
    await app.pilot.press("down", "down")
    assert prompt.text == ""


async def test_cancelling_gives_back_what_it_was_opened_with(app: Any) -> None:
    app.query_one(Prompt).open("/", "web")
    await app.pilot.press("x", "escape")
    assert app.said[-1] == ("cancelled", "/", "web")


async def test_what_is_pasted_is_cleaned_and_one_line(app: Any) -> None:
    from textual.events import Paste

    prompt = app.query_one(Prompt)
    prompt.open("/")
    await app.pilot.pause()
    app.post_message(Paste("a\x1b[2Jb\nc"))
    await app.pilot.pause()
    assert prompt.text == "a·[2Jb"


async def test_the_prompt_does_not_blink(app: Any) -> None:
    prompt = app.query_one(Prompt)
    prompt.open("/")
    assert prompt._field.cursor_blink is False

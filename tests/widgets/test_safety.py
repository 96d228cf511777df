"""Cleaning, glyphs, themes: the small parts under the widgets."""

from __future__ import annotations

import sys

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color

from fleet_tui.backend.text import is_clean
from fleet_tui.widgets import safety, themes
from fleet_tui.widgets.glyphs import ASCII, STATUS_STYLE, UNICODE, age, bar, choose
from fleet_tui.widgets.paint import differing_cells, fit, titled_rule, width_of
from tests.terminal.hostile import PAYLOADS

BLACK = Color(0, 0, 0)


def passed(text: str, ascii_only: bool = False) -> str:
    return "".join(s.text for s in safety.SafeFilter(ascii_only).apply([Segment(text)], BLACK))


def test_every_unsafe_character_is_caught_by_the_quick_look() -> None:
    """`str.isprintable` decides which segments are looked at closely; it may pass nothing that is unsafe."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        assert not character.isprintable() or is_clean(character), hex(code)


@pytest.mark.parametrize("name", PAYLOADS)
def test_no_payload_passes(name: str) -> None:
    for text in (passed(PAYLOADS[name]), safety.plain(PAYLOADS[name]), safety.safe(PAYLOADS[name]).plain):
        assert is_clean(text)
    assert passed(PAYLOADS[name], ascii_only=True).isascii()


def test_harmless_segments_are_passed_on_as_they_are() -> None:
    segments = [Segment("● web-20"), Segment("漢字", Style(bold=True))]
    assert safety.SafeFilter().apply(segments, BLACK) is segments


def test_links_and_controls_are_dropped() -> None:
    segments = [Segment("x", Style(link="http://evil.example")), Segment("\x1b[2J", None, [(1,)])]  # type: ignore[list-item]
    (kept,) = safety.SafeFilter().apply(segments, BLACK)
    assert kept.text == "x" and kept.style is not None and kept.style.link is None


def test_cleaning_keeps_the_width() -> None:
    text = "a\tb\x1b\x00c"
    assert width_of(passed(text)) == len(text)
    assert width_of(passed("●漢─x", ascii_only=True)) == width_of("●漢─x")


def test_markup_is_only_text() -> None:
    assert safety.safe("[/nope][@click=app.quit]x").plain == "[/nope][@click=app.quit]x"


def test_glyphs_by_terminal_and_locale() -> None:
    assert choose({"LANG": "de_DE.UTF-8"}) is UNICODE
    assert choose({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}) is ASCII
    assert choose({}) is ASCII
    assert choose({"LANG": "C"}, "utf-8") is UNICODE
    assert choose({"LANG": "x.UTF-8", "TERM": "linux"}) is ASCII
    assert choose({"FLEET_GLYPHS": "unicode", "TERM": "dumb"}) is UNICODE


def test_each_glyph_is_one_cell() -> None:
    for glyphs in (UNICODE, ASCII):
        for name in glyphs.__slots__:
            assert width_of(getattr(glyphs, name)) == (0 if (name, glyphs) == ("half", ASCII) else 1)
    assert all(getattr(ASCII, name).isascii() for name in ASCII.__slots__)
    assert {UNICODE.status(status) for status in STATUS_STYLE} == set("●▲!✗◌■")


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_bars_are_exact_and_honest_at_the_ends(glyphs: object) -> None:
    for hundredth in range(-10, 120):
        assert width_of(bar(hundredth / 100, 10, glyphs)) == 10  # type: ignore[arg-type]
    assert bar(0.001, 10) == "▌░░░░░░░░░" and bar(0.999, 10) == "█████████▌"
    assert bar(0, 4) == "░░░░" and bar(1, 4) == "████" and bar(float("nan"), 4) == "░░░░"


def test_ages() -> None:
    assert [age(s) for s in (0, 41, 180, 7300, 86400 * 6, 86400 * 1000)] == ["now", "41s", "3m", "2h", "6d", "2y"]


def test_text_is_fitted_to_cells() -> None:
    assert fit("漢字漢字", 5) == "漢字…"
    assert fit("ab", 4, "right") == "  ab"
    assert width_of(fit("x" * 1_000_000, 7)) == 7
    for text in PAYLOADS.values():
        for width in range(12):
            assert width_of(fit(text, width)) == width


def test_a_rule_with_words_fits() -> None:
    for width in range(12, 90):
        assert width_of(titled_rule(["agent log", "warn+"], ["following"], width)) == width
    assert titled_rule(["log · " + "a long name " * 6, "/disk"], ["following"], 60).startswith("─ log · a long")
    assert "· /disk ─" in titled_rule(["log · " + "a long name " * 6, "/disk"], ["following"], 60), "what the log was asked for is not cut off by its name"


def test_the_differing_cells_of_two_lines() -> None:
    from textual.strip import Strip

    bold = Style(bold=True)

    def line(text: str, style: Style | None = None) -> Strip:
        return Strip([Segment("● ", bold), Segment(text, style), Segment(" end")])

    assert differing_cells(line("12 %"), line("12 %")) == (0, 0)
    assert differing_cells(line("12 %"), line("17 %")) == (3, 4)
    assert differing_cells(line("12 %"), line("12 %", bold)) == (2, 6)


def test_themes() -> None:
    assert themes.pick_theme({"TERM": "xterm-256color"}) == "fleet-dark"
    assert themes.pick_theme({"TERM": "xterm", "COLORTERM": "truecolor"}) == "fleet-dark"
    assert themes.pick_theme({"TERM": "xterm-256color", "NO_COLOR": ""}) == "ansi-dark"
    assert themes.pick_theme({"TERM": "xterm"}) == "ansi-dark"
    app: App[None] = App()
    themes.register(app)  # type: ignore[arg-type]
    for theme in themes.THEMES:
        app.theme = theme.name
        app.get_css_variables()


@pytest.mark.parametrize("theme", themes.THEMES, ids=lambda theme: theme.name)
def test_every_text_colour_is_readable(theme: themes.Theme) -> None:
    """Contrast of at least 4.5 with the background, 3 for what is disabled (WCAG AA)."""
    background = Color.parse(theme.background)  # type: ignore[arg-type]
    for name, value in theme.variables.items():
        if name.startswith("text"):
            least = 3.0 if name == "text-disabled" else 4.5
            assert contrast(Color.parse(value), background) >= least, name


def contrast(one: Color, other: Color) -> float:
    def luminance(color: Color) -> float:
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)

"""Three calm themes. Colour is kept for what a person should look at; the rest is text on a background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual.filter import Monochrome, NoColor
from textual.theme import Theme

if TYPE_CHECKING:
    from textual.app import App

DARK = Theme(
    name="fleet-dark",
    primary="#7aa2c8",
    secondary="#8a94a6",
    accent="#7aa2c8",
    warning="#e0a84f",
    error="#f0736a",
    success="#7fb685",
    foreground="#c8ccd4",
    background="#14171c",
    surface="#191d24",
    panel="#20252e",
    dark=True,
    variables={
        "text": "#c8ccd4",
        "text-muted": "#8791a0",
        "text-disabled": "#626b78",
        "text-primary": "#8fb4d8",
        "text-warning": "#e0a84f",
        "text-error": "#f0736a",
        "text-success": "#7fb685",
        "text-accent": "#8fb4d8",
        "border": "#39414e",
    },
)

LIGHT = Theme(
    name="fleet-light",
    primary="#2f5f8f",
    secondary="#5b6472",
    accent="#2f5f8f",
    warning="#8a5a00",
    error="#b3261e",
    success="#2d6a36",
    foreground="#23272e",
    background="#fbfbf9",
    surface="#f3f3f0",
    panel="#e9e9e5",
    dark=False,
    variables={
        "text": "#23272e",
        "text-muted": "#5f6773",
        "text-disabled": "#8b929c",
        "text-primary": "#2f5f8f",
        "text-warning": "#8a5a00",
        "text-error": "#b3261e",
        "text-success": "#2d6a36",
        "text-accent": "#2f5f8f",
        "border": "#c3c6c9",
    },
)

CONTRAST = Theme(
    name="fleet-contrast",
    primary="#66ccff",
    secondary="#ffffff",
    accent="#66ccff",
    warning="#ffd000",
    error="#ff7070",
    success="#5dff8f",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1c1c1c",
    dark=True,
    variables={
        "text": "#ffffff",
        "text-muted": "#d0d0d0",
        "text-disabled": "#a8a8a8",
        "text-primary": "#66ccff",
        "text-warning": "#ffd000",
        "text-error": "#ff7070",
        "text-success": "#5dff8f",
        "text-accent": "#66ccff",
        "border": "#ffffff",
    },
)

THEMES = (DARK, LIGHT, CONTRAST)

_DEEP_COLOUR = ("256color", "truecolor", "24bit", "direct", "kitty", "alacritty", "ghostty", "wezterm", "foot")


def register(app: App[object]) -> None:
    """Make the three themes choosable by name, and keep ``NO_COLOR`` colourless whichever is chosen.

    Textual picks its filter for ``NO_COLOR`` by the theme it starts with, and the one for ordinary themes
    only turns colours into greys.
    """
    for theme in THEMES:
        app.register_theme(theme)
    app._filters[:] = [NoColor() if isinstance(f, Monochrome) else f for f in app._filters]


def begin(app: App[object], name: str) -> None:
    """Start in a theme. Setting it the ordinary way would have every stylesheet read, and every widget styled, a second time."""
    app.set_reactive(type(app).theme, name)
    theme = app.current_theme
    for style_class, is_set in ((f"-theme-{name}", True), ("-dark-mode", theme.dark), ("-light-mode", not theme.dark)):
        app.set_class(is_set, style_class, update=False)
    app._refresh_truecolor_filter(app.ansi_theme)
    app.stylesheet.set_variables(app.get_css_variables())


def pick_theme(environ: Mapping[str, str]) -> str:
    """The theme to start with when the settings name none.

    ``NO_COLOR`` is only colourless with a theme made of the terminal's own palette, and a terminal of 16
    colours would get guesses at ours; both get ``ansi-dark``, which also suits a light background, as it
    prints in the terminal's own foreground.
    """
    if wish := environ.get("TEXTUAL_THEME"):
        return wish
    if "NO_COLOR" in environ:
        return "ansi-dark"
    depth = f"{environ.get('COLORTERM', '')} {environ.get('TERM', '')}".lower()
    return "fleet-dark" if any(word in depth for word in _DEEP_COLOUR) else "ansi-dark"

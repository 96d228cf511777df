"""Which stylesheets there are, and who needs which."""

from __future__ import annotations

from pathlib import Path

from fleet_tui.settings import styles_directory

PARTS = ("dashboard", "work", "forms", "dialogs", "hosts", "vlans", "maintenance", "profiles", "cloud")
"""Stylesheets of the screens. A later one counts for more."""
PARTS_OF_PANE = {"dashboard": "dashboard", "hosts": "hosts", "maintenance": "maintenance", "vlans": "vlans"}
"""What a pane needs of them; reading all would take longer than painting it."""


def stylesheets(*parts: str) -> list[Path]:
    """The stylesheets, beside the package in a source tree and inside it when installed: what every screen has, and of the rest ``parts``."""
    folder = styles_directory()
    return [folder / f"{name}.tcss" for name in ("tokens", "chrome", "frame", *parts) if (folder / f"{name}.tcss").exists()]

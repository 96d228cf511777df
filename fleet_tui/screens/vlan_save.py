"""Saving the map to the person's export directory: only there, readable by nobody else, and over nothing without asking."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from fleet_tui.backend.errors import FleetError, InUse, InvalidInput
from fleet_tui.screens import dialogs
from fleet_tui.widgets.vlan_space import VlanSpace
from fleet_tui.widgets.vlan_text import ENDINGS, FORMS

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SAID = {
    "text": ("Text", "the map as it looks, and who has what"), "csv": ("CSV", "a line for each stretch of like IDs"),
    "json": ("JSON", "the same for programs"),
}  # fmt: skip


def ask(screen: FleetScreen, space: VlanSpace) -> None:
    """Ask in which form, then save the whole network, whatever the filter."""
    items = [dialogs.Item(form, *(_SAID[form][0], "", f"{_SAID[form][1]} · {file_of(screen, space, form).name}")) for form in FORMS]
    dialogs.choose(screen.app, f"Save the map of {space.physical.name} as", items, lambda form: _save(screen, space, form))


def file_of(screen: FleetScreen, space: VlanSpace, form: str) -> Path:
    day = screen.console.clock.now().strftime("%Y-%m-%d")
    name = _UNSAFE.sub("_", f"vlans-{space.physical.zone}-{space.physical.name}-{day}").lstrip(".")
    return screen.console.exports / f"{name}{ENDINGS[form]}"


def _save(screen: FleetScreen, space: VlanSpace, form: str, over: bool = False) -> None:
    path = file_of(screen, space, form)

    def exists(error: FleetError) -> None:
        if error.code != "in_use":
            screen.failed(error)
            return
        question = dialogs.Question(f"Replace {path.name}?", "Replace", [f"there is one in {path.parent} already"])
        dialogs.confirm(screen.app, question, lambda answer: _save(screen, space, form, True) if answer.yes else None)

    screen.ask(lambda _session: write(path, FORMS[form](space), over), lambda _done: screen.say(f"saved to {path}"), exists, "save")


def write(path: Path, text: str, over: bool) -> None:
    """Whole or not at all. Raises `InUse` where there is a file of that name and ``over`` is not set, `InvalidInput` where it cannot be written."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(text)
            if over:
                os.replace(part, path)
            else:
                os.link(part, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
    except FileExistsError:
        raise InUse(f"{path} is there already", hint="it is replaced only when you say so") from None
    except OSError as problem:
        raise InvalidInput(f"{path} cannot be written: {problem.strerror or problem}") from None

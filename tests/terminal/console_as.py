"""The real console as another operating-system user: ``console_as.py UID WORDS...``, started by root.

Everything is imported before the change of user, because that one may not read the folders Python itself lies in.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import fleet_tui.cli
import fleet_tui.screens
import fleet_tui.widgets
from fleet_tui.cli import main


def _import_everything() -> None:
    import encodings.idna  # noqa: F401

    import textual.drivers.linux_driver
    import textual.widgets

    for package in (fleet_tui.screens, fleet_tui.widgets, fleet_tui.cli):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in textual.widgets.__all__:
        getattr(textual.widgets, name)
    importlib.import_module("fleet_tui.app")


if __name__ == "__main__":
    uid = int(sys.argv[1])
    _import_everything()
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    sys.exit(main(sys.argv[2:]))

"""The console on a little fleet, with a fault that a key sets off while a secret is at hand; ``faulty_program.py HOME``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fleet_tui.app import run
from fleet_tui.backend import directories
from fleet_tui.screens.frame import FleetScreen
from fleet_tui.settings import Settings
from tests.fleet_stub import StubSession, instance


def fault(screen: Any) -> None:
    password = "".join(("hunter2", "-is-typed"))
    try:
        {}[password]
    except KeyError as inner:
        raise ValueError(f"cannot use {password}") from inner


if __name__ == "__main__":
    FleetScreen.act_global_help = fault  # type: ignore[method-assign]
    places = directories.find({"FLEET_HOME": str(Path(sys.argv[1]))})
    session = StubSession().add(instance("web-1"))
    sys.exit(run(Settings(directories=places), lambda: session))

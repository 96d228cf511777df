from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.store import Store, sqlite_url
from tests.doors import Door


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    store = Store(sqlite_url(tmp_path / "fleet.db"))
    store.create_all()
    door = Door(store, tmp_path / "run" / "fleetd.sock")
    yield door.open()
    door.close()
    store.close()

"""What most tests of instances' operations begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_tui.backend.instances import ProvisionInstance
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.store import Store
from tests.backend.providers.yard import Yard, opened


@pytest.fixture
def yard(store: Store, tmp_path: Path) -> Iterator[Yard]:
    """A site with one instance, ``web``, that runs."""
    with opened(store, tmp_path) as found:
        found.create("web")
        assert found.run("instance.provision", ProvisionInstance(target="web")).state is OperationState.SUCCEEDED
        yield found

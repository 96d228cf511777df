"""Sites for journeys: one for a whole module, or fresh ones on either back end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backend import postgres
from tests.journeys.site import Site, site


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    """One daemon for the journeys of a module, each with instances of its own."""
    with site(flags=("--timeouts", "stop_s=5,health_interval_s=0.2,health_s=3,action_s=30,start_s=20")) as found:
        yield found


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as found:
        yield found

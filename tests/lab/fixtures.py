"""The lab as a fixture: started once in a session, as new for every test, ended whatever happens.

A test that asks for ``lab`` is slow and belongs to one group, so that one lab runs at a time: ``pytestmark = REAL_HOSTS``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import lab as labs
from tests.lab.commands import LabError
from tests.lab.lab import Lab

REAL_HOSTS = [pytest.mark.slow, pytest.mark.xdist_group("lab")]


@pytest.fixture(scope="session")
def standing_lab() -> Iterator[Lab]:
    """Three hosts for this session."""
    if why := labs.why_not():
        pytest.skip(why)
    try:
        found = labs.start(3)
    except LabError as error:
        pytest.skip(f"the lab of real hosts did not start: {error}")
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def lab(standing_lab: Lab) -> Lab:
    """Three hosts that are on, connected, trust each other, and know no guest."""
    standing_lab.clean()
    return standing_lab

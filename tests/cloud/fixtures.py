"""One moto server for a session of tests; what tests do there they keep apart by the tag of their site."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cloud.moto import moto_server


@pytest.fixture(scope="session")
def moto() -> Iterator[int]:
    """Its port."""
    with moto_server() as port:
        yield port

"""What every test stands on: no terminal settings of the person who runs it, and, where it is demanded, no skips."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from typing import Any

import pytest

from tests.cloud.fixtures import moto  # noqa: F401
from tests.lab.fixtures import lab, standing_lab  # noqa: F401

OURS = ("FLEET_TEST_", "TEXTUAL_SNAPSHOT_")
for name in [name for name in os.environ if name == "NO_COLOR" or name.startswith(("TEXTUAL_", "FLEET_", "FLEETD_"))]:
    if not name.startswith(OURS):
        del os.environ[name]

REQUIRE_ALL = os.environ.get("FLEET_TEST_REQUIRE_ALL") == "1"


def pytest_collection_finish() -> None:
    """What was loaded stays: a seventh of the processor's time went into looking for garbage in it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, None]:
    """With ``FLEET_TEST_REQUIRE_ALL=1`` a skip is a failure that says what is missing."""
    outcome = yield
    report = outcome.get_result()
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped, which FLEET_TEST_REQUIRE_ALL forbids: {reason}"

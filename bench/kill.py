"""``kill -9`` of ``fleetd`` while it works: a short run of the journey that the tests have in full."""

from __future__ import annotations

import subprocess
import sys

from bench.sheet import Goal, Row, skipped
from bench.site import ROOT, Bench

KILLS, LIMIT_S = 8, 100.0
JOURNEY = ROOT / "tests" / "journeys" / "test_kill.py"
PROGRAM = f"""
import sys, pytest
import tests.journeys.test_kill as journey
journey.KILLS = {KILLS}
sys.exit(pytest.main(["-q", "-s", "-n0", "-p", "no:cacheprovider", "tests/journeys/test_kill.py::test_killed_at_any_moment[sqlite]"]))
"""


def measure(bench: Bench) -> list[Row]:
    """0 when the journey finds nothing lost, doubled or left over; what it found is said otherwise."""
    name = f"kill -9 of fleetd at {KILLS} moments: lost, twice, left over"
    if not JOURNEY.exists():
        return [skipped(name, "the tests are not here")]
    try:
        done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return [skipped(name, f"not through within {LIMIT_S:.0f} s", failed=True)]
    lines = done.stdout.splitlines()
    if done.returncode == 0:
        return [Row(name, "", [0.0], goal=Goal(0), note=next((line for line in lines if " kills, " in line), ""))]
    return [skipped(name, next((line for line in lines if line.startswith("E ")), lines[-1] if lines else "no answer"), failed=True)]

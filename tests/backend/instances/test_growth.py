"""Which way a data disk went in the last week."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from fleet_tui.backend.instances.growth import DAYS, Days, grown, noted

START = datetime(2026, 11, 1, 6, 0, tzinfo=timezone.utc)


def test_nothing_is_said_before_there_are_two_days() -> None:
    days = noted([], 100, START)
    assert grown(days, 150) is None and grown([], 150) is None and grown(days, None) is None
    assert noted(days, 999, START + timedelta(hours=17)) is days, "the first of a day stands, and nothing is written for the others"


def test_a_week_is_told_and_what_is_older_forgotten() -> None:
    days: Days = []
    for n in range(20):
        days = noted(days, 1000 + 10 * n, START + timedelta(days=n))
    assert len(days) == DAYS + 1 and grown(days, 1200) == (1200 - 1120, 7)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**45)), max_size=60))
def test_days_stay_in_order_and_few(reports: list[tuple[int, int]]) -> None:
    days: Days = []
    for day, used in sorted(reports):
        days = noted(days, used, START + timedelta(days=day))
        numbers = [entry[0] for entry in days]
        assert numbers == sorted(set(numbers)) and numbers[-1] - numbers[0] <= DAYS
        found = grown(days, used)
        assert found is None or 0 < found[1] <= DAYS

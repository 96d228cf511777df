"""Rows, filter and order, without a screen."""

from __future__ import annotations

from types import SimpleNamespace as Row
from typing import Any

from fleet_tui.widgets.column import Column, fit_columns
from fleet_tui.widgets.row_set import RowSet, Term, parse_filter


def row_set(*rows: tuple[str, Any]) -> RowSet:
    made = RowSet()
    made.columns = (Column("name", "NAME", 10), Column("size", "SIZE", 5, sort=lambda r: r.size))
    made.status_of = lambda r: r.state
    made.matches = lambda r, term: term == f"state:{r.state}"
    made.replace(rows)
    made.settle()
    return made


def some_rows() -> RowSet:
    return row_set(
        ("a", Row(name="web-1", size=3, state="well")),
        ("b", Row(name="db-1", size=None, state="failed")),
        ("c", Row(name="Web-2", size=1, state="attention")),
    )


def shown(rows: RowSet, **changes: Any) -> list[str]:
    for name, value in changes.items():
        setattr(rows, name, value)
    rows.disturb()
    rows.settle()
    return rows.shown


def test_filter_words() -> None:
    assert parse_filter("Web !db state:x !zone:A") == (
        Term("web", False, False),
        Term("db", True, False),
        Term("state:x", False, True),
        Term("zone:A", True, True),
    )


def test_a_word_still_being_typed_hides_nothing() -> None:
    assert parse_filter("! state: !state:") == ()


def test_all_words_must_hold() -> None:
    rows = some_rows()
    assert shown(rows, terms=parse_filter("web")) == ["a", "c"]
    assert shown(rows, terms=parse_filter("!web")) == ["b"]
    assert shown(rows, terms=parse_filter("web !state:well")) == ["c"]
    assert shown(rows, terms=parse_filter("state:failed")) == ["b"]


def test_problems_only() -> None:
    assert shown(some_rows(), problems_only=True) == ["b", "c"]


def test_what_has_no_value_sorts_last_both_ways() -> None:
    rows = some_rows()
    assert shown(rows, sort_column=rows.columns[1]) == ["c", "a", "b"]
    assert shown(rows, sort_reverse=True) == ["a", "c", "b"]


def test_values_that_do_not_compare_sort_as_text() -> None:
    rows = row_set(("a", Row(name="x", size="10", state="")), ("b", Row(name="y", size=2, state="")))
    assert shown(rows, sort_column=rows.columns[1]) == ["a", "b"]


def test_replace_tells_changed_rows_from_moved_ones() -> None:
    rows = some_rows()
    same = list(rows.rows.items())
    assert rows.replace(same) == set()
    assert rows.replace([*same[:2], ("c", Row(name="Web-2", size=9, state="well"))]) == {"c"}
    assert rows.replace(same[::-1]) is None


def test_a_changed_sort_key_moves_the_row_and_another_change_does_not() -> None:
    rows = some_rows()
    shown(rows, sort_column=rows.columns[1])
    rows.update("c", Row(name="renamed", size=1, state="well"))
    assert not rows.is_stale
    rows.update("c", Row(name="renamed", size=7, state="well"))
    assert rows.settle()
    assert rows.shown == ["a", "c", "b"]


def test_a_row_that_changed_before_a_filter_hid_others_still_has_its_place() -> None:
    rows = some_rows()
    shown(rows, sort_column=rows.columns[1])
    rows.update("c", Row(name="Web-2", size=1, state="well"))
    assert shown(rows, terms=parse_filter("web")) == ["c", "a"]


def test_a_changed_row_is_found_by_its_new_text() -> None:
    rows = some_rows()
    assert shown(rows, terms=parse_filter("web-1")) == ["a"]
    rows.update("a", Row(name="mail", size=1, state="well"))
    rows.settle()
    assert rows.shown == []


def test_columns_fill_the_width_and_the_lowest_priority_goes_first() -> None:
    columns = [
        Column("name", "NAME", 10, priority=0),
        Column("a", "A", 10, priority=30),
        Column("b", "B", 10, priority=20),
        Column("c", "C", 10, align="right", priority=40),
        Column("w", "W", 10, wide=True),
    ]
    for width in range(10, 120):
        fitted = fit_columns(columns, width, wide=False)
        assert sum(cells for _, cells in fitted) + 2 * (len(fitted) - 1) == width
        assert fitted[0][0].key == "name"
    assert [c.key for c, _ in fit_columns(columns, 36, wide=False)] == ["name", "a", "c"]
    assert [c.key for c, _ in fit_columns(columns, 60, wide=True)] == ["name", "a", "b", "c", "w"]


def test_spare_width_goes_to_the_flexible_column_then_to_those_that_want_it() -> None:
    columns = [Column("name", "NAME", 8, roomy=12), Column("why", "WHY", 10, flexible=True, roomy=20), Column("age", "AGE", 4, align="right")]

    def cells(width: int) -> list[int]:
        return [cells for _, cells in fit_columns(columns, width, wide=False)]

    assert cells(26) == [8, 10, 4]
    assert cells(36) == [8, 20, 4]
    assert cells(40) == [12, 20, 4]
    assert cells(50) == [12, 30, 4]

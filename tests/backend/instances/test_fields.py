"""The table of fields: every default is acceptable, every wrong value gets one sentence beside its field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_tui.backend.instances.fields import BY_NAME, FIELDS, defaults, parse, problems_of


def test_defaults_are_acceptable_but_for_the_label_a_person_must_give() -> None:
    _, problems = problems_of(defaults())
    assert [problem.field for problem in problems] == ["label"]


def test_all_problems_are_told_at_once() -> None:
    _, problems = problems_of({**defaults(), "label": "-x", "kind": "boat", "data_disk.size_gb": "huge", "nonsense": 1})
    assert {problem.field for problem in problems} == {"label", "kind", "data_disk.size_gb", "nonsense"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label", ""), ("label", "a" * 64), ("label", "x\ny"), ("label", "i-4f2a71kq"),
        ("label", "I-4F2A71KQ"), ("data_disk.size_gb", 9), ("data_disk.size_gb", 65537),
        ("data_disk.size_gb", True), ("data_disk.size_gb", 1.5), ("ssl.sans", ["https://x"]), ("ssl.sans", ["x:80"]),
        ("ssl.sans", ["999.1.1.1"]),
        ("ssl.sans", ["a" * 254]), ("deletion_protection", "perhaps"), ("notes", "x" * 4001),
        ("fleet_tags", ["two words"]), ("auto_snapshot.period_h", 0),
    ],
)
def test_refused(name: str, value: object) -> None:
    assert parse(BY_NAME[name], value)[1]


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("data_disk.size_gb", " 60 ", 60), ("ssl.sans", "a.example.org, 10.0.0.1", ["a.example.org", "10.0.0.1"]), ("ssl.sans", "::1", ["::1"]),
        ("deletion_protection", "yes", True), ("label", "web 20_b", "web 20_b"), ("fleet_tags", "", []),
    ],
)
def test_what_is_typed_becomes_the_fields_own_type(name: str, typed: str, value: object) -> None:
    assert parse(BY_NAME[name], typed) == (value, "")


@given(st.sampled_from(FIELDS), st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text()), st.none(), st.floats()))
def test_anything_at_all_is_either_taken_or_refused_in_words(field: object, value: object) -> None:
    _, complaint = parse(field, value)  # type: ignore[arg-type]
    assert isinstance(complaint, str)

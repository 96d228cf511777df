"""Range texts against a model that keeps sets of numbers: what is read, what is refused, and what an edit adds and removes."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.networks import ranges
from fleet_tui.backend.networks.states import LIMITS, Isolation

NUMBERS = st.one_of(st.integers(-2, 12), st.integers(4088, 4099), st.integers(0, 2**33), st.sampled_from([16_777_214, 16_777_215, 2**32 - 1, 2**32]))
SPACES = st.sampled_from(["", "", "", " ", "  ", "\t"])
WORDS = st.sampled_from(["", "x", "600 700", "1-2-3", "-", "5-", "-5", "1.5", "+3", "0x10", "٣", "[/b]", "\x1b[31m", "1e3", "６", "9" * 30])


@st.composite
def tokens(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["one", "one", "span", "span", "span", "word"]))
    pad = [draw(SPACES) for _ in range(4)]
    if kind == "word":
        return draw(WORDS)
    if kind == "one":
        return f"{pad[0]}{draw(NUMBERS)}{pad[1]}"
    first = draw(NUMBERS)
    last = draw(st.one_of(NUMBERS, st.integers(0, 30).map(lambda more: first + more)))
    return f"{pad[0]}{first}{pad[1]}-{pad[2]}{last}{pad[3]}"


TEXTS = st.lists(tokens(), max_size=8).map(",".join)


def model(text: str, isolation: Isolation) -> tuple[list[tuple[int, int]] | None, str | None]:
    """The intervals of a text, or the first token that is wrong. Written without looking at the real one."""
    low, high = LIMITS[isolation]
    if text.strip() == "":
        return [], None
    spans = []
    for token in text.split(","):
        parts = [part.strip() for part in token.split("-")]
        if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
            return None, token
        ends = [int(part) for part in parts]
        if ends[0] > ends[-1] or not all(low <= end <= high for end in ends):
            return None, token
        spans.append((ends[0], ends[-1]))
    return spans, None


def numbers(spans: ranges.Spans | list[tuple[int, int]]) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


def edges(spans: list[tuple[int, int]]) -> set[int]:
    """Where anything can change: every end, and its neighbours."""
    return {end + d for span in spans for end in span for d in (-1, 0, 1)}


@given(TEXTS, st.sampled_from(Isolation))
def test_a_text_is_read_as_the_model_reads_it_or_refused_with_the_token_and_the_interval(text: str, isolation: Isolation) -> None:
    expected, wrong = model(text, isolation)
    low, high = LIMITS[isolation]
    if expected is None:
        with pytest.raises(InvalidInput) as refused:
            ranges.parse(text, isolation)
        assert f"{isolation.value} IDs go from {low} to {high}" in refused.value.message
        shown = re.sub(r"[^ -~].*", "", wrong.strip())[:20]  # up to what is not shown as it is
        assert shown in refused.value.message
        assert all(problem.field == "ranges" for problem in refused.value.problems)
        assert not re.search("[\x00-\x1f\x7f-\x9f]", refused.value.message), "a token is shown, never obeyed"
        return
    found = ranges.parse(text, isolation)
    assert list(found) == sorted(found) and all(a[1] + 1 < b[0] for a, b in pairwise(found)), "sorted, apart"
    for number in edges(expected) | edges(list(found)):
        assert ranges.holds(found, number) is any(first <= number <= last for first, last in expected)
    assert ranges.parse(ranges.text_of(found), isolation) == found


SETS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda at: (at[0], at[0] + at[1])), max_size=7)


@given(SETS, SETS, st.sampled_from(["set", "add", "remove"]))
def test_edits_and_their_diff_are_those_of_sets(before: list[tuple[int, int]], text: list[tuple[int, int]], how: str) -> None:
    old, new = numbers(before), numbers(text)
    expected = {"set": new, "add": old | new, "remove": old - new}[how]
    after = ranges.changed(ranges.merged(before), ranges.merged(text), how)
    assert numbers(after) == expected and after == ranges.merged(after) and ranges.size(after) == len(expected)
    made = ranges.diff(ranges.merged(before), after)
    assert numbers(ranges.parse(made.added, Isolation.VLAN)) == expected - old and made.added_count == len(expected - old)
    assert numbers(ranges.parse(made.removed, Isolation.VLAN)) == old - expected and made.removed_count == len(old - expected)
    assert made.is_unchanged is (expected == old)
    assert numbers(ranges.common(ranges.merged(before), ranges.merged(text))) == old & new


@pytest.mark.parametrize(("text", "token", "why"), [
    ("600-799,x", "'x'", "neither an ID nor two"),
    ("700-600", "'700-600'", "ends before it begins"),
    ("0", "'0'", "out of bounds"),
    ("4095", "'4095'", "out of bounds"),
    ("1-4095", "'1-4095'", "out of bounds"),
    ("600,,700", "between two commas", "nothing"),
    ("600 700", "'600 700'", "neither an ID nor two"),
])
def test_each_refusal_of_the_table_names_the_token_and_the_interval(text: str, token: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ranges.parse(text, Isolation.VLAN)
    assert token in refused.value.message and why in refused.value.message and "from 1 to 4094" in refused.value.message


def test_all_bad_tokens_are_told_at_once() -> None:
    with pytest.raises(InvalidInput, match="and 2 more") as refused:
        ranges.parse("1,0,5-2,x", Isolation.VLAN)
    assert len(refused.value.problems) == 3


def test_overlapping_and_adjacent_tokens_are_merged_and_shown_so() -> None:
    assert ranges.text_of(ranges.parse(" 700 - 799, 600-699,650,820 ", Isolation.VLAN)) == "600-799,820"


def test_the_isolations_differ_in_what_they_allow() -> None:
    assert ranges.parse("0,4294967295", Isolation.GRE) == ((0, 0), (2**32 - 1, 2**32 - 1))
    assert ranges.parse("16777214", Isolation.VXLAN) == ((16_777_214, 16_777_214),)
    for text, isolation in (("16777215", Isolation.VXLAN), ("0", Isolation.VXLAN), ("4294967296", Isolation.GRE)):
        with pytest.raises(InvalidInput):
            ranges.parse(text, isolation)

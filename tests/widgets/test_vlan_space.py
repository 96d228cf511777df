"""What each ID is, held as stretches: the same as counting every single one, for anything a network may hold."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_tui.backend.networks import DedicationRecord, MapRecord, RangeRecord, TakenRecord
from fleet_tui.backend.networks.states import PROBLEMS, Isolation, OwnerKind, Scope, VlanState
from fleet_tui.widgets.vlan_cells import LETTERS, cell
from fleet_tui.widgets.vlan_space import OF_SCOPE, VlanSpace, matching
from fleet_tui.widgets.vlan_text import as_csv, as_json, as_text
from tests.networks_stub import dedication, guest_net, physical, taken, vxlan

TAKINGS = ("allocated", "specified", "dedicated-allocated", "conflict", "orphan")


@st.composite
def networks(draw: st.DrawFn) -> MapRecord:
    """Ranges that do not overlap, dedications that do not, and takings in and beside them; few IDs, so that edges meet."""
    edges = sorted(draw(st.sets(st.integers(1, 400), min_size=2, max_size=16)))
    ranges = tuple(RangeRecord(a, b - 1, draw(st.sampled_from(list(Scope)))) for a, b in zip(edges[::2], edges[1::2], strict=False))
    cuts = sorted(draw(st.sets(st.integers(1, 400), max_size=8)))
    given_away = tuple(dedication(a, b - 1, f"o{a}") for a, b in zip(cuts[::2], cuts[1::2], strict=False))
    numbers = draw(st.sets(st.integers(1, 400), max_size=60))
    rows = tuple(taken(number, draw(st.sampled_from(TAKINGS))) for number in numbers)
    return MapRecord(physical(ranges=ranges, dedications=given_away), rows)


def one_by_one(record: MapRecord) -> dict[int, VlanState]:
    """The same, ID by ID."""
    states: dict[int, VlanState] = {}
    for span in record.physical.ranges:
        for number in range(span.first, span.last + 1):
            states[number] = OF_SCOPE.get(span.scope, VlanState.FREE)
    for span in record.physical.dedications:
        for number in range(span.first, span.last + 1):
            if number in states:
                states[number] = VlanState.DEDICATED_FREE
    return {**states, **{row.number: row.state for row in record.taken}}


@settings(max_examples=200, deadline=None)
@given(networks(), st.integers(1, 400), st.integers(1, 400))
def test_every_id_is_what_it_is_when_each_is_looked_at(record: MapRecord, one: int, other: int) -> None:
    space, truth = VlanSpace(record), one_by_one(record)
    for number in range(1, 402):
        there = space.at(number)
        assert (there.state if there else None) == truth.get(number)
        assert space.range_at(number) == next((r for r in record.physical.ranges if r.first <= number <= r.last), None)
    assert all(a.last < b.first for a, b in zip(space.stretches, space.stretches[1:], strict=False))
    first, last = sorted((one, other))
    wanted = [truth[number] for number in range(first, last + 1) if number in truth]
    assert space.count(first, last) == {state: wanted.count(state) for state in set(wanted)}
    inside = list(space.between(first, last))
    assert sum(part.count for part in inside) == len(wanted)
    assert all(first <= part.first <= part.last <= last for part in inside)


@settings(max_examples=100, deadline=None)
@given(networks())
def test_counts_are_those_of_all_ids_in_ranges(record: MapRecord) -> None:
    truth = one_by_one(record)
    inside = [truth[number] for span in record.physical.ranges for number in range(span.first, span.last + 1)]
    assert VlanSpace(record).counts == {state: inside.count(state) for state in set(inside)}


@settings(max_examples=100, deadline=None)
@given(networks(), st.integers(0, 401), st.sets(st.integers(1, 400), max_size=5))
def test_problems_are_walked_in_a_circle(record: MapRecord, start: int, drifted: set[int]) -> None:
    space = VlanSpace(record).with_drift(drifted)
    wrong = sorted({row.number for row in record.taken if row.state in PROBLEMS} | drifted)
    assert space.problems == wrong
    if not wrong:
        assert space.next_problem(start) is None and space.previous_problem(start) is None
        return
    assert space.next_problem(start) == next((n for n in wrong if n > start), wrong[0])
    assert space.previous_problem(start) == next((n for n in reversed(wrong) if n < start), wrong[-1])
    seen, at = [], start
    for _ in wrong:
        at = space.next_problem(at) or 0
        seen.append(at)
    assert sorted(seen) == wrong


@settings(max_examples=100, deadline=None)
@given(networks(), st.sampled_from(("state:free", "state:alloc", "!state:free", "scope:guest-pool", "account:shop", "account:o", "net-7", "free !shop")))
def test_a_filter_leaves_just_what_it_wants(record: MapRecord, text: str) -> None:
    whole = VlanSpace(record)
    wanted = matching(text)
    left = whole.narrowed(wanted)
    for number in range(1, 402):
        there = whole.at(number)
        assert (left.at(number) is not None) == (there is not None and wanted(there))


def test_filters_know_owners_networks_scopes_and_states() -> None:
    space = VlanSpace(MapRecord(*_guest()))

    def count(text: str) -> int:
        return sum(one.count for one in space.narrowed(matching(text)).stretches)

    assert count("account:bank") == 10 and count("owner:bank") == 10 and count("bank") == 10
    assert count("project:mail") == 34 and count("account:mail") == 0
    assert count("state:problem") == 2 == sum(one.count for one in space.problems_alone().stretches)
    assert count("scope:guest-pool") == 200 and count("network:shop-front") == 1
    assert count("state:free scope:guest-pool") == 9
    assert count("state:") == count("!") == count("") == 4094


def _guest() -> tuple:  # type: ignore[type-arg]
    row, rows = guest_net()
    return row, tuple(rows)


def test_a_cell_of_many_ids_shows_the_worst_then_how_much_is_taken() -> None:
    space = VlanSpace(MapRecord(*_guest()))
    assert cell(space, 660, 669)[0] == "!" and cell(space, 710, 719)[0] == "o"
    assert cell(space.with_drift([655]), 650, 659)[0] == "~" == cell(space.with_drift([655]), 655, 655)[0]
    assert cell(space, 620, 629)[0] == "#" and cell(space, 880, 889)[0] == "." and cell(space, 850, 859)[0] == "d"
    assert cell(space, 700, 709)[0] == "4" and cell(space, 730, 739)[0] == "9"
    assert cell(space, 100, 109)[0] == "m" and cell(space, 540, 549)[0] == "p" and cell(space, 2000, 2099)[0] == "r"
    nothing = VlanSpace(MapRecord(physical(ranges=()), ()))
    assert cell(nothing, 1, 1) == cell(nothing, 1, 10) == (" ", "")


@settings(max_examples=100, deadline=None)
@given(networks(), st.integers(0, 39))
def test_a_cell_never_says_all_or_nothing_of_what_is_neither(record: MapRecord, at: int) -> None:
    space = VlanSpace(record)
    first, last = max(1, at * 10), at * 10 + 9
    counts, letter = space.count(first, last), cell(space, first, last)[0]
    if set(counts) & PROBLEMS:
        assert letter in "!o"
    elif letter == "#":
        assert VlanState.FREE not in counts and VlanState.DEDICATED_FREE not in counts
    elif letter == ".":
        assert not {VlanState.ALLOCATED, VlanState.SPECIFIED, VlanState.DEDICATED_ALLOCATED} & set(counts)
    assert (letter == " ") is (not counts)


def test_every_state_has_its_own_letter() -> None:
    assert len({*LETTERS.values(), "~"}) == len(VlanState) + 1
    assert set(LETTERS) == set(VlanState)


def test_sixteen_million_ids_are_a_few_stretches() -> None:
    row, rows = vxlan()
    space = VlanSpace(MapRecord(row, tuple(rows)))
    assert len(space.stretches) < 2 * len(rows) + 10
    assert sum(space.counts.values()) == 5000 + 15_777_215
    assert cell(space, 5000, 5999)[0] == "3" and cell(space, 4_000_000, 4_099_999)[0] == "."
    keys = replace(row, isolation=Isolation.GRE, ranges=(RangeRecord(0, 2**32 - 1, Scope.GUEST_POOL),))
    assert VlanSpace(MapRecord(keys, ())).counts == {VlanState.FREE: 2**32}


def test_where_a_person_begins() -> None:
    row, rows = guest_net()
    assert VlanSpace(MapRecord(row, tuple(rows))).start() == 660
    row, rows = guest_net(problems=False)
    assert VlanSpace(MapRecord(row, tuple(rows))).start() == 600
    assert VlanSpace(MapRecord(physical(ranges=(RangeRecord(20, 30, Scope.PUBLIC),)), ())).start() == 20
    assert VlanSpace(MapRecord(physical(ranges=()), ())).start() == 1


def test_saved_maps_hold_everything_and_nothing_that_a_spreadsheet_or_terminal_would_run() -> None:
    row = physical(ranges=(RangeRecord(600, 649, Scope.GUEST_POOL),), dedications=(DedicationRecord("d", 640, 649, OwnerKind.ACCOUNT, "bank", 0),))
    rows = (TakenRecord(601, VlanState.ALLOCATED, "=cmd()", "account \x1b]0;x\x07"), TakenRecord(700, VlanState.CONFLICT, "", ""))
    space = VlanSpace(MapRecord(row, rows)).with_drift([601])
    text, table = as_text(space), as_csv(space)
    assert " 600 .~........ .......... .......... .......... dddddddddd" in text and " 700 !" in text
    assert "\x1b" not in text + table + as_json(space)
    assert "601,601,allocated,guest-pool,'=cmd()," in table and "640,649,dedicated-free,guest-pool,,account bank," in table
    row, rows2 = vxlan()
    large = as_text(VlanSpace(MapRecord(row, tuple(rows2))))
    assert "too large to be drawn" in large and len(large) < 1_000_000 and "2000000" in large

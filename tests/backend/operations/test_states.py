"""The table of moves is what rows obey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_tui.backend.errors import WrongState
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.operations.states import FINAL, MOVES
from fleet_tui.backend.operations.transitions import move

any_state = st.sampled_from(OperationState)


def row(state: OperationState) -> OperationRow:
    return OperationRow(id="o-1", title="work", target="web-1", state=state.value)


@given(any_state, any_state)
def test_a_row_moves_exactly_where_the_table_says(here: OperationState, there: OperationState) -> None:
    operation = row(here)
    if there in MOVES[here]:
        move(operation, there)
        assert operation.state == there.value
    else:
        with pytest.raises(WrongState) as refused:
            move(operation, there)
        assert operation.state == here.value
        assert refused.value.details == {"state": here.value, "allowed": sorted(state.value for state in MOVES[here])}


@given(st.lists(any_state, max_size=40))
def test_whatever_is_tried_an_end_is_the_end(tries: list[OperationState]) -> None:
    operation, ended = row(OperationState.QUEUED), None
    for there in tries:
        try:
            move(operation, there)
        except WrongState:
            continue
        assert ended is None
        ended = there if there in FINAL else None


def test_every_state_can_reach_an_end_and_only_ends_are_final() -> None:
    reaching = set(FINAL)
    for _ in MOVES:
        reaching |= {state for state, moves in MOVES.items() if moves & reaching}
    assert reaching == set(OperationState) == set(MOVES)
    assert {state for state in OperationState if state.is_final} == {state for state, moves in MOVES.items() if not moves}

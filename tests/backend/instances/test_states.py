"""The table of moves is the specification's table."""

from __future__ import annotations

import pytest

from fleet_tui.backend.instances.states import MOVES, InstanceState, refusal

S = InstanceState
ALLOWED = {
    "provision": {S.NEW, S.DEPROVISIONED}, "deprovision": {S.RUNNING, S.STOPPED, S.FAILED}, "reprovision": {S.RUNNING, S.STOPPED, S.FAILED},
    "stop": {S.RUNNING}, "start": {S.STOPPED}, "restart-app": {S.RUNNING}, "replay-actions": {S.RUNNING},
    "renew-certificate": {S.RUNNING}, "grow": {S.RUNNING},
    "snapshot": {S.RUNNING, S.STOPPED, S.DEPROVISIONED}, "retry": {S.FAILED}, "delete": {S.NEW, S.DEPROVISIONED, S.FAILED},
}


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("action", list(MOVES))
def test_each_state_allows_what_the_specification_says(action: str, state: InstanceState) -> None:
    why = refusal(action, state, "startup:certificate", has_machine=False)
    assert (why == "") is (state in ALLOWED[action])
    if why:
        assert state.value in why


def test_only_a_failed_start_up_is_retried() -> None:
    assert refusal("retry", S.FAILED, "resources", True)
    assert not refusal("retry", S.FAILED, "startup:start", True)


def test_a_failed_instance_with_a_machine_is_not_deleted() -> None:
    assert refusal("delete", S.FAILED, "startup:start", True)


def test_nothing_is_allowed_while_it_moves() -> None:
    for state in S:
        if state.is_transitional:
            assert all(refusal(action, state, None, True) for action in MOVES)

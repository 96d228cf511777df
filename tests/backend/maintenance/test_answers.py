"""Maintenance through the door's table: what its methods answer, and what ``T`` does in each state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fleet_tui.backend import maintenance as m
from fleet_tui.backend.api.infrastructure import METHODS
from fleet_tui.backend.api.maintenance_answers import MaintenanceAnswers
from fleet_tui.backend.errors import FleetError, UsageError, WrongState
from fleet_tui.backend.identity import Role
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.maintenance import queries
from fleet_tui.backend.maintenance.drivers import Policy, policy_of
from tests.backend.maintenance.fleet import Fleet
from tests.backend.maintenance.test_coming_back import cancel
from tests.backend.maintenance.test_evacuation import MAINTAIN, Make, ask, submit, until_state

OPERATOR = Caller(user="op", role=Role.OPERATOR, uid=2)


def answer(fleet: Fleet) -> Callable[[str, Any], Any]:
    table = MaintenanceAnswers(fleet.store, fleet.life.drivers).table()
    return lambda name, request: table[f"maintenance.{name}"](OPERATOR, request)


def test_every_method_about_maintenance_is_answered_or_is_an_operation(make_fleet: Make) -> None:
    fleet = make_fleet()
    named = {method.name for method in METHODS if method.request.__module__ == m.__name__}
    assert named == MaintenanceAnswers(fleet.store, fleet.life.drivers).table().keys() | fleet.life.kinds.keys()


def test_a_forecast_tells_where_each_vm_goes_and_what_speaks_against_it(make_fleet: Make) -> None:
    fleet = make_fleet(memory_gib=4)
    fleet.add_vm("a", "h0", gib=2)
    fleet.add_vm("gpu", "h0", has_device=True)
    found = answer(fleet)("forecast", m.ForecastHost("h0", explain=True))
    assert [(move.vm, bool(move.destination)) for move in found.moves] == [("a", True), ("gpu", False)]
    assert [(one.code, one.subject) for one in found.refusals] == [("capacity", "gpu")] and found.refusals[0].hint
    assert found.parallel == 2 and found.estimate_s > 0
    fleet = make_fleet(hosts=2, memory_gib=4)
    fleet.add_vm("a", "h0", gib=2)
    found = answer(fleet)("forecast", m.ForecastHost("h0"))
    assert not found.survives and found.warnings[0].text.endswith("(N+1)")


def test_sessions_are_listed_open_ones_first(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.through(MAINTAIN, ask("h1"))
    cancel(fleet, "h1")
    call = answer(fleet)
    call("close", m.CloseMaintenance("h1"))
    fleet.through(MAINTAIN, ask("h0"))
    assert [record.host for record in call("list", m.ListMaintenance())] == ["h0", "h1"]
    assert [record.host for record in call("list", m.ListMaintenance(is_open=False))] == ["h1"]
    assert call("show", m.ShowMaintenance("h1")).closed_at is not None
    with pytest.raises(FleetError) as refused:
        call("show", m.ShowMaintenance("h2"))
    assert refused.value.code == "not_found"


def test_an_edit_shows_what_became_of_it(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.through(MAINTAIN, ask())
    assert answer(fleet)("edit", m.EditMaintenance("h0", note="tea")).notes[-1].text == "tea"


def test_trying_again_after_the_operation_failed_asks_for_maintenance_again(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    fleet.world.faults.fail("move:copy", "a", times=99)
    fleet.through(MAINTAIN, ask())
    fleet.world.faults.clear()
    record = answer(fleet)("retry", m.RetryMoves("h0", request_id="r-1"))
    assert record.resource_state == "ErrorInMaintenance"
    fleet.run()
    assert fleet.host("h0").resource_state == "Maintenance"
    with pytest.raises(WrongState):
        answer(fleet)("retry", m.RetryMoves("h0"))


def test_trying_again_while_it_prepares_makes_moves_due(make_fleet: Make) -> None:
    fleet = make_fleet(policy=dataclasses.replace(Policy(), retry_s=1e9, watch_s=1.0, silence_s=4.0))
    fleet.add_vm("a", "h0")
    fleet.world.faults.fail("move:copy", "a", times=1)
    submit(fleet)
    until_state(fleet, "a", "retry")
    shown = answer(fleet)("retry", m.RetryMoves("h0")).vms[0]
    assert (shown.state.value, shown.attempt, shown.next_try_at) == ("waiting", 0, None)
    fleet.run()
    assert fleet.host("h0").resource_state == "Maintenance"


def test_what_wants_attention(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.add_vm("a", "h0")
    fleet.world.faults.fail("move:copy", "a", times=99)
    fleet.through(MAINTAIN, ask())
    fleet.through(MAINTAIN, ask("h1", until=(fleet.clock.now() + timedelta(minutes=1)).isoformat()))
    fleet.through(MAINTAIN, ask("h2"))
    fleet.clock.sleep(600)
    with fleet.store.read() as tx:
        found = [(host.name, severity, words.partition(":")[0]) for host, severity, words in queries.wanting_attention(tx, fleet.clock.now())]
    assert found == [("h0", "failed", "maintenance failed"), ("h1", "attention", "ready for maintenance, past its planned end (ada"),
                     ("h2", "maintenance", "ready for maintenance, ada")]


def test_settings_as_text() -> None:
    assert policy_of("") == Policy()
    assert policy_of("retry_s=5,attempts=2,local_storage=migrate,allow_down=true") == Policy(
        retry_s=5.0, attempts=2, local_storage="migrate", allow_down=True
    )
    for wrong in ("speed=3", "attempts=0", "local_storage=maybe", "allow_down=perhaps", "retry_s=nan", "retry_s"):
        with pytest.raises(UsageError):
            policy_of(wrong)

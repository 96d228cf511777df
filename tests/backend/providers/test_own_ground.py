"""A step that waits for an operation of a VM hears that its own is cancelled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.operations import AWAITED, OperationRecord, OperationRequest, OperationState, Submitted
from fleet_tui.backend.operations.catalogue import Step
from fleet_tui.backend.providers.own_ground import USER, Ground
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, kind

RUNNING, CANCELLED, SUCCEEDED = OperationState.RUNNING, OperationState.CANCELLED, OperationState.SUCCEEDED


class Engine:
    """Has one operation, of ``user``. Cancelled it becomes ``ends_as``. Its first look lets the waiting operation be cancelled."""

    def __init__(self, user: str = USER, ends_as: OperationState = CANCELLED) -> None:
        self.user, self.ends_as, self.cancels, self.asked = user, ends_as, 0, ""

    def submit(self, kind_name: str, request: OperationRequest, user: str) -> Submitted:
        self.asked = request.request_id
        now = SystemClock().now()
        self.record = OperationRecord("o-vm", kind_name, "stop", request.target, "vm:v-1", RUNNING, self.user, now, None, None, ())
        return Submitted(self.record)

    def show(self, operation_id: str) -> OperationRecord:
        self.bench.cancel(self.parent)
        return self.record

    def cancel(self, operation_id: str, user: str) -> OperationRecord:
        self.cancels += 1
        self.record = replace(self.record, state=self.ends_as)
        return self.record


def cancelled_while_it_waits(store: Store, engine: Engine) -> OperationRecord:
    ground = Ground(store, None, lambda: engine)  # type: ignore[arg-type]

    def body(ctx: Any) -> None:
        ground.do("vm.stop", OperationRequest(target="v-1"))

    bench = engine.bench = Bench(store, kind(Step("power-off", body), Step("later", lambda ctx: None)))
    engine.parent = bench.submit().id
    bench.claim()
    return bench.run(engine.parent)


@pytest.mark.parametrize("ends_as", [CANCELLED, SUCCEEDED])
def test_what_it_waits_for_is_cancelled_along_and_seen_to_its_end(store: Store, ends_as: OperationState) -> None:
    engine = Engine(ends_as=ends_as)
    record = cancelled_while_it_waits(store, engine)
    assert (record.state, engine.cancels) == (CANCELLED, 1) and engine.asked.startswith(AWAITED)
    assert [step.state.value for step in record.steps] == ["failed" if ends_as is CANCELLED else "done", "skipped"]


def test_a_persons_own_operation_goes_on(store: Store) -> None:
    engine = Engine(user="ada")
    assert cancelled_while_it_waits(store, engine).state is CANCELLED
    assert engine.cancels == 0 and engine.record.state is RUNNING

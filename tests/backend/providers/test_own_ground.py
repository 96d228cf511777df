"""A step that waits for an operation of a VM hears that its own is cancelled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.operations import AWAITED, OperationRecord, OperationRequest, OperationState, Submitted
from fleet_tui.backend.operations.catalogue import Step
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.providers.own_ground import Ground
from fleet_tui.backend.store import Store
from tests.backend.operations.bench import Bench, kind

RUNNING, CANCELLED, SUCCEEDED = OperationState.RUNNING, OperationState.CANCELLED, OperationState.SUCCEEDED


class Engine:
    """Has one operation, a person's own or asked for here. Cancelled it becomes ``ends_as``. Its first look lets the waiting one be cancelled."""

    def __init__(self, store: Store, is_own: bool = False, ends_as: OperationState = CANCELLED) -> None:
        self.store, self.is_own, self.ends_as, self.cancels, self.asked = store, is_own, ends_as, 0, ""

    def submit(self, kind_name: str, request: OperationRequest, user: str) -> Submitted:
        self.asked = request.request_id
        now = SystemClock().now()
        self.record = OperationRecord("o-vm", kind_name, "stop", request.target, "vm:v-1", RUNNING, user, now, None, None, ())
        with self.store.write() as tx:
            tx.add(OperationRow(
                id="o-vm", kind=kind_name, title="stop", target=request.target, target_ref="vm:v-1", state=RUNNING.value, rank=0.0, user=user,
                submitted_at=now, request_id="r-theirs" if self.is_own else request.request_id,
            ))  # fmt: skip
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
        ground.do("vm.stop", OperationRequest(target="v-1"), "m-1")

    bench = engine.bench = Bench(store, kind(Step("power-off", body), Step("later", lambda ctx: None)))
    engine.parent = bench.submit().id
    bench.claim()
    return bench.run(engine.parent)


@pytest.mark.parametrize("ends_as", [CANCELLED, SUCCEEDED])
def test_what_it_waits_for_is_cancelled_along_and_seen_to_its_end(store: Store, ends_as: OperationState) -> None:
    engine = Engine(store, ends_as=ends_as)
    record = cancelled_while_it_waits(store, engine)
    assert (record.state, engine.cancels) == (CANCELLED, 1) and engine.asked.startswith(AWAITED)
    assert [step.state.value for step in record.steps] == ["failed" if ends_as is CANCELLED else "done", "skipped"]


def test_a_persons_own_operation_goes_on(store: Store) -> None:
    engine = Engine(store, is_own=True)
    assert cancelled_while_it_waits(store, engine).state is CANCELLED
    assert engine.cancels == 0 and engine.record.state is RUNNING

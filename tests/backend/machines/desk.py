"""Operations of VMs run to their end, without threads and without waiting."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from fleet_tui.backend.machines import CreateVm, DestroyVm, MigrateVm, RebootVm, ResizeVm, SetRatio, StartVm, StopVm
from fleet_tui.backend.machines.drivers import Machines
from fleet_tui.backend.machines.operations import operations
from fleet_tui.backend.operations import OperationRecord, OperationRequest, Plan
from fleet_tui.backend.operations.runner import nothing
from tests.backend.machines.yard import Fleet
from tests.backend.operations.bench import Bench

KINDS = {
    CreateVm: "vm.create", StartVm: "vm.start", StopVm: "vm.stop", RebootVm: "vm.reboot", DestroyVm: "vm.destroy", MigrateVm: "vm.migrate",
    ResizeVm: "vm.resize", SetRatio: "cluster.ratio",
}


class Desk(Bench):
    """A bench with the catalogue of VMs."""

    _numbers = itertools.count(1)

    def __init__(self, fleet: Fleet, checkpoint: Callable[[str], None] = nothing, executor: str = "e-1") -> None:
        super().__init__(fleet.store, *operations(fleet.machines), resources={Machines: fleet.machines}, checkpoint=checkpoint, executor=executor)
        self.fleet = fleet

    def ask(self, request: OperationRequest) -> OperationRecord:
        """Submit it."""
        submitted = self.submission.submit(KINDS[type(request)], request, "ada")
        assert submitted.operation is not None
        return submitted.operation

    def plan(self, request: OperationRequest) -> Plan:
        submitted = self.submission.submit(KINDS[type(request)], request, "ada")
        assert submitted.plan is not None
        return submitted.plan

    def do(self, request: OperationRequest) -> OperationRecord:
        """Submit it, and run it to its end."""
        operation = self.ask(request)
        if operation.id in self.claim().started:
            return self.run(operation.id)
        return self.show(operation.id)

    def words(self) -> list[str]:
        return [line[4] for line in self.said.lines]


def ok(record: OperationRecord) -> OperationRecord:
    assert record.state.value == "succeeded", (record.state, record.failed_step, record.error)
    return record


def failed(record: OperationRecord, code: str, step: str = "") -> Any:
    assert record.state.value == "failed" and record.error is not None and record.error.code == code, (record.state, record.error)
    assert not step or record.failed_step == step, record.failed_step
    return record.error

"""A session without a daemon: records in memory, answers at once, and can go away and come back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

from fleet_tui.backend import api, events, hosts, identity, instances, operations, telemetry
from fleet_tui.backend.errors import InvalidInput, NotFound, Problem, ReadOnly, Unreachable
from fleet_tui.backend.identity.permissions import effective
from fleet_tui.backend.instances.fields import problems_of
from fleet_tui.backend.instances.states import MOVES, Health, InstanceState, refusal
from fleet_tui.backend.operations.states import OperationState, StepState
from tests.clouds_stub import CloudStub
from tests.infrastructure_stub import InfrastructureStub
from tests.networks_stub import NetworksStub
from tests.settings_stub import SettingsStub

NOW = datetime(2026, 11, 20, 14, 2, 11, tzinfo=timezone.utc)
GIB = 1024**3
PHASES = (
    "hello", "data-disk", "internal-setup", "certificate", "actions:before_install", "install-or-upgrade",
    "actions:after_install", "start", "actions:after_startup", "ready",
)  # fmt: skip
STEPS = ("validate", "data-disk", "machine", "attach", "address", "boot", "start-up", "health")


def instance(label: str, state: str = "running", **fields: Any) -> instances.InstanceRecord:
    """An instance that is well unless told otherwise."""
    kind = InstanceState(state)
    running = kind is InstanceState.RUNNING
    number = sum(map(ord, label)) % 200 + 10
    values: dict[str, Any] = {
        "id": f"i-{label}", "label": label, "kind": "design", "state": kind, "failed_stage": None, "failure": "",
        "health": Health.OK if running else None, "health_detail": "", "url": f"http://10.2.0.{number}:8080" if running else None,
        "private_ip": f"10.2.0.{number}" if running else None, "public_ip": None, "host_name": f"{label}.local" if running else None,
        "host": "localhost" if running else None, "data_disk": instances.DataDisk(50, 50, number * GIB // 8, f"/var/lib/fleet/disks/{label}"),
        "pending_changes": (), "template": "hello", "network": "local", "https_strategy": "none", "image": "hello-app 1.4.0",
        "machine": f"m-{label}" if kind not in (InstanceState.NEW, InstanceState.DEPROVISIONED) else None,
        "certificate_not_after": None, "certificate_fingerprint": None,
        "agent": instances.AgentStatus(NOW - timedelta(seconds=20) if running else None, "ready" if running else None),
        "operation_id": None, "operation": "", "fleet_tags": (), "version": 1,
        "created_at": NOW - timedelta(days=3), "updated_at": NOW - timedelta(hours=1),
    }  # fmt: skip
    return instances.InstanceRecord(**{**values, **fields})


def operation(op: str, target: str, state: str = "running", at: int = 6, **fields: Any) -> operations.OperationRecord:
    """A provision that stands at step ``at``."""
    final, failed = state in ("succeeded", "failed", "cancelled"), state == "failed"
    steps = []
    for number, name in enumerate(STEPS):
        stands = StepState.DONE if number < at or state == "succeeded" else StepState.PENDING
        if number == at and state in ("running", "failed"):
            stands = StepState.FAILED if failed else StepState.RUNNING
        begun = NOW - timedelta(seconds=60 - 5 * number) if stands is not StepState.PENDING else None
        ended = begun + timedelta(seconds=5) if begun and stands is not StepState.RUNNING else None
        steps.append(operations.StepRecord(name, stands, int(begun is not None), begun, ended))
    error = operations.ErrorRecord("unreachable", "port 8080 is taken by process 4711", "free the port, then T") if failed else None
    values: dict[str, Any] = {
        "id": op, "kind": "instance.provision", "title": "provision", "target": target, "target_ref": f"instance:i-{target}",
        "state": OperationState(state), "user": "op1", "submitted_at": NOW - timedelta(seconds=61),
        "started_at": NOW - timedelta(seconds=60), "ended_at": NOW - timedelta(seconds=5) if final else None, "steps": tuple(steps),
        "error": error, "failed_step": STEPS[at] if failed else None,
    }  # fmt: skip
    return operations.OperationRecord(**{**values, **fields})


def host(name: str = "localhost", **fields: Any) -> hosts.HostRecord:
    values: dict[str, Any] = {
        "id": f"h-{name}", "name": name, "location": "local/local/local", "hypervisor": "local", "address": "127.0.0.1",
        "resource_state": "Enabled", "connection_state": "up", "cores": 2, "memory_bytes": 16 * GIB, "memory_used_bytes": 6 * GIB,
        "disk_bytes": 200 * GIB, "disk_used_bytes": 80 * GIB, "load": 0.34, "instances": 5, "measured_at": NOW,
    }  # fmt: skip
    return hosts.HostRecord(**{**values, **fields})


def line(seq: int, text: str, *, label: str = "web-21", phase: str = "install-or-upgrade", level: str = "info") -> telemetry.LogLine:
    return telemetry.LogLine(
        seq, NOW + timedelta(seconds=seq), "instance-agent", phase, level, text, f"instance:i-{label}", label, seq
    )


class StubSession(SettingsStub, InfrastructureStub, NetworksStub, CloudStub):
    """What ``Session`` promises, over plain dictionaries. ``calls`` remembers every request that arrived."""

    def __init__(self, role: identity.Role = identity.Role.ADMIN, *, read_only: bool = False, simulated: bool = False) -> None:
        self.instances: dict[str, instances.InstanceRecord] = {}
        self.operations: dict[str, operations.OperationRecord] = {}
        self.hosts: list[hosts.HostRecord] = [host()]
        self.begin_infrastructure()
        self.begin_networks()
        self.begin_settings()
        self.begin_cloud()
        self.lines: list[telemetry.LogLine] = []
        self.events: list[events.Event] = []
        self.snapshots: list[instances.SnapshotRecord] = []
        self.calls: list[Any] = []
        self.read_only = read_only
        self.down = False
        self._changed = threading.Condition()
        self._numbers = count(1)
        self._record = identity.SessionRecord(
            "s-1", "op1", role, read_only, "paris", simulated, "0.1.0", effective(role, read_only)
        )

    def add(self, *records: Any) -> StubSession:
        """Put records in, and say so in the feed."""
        for record in records:
            if isinstance(record, instances.InstanceRecord):
                self.instances[record.id] = record
                self.touch(f"instance:{record.id}")
            elif isinstance(record, operations.OperationRecord):
                self.operations[record.id] = record
                self.touch(f"operation:{record.id}")
            elif isinstance(record, telemetry.LogLine):
                with self._changed:
                    self.lines.append(record)
                self.touch(record.stream, "lines.stored")
        return self

    def touch(self, ref: str, type_: str = "object.changed", text: str = "", level: str = "info") -> None:
        with self._changed:
            self.events.append(events.Event(len(self.events) + 1, NOW, level, type_, ref, None, "op1", text))
            self._changed.notify_all()

    def remove(self, id_: str) -> None:
        self.instances.pop(id_, None)
        self.touch(f"instance:{id_}")

    # The protocol.

    @property
    def record(self) -> identity.SessionRecord:
        if self.down:
            raise Unreachable("the daemon does not answer", hint="fleet daemon start")
        return self._record

    def make_read_only(self) -> identity.SessionRecord:
        self.read_only = True
        self._record = replace(self._record, read_only=True, permissions=effective(self._record.role, True))
        return self._record

    def fetch(self, request: Any) -> Any:
        return self._answer(request)

    def submit(self, request: Any) -> Any:
        method = api.method_of(request)
        if self.read_only and not method.read and not getattr(request, "dry_run", False):
            raise ReadOnly("this session is read-only")
        return self._answer(request)

    def events_after(self, cursor: int, wait_s: float = 0.0) -> events.EventBatch:
        with self._changed:
            if cursor < 0:
                return events.EventBatch((), len(self.events))
            self._changed.wait_for(lambda: len(self.events) > cursor or self.down, timeout=min(wait_s, 0.5))
            if self.down:
                raise Unreachable("the daemon does not answer")
            return events.EventBatch(tuple(self.events[cursor:]), len(self.events))

    def follow(self, request: Any) -> Iterator[Any]:
        yield self._answer(request)

    def close(self) -> None:
        """Nothing is held."""

    def go_away(self) -> None:
        with self._changed:
            self.down = True
            self._changed.notify_all()

    def come_back(self) -> None:
        self.down = False

    # Answers.

    def _answer(self, request: Any) -> Any:
        if self.down:
            raise Unreachable("the daemon does not answer", hint="fleet daemon start")
        self.calls.append(request)
        if isinstance(request, operations.OperationRequest):
            return self._submitted(request)
        return getattr(self, f"_{type(request).__name__}")(request)

    def _one(self, target: str) -> instances.InstanceRecord:
        wanted = target.removeprefix("instance:")
        for row in self.instances.values():
            if wanted in (row.id, row.label):
                return row
        raise NotFound(f"there is no instance {target!r}")

    def _Summarize(self, request: api.Summarize) -> api.Summary:
        rows = sorted(self.instances.values(), key=lambda r: (r.state is not InstanceState.FAILED, not r.state.is_transitional, r.label))
        states: dict[str, int] = {"total": len(rows)}
        for row in rows:
            states[row.state.value] = states.get(row.state.value, 0) + 1
        attention = tuple(
            api.Attention("failed", r.label, f"instance:{r.id}", f"failed at {r.failed_stage}", r.failure, NOW.timestamp() - 180)
            for r in rows
            if r.state is InstanceState.FAILED
        ) + self.beneath() + tuple(
            api.Attention(
                "attention", r.label, f"instance:{r.id}", f"{len(r.pending_changes)} changes wait for a reprovision", "", NOW.timestamp() - 3600
            )
            for r in rows
            if r.pending_changes
        ) + tuple(
            api.Attention("attention", r.label, f"instance:{r.id}", f"{r.health.value}: {r.health_detail}", "enter opens it", NOW.timestamp() - 7200)
            for r in rows
            if r.health not in (None, Health.OK)
        ) + tuple(
            api.Attention("failed", h.name, f"host:{h.id}", *(("could not be added", h.error) if h.resource_state == "Error" else
                          (f"link {h.connection_state.lower()}", "enter opens it, R reconnects")), NOW.timestamp() - 2820)
            for h in self.hosts
            if h.connection_state != "up"
        )  # fmt: skip
        attention = tuple(sorted(attention, key=lambda a: a.severity != "failed"))
        links = [h.connection_state for h in self.hosts]
        ops = sorted(self.operations.values(), key=lambda op: op.state.is_final)
        return api.Summary(
            {"total": len(links), **{link: links.count(link) for link in links}}, states, dict(Counter(r.kind for r in rows)),
            {"running": sum(not op.state.is_final for op in ops), "waiting": 0, "failed": sum(op.state.value == "failed" for op in ops)},
            sum(r.data_disk.used_bytes or 0 for r in rows), sum(r.data_disk.size_gb for r in rows) * GIB,
            attention, sum(a.severity in ("failed", "attention") for a in attention), tuple(ops), tuple(rows[: request.rows]), tuple(self.hosts),
            tuple(self.lines[-request.lines :]), len(self.events), self.rooms if request.rows else (), self.count_vms(), self.count_kept(),
        )  # fmt: skip

    def _DescribeSite(self, _request: Any) -> api.SiteRecord:
        return api.SiteRecord("paris", self._record.simulated, "0.1.0", 1, 0.0, "sqlite", "/tmp", "1")

    def _ListInstances(self, request: instances.ListInstances) -> instances.InstancePage:
        rows = sorted(self.instances.values(), key=lambda r: r.label)
        if request.refs:
            rows = [r for r in rows if f"instance:{r.id}" in request.refs or r.id in request.refs]
            return instances.InstancePage(tuple(rows), "", len(self.instances))
        rows = [r for r in rows if r.label > request.after]
        page = rows[: request.limit]
        return instances.InstancePage(tuple(page), page[-1].label if len(rows) > len(page) else "", len(self.instances))

    def _ShowInstance(self, request: instances.ShowInstance) -> instances.InstanceRecord:
        return self._one(request.target)

    def _ListOperations(self, request: operations.ListOperations) -> tuple[operations.OperationRecord, ...]:
        found = [op for op in self.operations.values() if request.target_ref in (None, op.target_ref)]
        return tuple(sorted(found, key=lambda op: (op.state.is_final, op.submitted_at), reverse=False))[: request.limit]

    def _ShowOperation(self, request: operations.ShowOperation) -> operations.OperationRecord:
        if request.id not in self.operations:
            raise NotFound(f"there is no operation {request.id!r}")
        return self.operations[request.id]

    def _ListHosts(self, _request: Any) -> tuple[hosts.HostRecord, ...]:
        return tuple(self.hosts)

    def _ListEvents(self, request: events.ListEvents) -> tuple[events.Event, ...]:
        return tuple(reversed([e for e in self.events if e.text][-request.limit :]))

    def _ListSnapshots(self, request: instances.ListSnapshots) -> tuple[instances.SnapshotRecord, ...]:
        return tuple(s for s in self.snapshots if s.instance == self._one(request.target).id)

    def _ReadLines(self, request: telemetry.ReadLines) -> telemetry.LineBatch:
        with self._changed:
            mine = [x for x in self.lines if request.target in ("", x.stream, x.label, x.stream.removeprefix("instance:"))]
            if request.tail:
                mine = mine[-request.tail :]
            else:
                mine = [x for x in mine if x.seq > request.after]
                if not mine and request.wait_s:
                    self._changed.wait(timeout=0.1)
            cursor = mine[-1].seq if mine else request.after
            return telemetry.LineBatch(tuple(mine[: request.limit]), cursor)

    def _CreateInstance(self, request: instances.CreateInstance) -> instances.InstanceRecord:
        if any(r.label.lower() == request.label.lower() for r in self.instances.values()):
            raise InvalidInput("the instance was not created", problems=[Problem("label", f"{request.label!r} is taken")])
        _, problems = problems_of({"label": request.label, **request.settings})
        if problems:
            raise InvalidInput("the instance was not created", problems=problems)
        self.add(instance(request.label, "new", kind=request.kind, template=request.template, network=request.network))
        return self.instances[f"i-{request.label}"]

    def _CancelOperation(self, request: operations.CancelOperation) -> operations.OperationRecord:
        self.add(replace(self.operations[request.id], state=OperationState.CANCELLING, cancel_requested_by="op1"))
        return self.operations[request.id]

    def _RetryOperation(self, request: operations.RetryOperation) -> operations.Submitted:
        old = self.operations[request.id]
        self.add(replace(old, id=f"o-{next(self._numbers)}", state=OperationState.QUEUED, retry_of=old.id))
        return operations.Submitted(list(self.operations.values())[-1])

    def _submitted(self, request: operations.OperationRequest) -> operations.Submitted:
        if not api.method_of(request).name.startswith("instance."):
            if request.dry_run:
                return operations.Submitted(plan=self.plan_of(request))
            title = api.method_of(request).name.partition(".")[2]
            ref = f"{api.method_of(request).name.partition('.')[0]}:{request.target}"
            op = operation(f"o-{next(self._numbers)}", request.target, at=0, kind=api.method_of(request).name, title=title, target_ref=ref)
            self.add(op)
            self.begun(request)
            return operations.Submitted(op)
        row = self._one(request.target)
        kind = api.method_of(request).name
        action = kind.removeprefix("instance.")
        if request.dry_run:
            refused = refusal(action, row.state, row.failed_stage, row.machine is not None)
            wrong = (operations.Refusal("wrong_state", f"{row.label}: {refused}"),) if refused else ()
            if action == "delete":
                disk = "kept" if getattr(request, "keep_disk", False) else "deleted"
                said = (f"{row.label} is forgotten for ever.", f"The data disk is {disk} (50 GiB, 12 % used), with its snapshots.")
            else:
                said = (f"The machine of {row.label} ends; {row.url or 'its URL'} stops answering.", "The data disk is kept (50 GiB, 12 % used).")
            back = getattr(request, "snapshot", "")
            changes = (f"{row.label} gets a new machine; its data disk is set back to snapshot {back}",) if back else ()
            plan = operations.Plan(kind, action, row.label, STEPS, changes, said, wrong, "provision it again")
            return operations.Submitted(plan=plan)
        if row.operation_id:
            return operations.Submitted(self.operations[row.operation_id], deduplicated=True)
        op = operation(f"o-{next(self._numbers)}", row.label, at=0, kind=kind, title=action)
        self.add(op)
        during = MOVES[action].during
        self.add(replace(row, state=during or row.state, operation_id=op.id, operation=f"{action} 1/8 validate"))
        return operations.Submitted(op)

"""The engine's parts on a store, without the durable engine: its memory is a dictionary here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.events import Event, EventsAfter
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.operations import OperationRecord, OperationRequest, queries
from fleet_tui.backend.operations.catalogue import Lease, OperationKind, Prepared, Step, StepContext, planned
from fleet_tui.backend.operations.context import Signals
from fleet_tui.backend.operations.dispatcher import Claims, Pass
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from fleet_tui.backend.operations.runner import Runner, nothing
from fleet_tui.backend.operations.submission import Submission
from fleet_tui.backend.store import Store


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work(OperationRequest):
    """A request with fields of its own, one of them secret."""

    leases: tuple[str, ...] = ()
    """``level/name`` or ``level/name/shared``."""
    word: str = ""
    password: str = dataclasses.field(default="", repr=False)


def lease(text: str) -> Lease:
    level, name, *shared = text.split("/")
    return Lease(level, name, bool(shared))


def prepare(tx: Session, request: Work, user: str) -> Prepared:
    wanted = tuple(lease(text) for text in getattr(request, "leases", ()))
    return Prepared(
        target=request.target, target_ref=f"thing:{request.target}", plan=planned(request.target, changes=["a thing"]),
        leases=wanted, parameters={"word": getattr(request, "word", "")},
    )


def kind(*steps: Step, name: str = "thing.work", **rest: Any) -> OperationKind:
    rest.setdefault("prepare", prepare)
    return OperationKind(name, rest.pop("title", "work"), steps or (Step("only", lambda ctx: None),), request=Work, **rest)


class Said:
    """A line sink that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, str, str]] = []
        self.names: list[str] = []

    def append(self, stream_ref: str, operation_id: str, step: str, level: str, text: str, once: str = "") -> None:
        self.lines.append((stream_ref, operation_id, step, level, text))
        self.names.append(once)


class Memory:
    """What the durable engine remembers of one run."""

    def __init__(self, acts: dict[str, str]) -> None:
        self._acts = acts

    def __call__(self, name: str, act: Callable[[], str]) -> str:
        if name not in self._acts:
            self._acts[name] = act()
        return self._acts[name]

    def in_hand(self) -> bool:
        return True


class Bench:
    """One executor without threads."""

    def __init__(
        self, store: Store, *kinds: OperationKind, executor: str = "e-1", limit: int = 64,
        resources: Mapping[type, object] | None = None, checkpoint: Callable[[str], None] = nothing,
    ) -> None:
        self.store, self.executor = store, executor
        catalogue = {one.kind: one for one in kinds}
        self.default = kinds[0].kind
        self.said, self.signals = Said(), Signals()
        self.submission = Submission(store, catalogue)
        self.claims = Claims(store, catalogue, executor, limit)
        self.runner = Runner(store, catalogue, resources or {}, self.said, executor, self.signals, checkpoint)
        self.remembered: dict[str, dict[str, str]] = {}

    def submit(self, target: str = "web-1", kind: str = "", **fields: Any) -> OperationRecord:
        submitted = self.submission.submit(kind or self.default, Work(target=target, **fields), "ada")
        assert submitted.operation is not None
        return submitted.operation

    def claim(self, room: int = 100) -> Pass:
        return self.claims.claim(room)

    def run(self, operation_id: str) -> OperationRecord:
        """Run a claimed operation, remembering as the durable engine does."""
        self.runner.run(operation_id, Memory(self.remembered.setdefault(operation_id, {})))
        return self.show(operation_id)

    def through(self, target: str = "web-1", **fields: Any) -> OperationRecord:
        """Submit, claim, run."""
        operation = self.submit(target, **fields)
        assert operation.id in self.claim().started
        return self.run(operation.id)

    def cancel(self, operation_id: str, user: str = "bob") -> OperationRecord:
        record, running = self.submission.cancel(operation_id, user)
        if running:
            self.signals.cancel(operation_id)
        return record

    def show(self, operation_id: str) -> OperationRecord:
        with self.store.read() as tx:
            return queries.show(tx, operation_id)

    def held(self) -> set[tuple[str, str, str]]:
        with self.store.read() as tx:
            return {(row.level, row.name, row.operation_id) for row in tx.scalars(select(LeaseRow))}

    def events(self) -> list[Event]:
        feed = Feed(self.store)
        batch = feed.after(EventsAfter(cursor=0, limit=10_000))
        feed.close()
        return list(batch.events)

    def alter(self, operation_id: str, **values: Any) -> None:
        with self.store.write() as tx:
            row = tx.get(OperationRow, operation_id)
            assert row is not None
            for name, value in values.items():
                setattr(row, name, value)


def writes(journal: list[str], *names: str, undo: bool = True, **rest: Any) -> tuple[Step, ...]:
    """Steps that write their names down, and ``undo …`` when they are undone."""

    def body(ctx: StepContext) -> dict[str, Any]:
        journal.append(ctx.step)
        return {"of": ctx.step}

    def back(ctx: StepContext) -> None:
        journal.append(f"undo {ctx.step}")

    return tuple(Step(name, body, undo=back if undo else None, **rest) for name in names)


def states(operation: OperationRecord) -> Iterable[str]:
    return [step.state.value for step in operation.steps]

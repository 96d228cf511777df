"""Waiting for an operation, and telling meanwhile what it does."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

from fleet_tui.backend.api.wire import encode
from fleet_tui.backend.errors import BY_CODE, TimedOut
from fleet_tui.backend.events import EventsAfter
from fleet_tui.backend.operations import OperationRecord, OperationState, Plan, ShowOperation, Submitted
from fleet_tui.backend.telemetry import LogLine, ReadLines
from fleet_tui.backend.text import clean
from fleet_tui.cli.context import Context
from fleet_tui.columns import progress

_HOLD_S = 10.0
"""How long one call waits for news; the operation is looked at anyway after that."""
CANCELLED_EXIT = 1
_UNDONE = {"done": "what it had made was undone", "failed": "what it had made could not all be undone: its log says more"}


def finish(context: Context, submitted: Submitted) -> int:
    """Print what became of a submitted request, having waited for its end if wanted. Returns the exit code."""
    if submitted.plan is not None:
        return show_plan(context, submitted.plan)
    operation = submitted.operation
    if operation is None:
        return 0
    if submitted.deduplicated:
        context.say(f"fleet: the same is being done already by {operation.id} of {clean(operation.user)}")
    if context.flag("wait", True):
        operation = wait(context, operation, tell=context.narrates)
    if context.out.is_json:
        context.out.json({**encode(operation), "deduplicated": submitted.deduplicated})
    else:
        context.out.line(context.out.cell(summary(operation)))
    return verdict(context, operation)


def wait(context: Context, operation: OperationRecord, *, tell: bool, as_records: bool = False) -> OperationRecord:
    """Until the operation ends. ``tell`` writes its lines to stderr, or ``as_records`` as results to stdout.

    Raises :class:`TimedOut` after ``--timeout``; the operation goes on.
    """
    context.farewell = f"; operation {operation.id} goes on, `fleet op follow {operation.id}` follows it"
    timeout_s = context.flag("timeout")
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    cursor = context.session.events_after(-1).cursor
    seen, ticker = 0, _Ticker()
    try:
        while True:
            operation = context.follow(ShowOperation(operation.id), deadline)
            if tell or as_records:
                seen = _tell(context, operation.id, seen, as_records, ticker)
            if operation.state.is_final:
                context.farewell = ""
                return operation
            if tell:
                ticker.show(context.out.cell(so_far(operation)))
            left = _HOLD_S if deadline is None else min(_HOLD_S, deadline - time.monotonic())
            if left <= 0:
                raise TimedOut(
                    f"{operation.title} {operation.target} is still {operation.state.value} after {timeout_s:g} s; it goes on",
                    hint=f"`fleet op follow {operation.id}` follows it", operation=operation.id,
                )
            cursor = _news(context, operation, cursor, left)
    finally:
        ticker.clear()


def so_far(operation: OperationRecord) -> str:
    """``maintain kvm-3: 3/4 evacuate 2/7``."""
    done, total, said = progress(operation)
    count = f"{min(done + 1, total)}/{total}" if operation.state is OperationState.RUNNING and total else operation.state.value
    return f"{operation.title} {operation.target}: {count} {said}".rstrip()


class _Ticker:
    """A last line on stderr that says how far it is, and is gone before anything else is said. Only where a person watches."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str) -> None:
        text = text[: max(0, shutil.get_terminal_size().columns - 1)]
        if text == self._shown:
            return
        self.clear()
        self._shown = text
        sys.stderr.write(text)
        sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write(f"\r{' ' * len(self._shown)}\r")
            sys.stderr.flush()
            self._shown = ""


def verdict(context: Context, operation: OperationRecord) -> int:
    """The exit code of an ended operation; says on stderr why it failed. 0 while it runs."""
    if operation.state is OperationState.CANCELLED:
        return CANCELLED_EXIT
    if operation.state is not OperationState.FAILED:
        return 0
    error = operation.error
    if error is None:
        return 1
    if not context.wants_json:
        at = f" at {operation.failed_step}" if operation.failed_step else ""
        context.say(f"fleet: {clean(f'{operation.title} {operation.target} failed{at}: {error.message}')}")
        for words in (clean(error.hint), _UNDONE.get(operation.rollback, "")):
            if words:
                context.say(f"  {words}")
    kind = BY_CODE.get(error.code)
    return kind.exit_code if kind else 1


def summary(operation: OperationRecord) -> str:
    """``provision web-1: succeeded in 3.2 s (o-91bc)``."""
    took = ""
    if operation.started_at and operation.ended_at:
        preposition = "in" if operation.state is OperationState.SUCCEEDED else "after"
        took = f" {preposition} {(operation.ended_at - operation.started_at).total_seconds():.1f} s"
    return f"{operation.title} {operation.target}: {operation.state.value}{took} ({operation.id})"


def line_record(line: LogLine) -> dict[str, Any]:
    """A log line as programs get it."""
    return {
        "seq": line.seq, "time": line.time, "source": line.source, "phase": line.phase, "level": line.level, "text": line.text,
        "operation_id": line.operation_id,
    }


def line_text(line: LogLine, *, timestamps: bool) -> str:
    stamp = f"{line.time:%Y-%m-%d %H:%M:%S}.{line.time.microsecond // 1000:03} " if timestamps else ""
    level = f"{line.level}: " if line.level in ("warn", "error") else ""
    return f"{stamp}{line.phase}: {level}{line.text}"


def _tell(context: Context, operation: str, seen: int, as_records: bool, ticker: _Ticker) -> int:
    """Everything the operation has said since; returns how far we are."""
    while True:
        batch = context.follow(ReadLines(operation=operation, after=seen))
        if batch.lines:
            ticker.clear()
        for line in batch.lines:
            if not as_records:
                context.say(clean(line_text(line, timestamps=False)))
            elif context.out.is_json:
                context.out.json_line(line_record(line))
            else:
                context.out.line(context.out.cell(line_text(line, timestamps=context.flag("timestamps", False))))
        if not batch.lines:
            return seen
        seen = max(seen, batch.cursor)


def _news(context: Context, operation: OperationRecord, cursor: int, wait_s: float) -> int:
    """Wait until something happened to the operation or its target."""
    refs = (f"operation:{operation.id}", operation.target_ref)
    deadline = time.monotonic() + wait_s
    while (left := deadline - time.monotonic()) > 0:
        batch = context.follow(EventsAfter(cursor=cursor, wait_s=left), deadline)
        cursor = batch.cursor
        if any(event.ref in refs or event.operation_id == operation.id for event in batch.events):
            break
    return cursor


def show_plan(context: Context, plan: Plan) -> int:
    """A dry run: what would happen, or why not. Ends as the request would."""
    if context.out.is_json:
        context.out.json(plan)
    else:
        for head, texts in (("would do", plan.steps), ("would change", plan.changes), ("affects", plan.consequences), ("no host", plan.against)):
            for text in texts:
                context.out.line(f"{head:13} {context.out.cell(text)}")
        for refusal in plan.refusals:
            context.out.line(f"{'refused':13} {context.out.cell(refusal.message)}")
            if refusal.hint:
                context.out.line(f"{'':13} {context.out.cell(refusal.hint)}")
    for refusal in plan.refusals:
        kind = BY_CODE.get(refusal.code)
        return kind.exit_code if kind else 1
    return 0

"""``fleet op …``"""

from __future__ import annotations

from fleet_tui.backend.api import METHODS
from fleet_tui.backend.operations import CancelOperation, ListOperations, OperationRecord, RetryOperation, ShowOperation
from fleet_tui.cli.asking import change
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import OPERATIONS
from fleet_tui.cli.waiting import finish, summary, verdict, wait


def find(context: Context) -> int:
    given = context.given
    states = (given.state,) if given.state else ()
    found = context.session.fetch(ListOperations(active=True if given.active else None, states=states, limit=given.limit))
    context.out.rows(OPERATIONS, found, empty="there are no operations")
    return 0


def show(context: Context) -> int:
    context.out.record(context.session.fetch(ShowOperation(context.given.id)))
    return 0


def follow(context: Context) -> int:
    """Its lines until it ends; then how it ended, as the exit code of its error."""
    operation = wait(context, context.session.fetch(ShowOperation(context.given.id)), tell=False, as_records=True)
    if not context.out.is_json:
        context.out.line(context.out.cell(summary(operation)))
    return verdict(context, operation)


def cancel(context: Context) -> int:
    operation: OperationRecord = change(context, CancelOperation(context.given.id))
    if context.out.is_json:
        context.out.json(operation)
    else:
        context.out.line(context.out.cell(summary(operation)))
    return 0


def retry(context: Context) -> int:
    """What is done again is asked for again: it may have been confirmed weeks ago, and by somebody else."""
    operation: OperationRecord = context.session.fetch(ShowOperation(context.given.id))
    return finish(context, change(context, RetryOperation(operation.id), operation.target, METHODS.get(operation.kind)))

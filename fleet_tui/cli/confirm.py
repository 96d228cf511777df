"""Confirmation follows danger: *disruptive* wants ``--yes`` or a yes, *destructive* the name typed, or ``--confirm NAME``."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from typing import Any

from fleet_tui.backend.api import method_of
from fleet_tui.backend.api.method import Method
from fleet_tui.backend.errors import ConfirmationRequired, FleetError
from fleet_tui.backend.operations import OperationRequest
from fleet_tui.backend.text import clean
from fleet_tui.cli.context import Context


def confirmed(context: Context, request: Any, name: str, again: Method | None = None) -> Any:
    """The request with its confirmation in it. ``again`` is what it repeats, which is then as dangerous as that.

    Raises :class:`ConfirmationRequired` when there is none and nobody to ask, or the answer was not yes.
    """
    method = again or method_of(request)
    danger = method.danger
    if danger not in ("disruptive", "destructive") or getattr(request, "dry_run", False):
        return request
    if danger == "destructive":
        named, typed = _named(context, request, name), context.flag("confirm")
        if typed is None:
            typed = _ask(context, method, request, named, f"Type {clean(named)!r} to go on: ", f"--confirm {shlex.quote(named)}")
        if typed == name:  # the id or the path that was given names it just as well
            typed = named
        if not hasattr(request, "confirm") and typed != named:
            raise ConfirmationRequired(f"{typed!r} is not {named!r}, nothing was done", hint=f"give --confirm {shlex.quote(named)}")
        return dataclasses.replace(request, confirm=typed) if hasattr(request, "confirm") else request
    if not context.flag("yes", False) and context.flag("confirm") != name:
        answer = _ask(context, method, request, name, "Go on? [y/N] ", "--yes")
        if answer.lower() not in ("y", "yes"):
            raise ConfirmationRequired("not confirmed, nothing was done")
    return dataclasses.replace(request, confirmed=True) if hasattr(request, "confirmed") else request


def _named(context: Context, request: Any, name: str) -> str:
    """What a thing is called that a person may have given by its id: the name is what has to be typed."""
    if not isinstance(request, OperationRequest) or request.target != name:
        return name
    plan = context.session.submit(dataclasses.replace(request, dry_run=True)).plan
    return plan.target if plan is not None else name


def _ask(context: Context, method: Method, request: Any, name: str, question: str, flag: str) -> str:
    if not context.can_ask:
        raise ConfirmationRequired(
            f"{method.name} on {name!r} is {method.danger} and was not confirmed", hint=f"add {flag}, or run it on a terminal", danger=method.danger
        )
    for line in _consequences(context, request) or (f"{method.name} on {name!r} is {method.danger}.",):
        context.say(clean(line))
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _consequences(context: Context, request: Any) -> tuple[str, ...]:
    """What the daemon says would happen; a refusal is raised now rather than after the question."""
    if not isinstance(request, OperationRequest):
        return ()
    plan = context.session.submit(dataclasses.replace(request, dry_run=True)).plan
    if plan is None:
        return ()
    for refusal in plan.refusals:
        raise _as_error(refusal)
    return (*plan.consequences, *plan.changes)


def _as_error(refusal: Any) -> FleetError:
    from fleet_tui.backend.errors import from_json

    return from_json({"code": refusal.code, "message": refusal.message, "hint": refusal.hint, "details": refusal.details})

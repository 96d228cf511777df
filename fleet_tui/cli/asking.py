"""Sending what a command asks for: as an operation that is waited for, or as a change made at once."""

from __future__ import annotations

import dataclasses
import getpass
import shlex
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from fleet_tui.backend.api import method_of
from fleet_tui.backend.api.method import Method
from fleet_tui.backend.errors import UsageError
from fleet_tui.backend.operations import Plan
from fleet_tui.backend.text import SECRET_NAME
from fleet_tui.cli.confirm import confirmed
from fleet_tui.cli.context import Context, Foretold
from fleet_tui.cli.waiting import finish, show_plan

_NAMES = ("target", "label", "id", "name", "path")
"""Fields that say what a request is about, the first one counts."""
_LONG = 60
_MASK = "••••"
_TEXT_LIMIT = 16 * 1024 * 1024
"""Characters of a file: the daemon takes less, a machine's memory more."""


def operate(context: Context, kind: type, name: str, /, **fields: Any) -> int:
    """Submit an operation on ``name``, confirmed as its danger wants, and wait for its end."""
    request = kind(target=name, dry_run=context.flag("dry_run", False), **fields)
    return finish(context, context.session.submit(confirmed(context, request, name)))


def change(context: Context, request: Any, name: str = "", again: Method | None = None) -> Any:
    """The reply of a change that is made at once, confirmed as its danger wants, or as that of what is done ``again`` wants. A dry run says what
    would be asked for, and ends the command."""
    method = again or method_of(request)
    if context.flag("dry_run", False):
        target = name or next((str(found) for key in _NAMES if (found := getattr(request, key, ""))), "")
        would(context, method.name, target, f"{method.name} {target}{_fields(request)}".rstrip(), method.danger)
    return context.session.submit(confirmed(context, request, name, again))


def would(context: Context, kind: str, target: str, text: str, danger: str = "changes") -> NoReturn:
    """A dry run of what is done at once: the plan, as of an operation. The daemon is not asked, so that nothing can come of it, and the plan
    says so. Raises :class:`Foretold`."""
    consequences = ["nothing was checked: whether it is allowed and possible shows when it is done"]
    if danger in ("disruptive", "destructive"):
        consequences.insert(0, f"it is {danger} and will want {'--yes' if danger == 'disruptive' else f'--confirm {shlex.quote(target)}'}")
    show_plan(context, Plan(kind, kind.rpartition(".")[2], target, (), (text,), tuple(consequences)))
    raise Foretold


def _fields(request: Any) -> str:
    """What it says besides the name, briefly; secrets and what was left out are not."""
    kept = [
        f"{field.name} {_short(value)}" for field in dataclasses.fields(request)
        if field.repr and field.name not in (*_NAMES, "request_id", "confirm", "confirmed")
        and (value := getattr(request, field.name)) not in (None, "", (), {}, field.default)
    ]  # fmt: skip
    return f": {', '.join(kept)}" if kept else ""


def _short(value: Any) -> str:
    value = getattr(value, "value", value)
    if isinstance(value, Mapping):
        text = ", ".join(f"{name}={_MASK if said and _is_secret(str(name), said) else said}" for name, said in value.items())
    else:
        text = " ".join(str(getattr(item, "name", item)) for item in value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text):,} characters)"


def _is_secret(name: str, value: Any) -> bool:
    """By its name, or because somebody pasted a key where none belongs."""
    return bool(SECRET_NAME.search(name)) or "PRIVATE KEY" in str(value)


def report(context: Context, done: Any, text: str = "") -> int:
    """Say that a change was made: the reply itself as JSON, ``text`` or what the daemon says of it to a person."""
    if context.out.is_json:
        context.out.json(done)
    else:
        context.out.line(context.out.cell(text or done.text))
    return 0


def password_of(what: str) -> str:
    """A password typed twice on the terminal without being shown, or one line of standard input. Never an argument: those are seen by everybody.

    Raises:
        UsageError: none was given, or the two differ.
    """
    if sys.stdin.isatty():
        typed = getpass.getpass(f"{what}: ")
        if typed and getpass.getpass("The same again: ") != typed:
            raise UsageError("the two are not the same, nothing was done")
    else:
        typed = sys.stdin.readline().rstrip("\r\n")
    if not typed:
        raise UsageError("no password was given, nothing was done", hint="type it on a terminal, or give it as one line of standard input")
    return typed


def text_of(name: str) -> str:
    """What a file says; ``-`` is standard input. Raises :class:`UsageError`."""
    try:
        with nullcontext(sys.stdin) if name == "-" else Path(name).expanduser().open(encoding="utf-8") as file:
            text = file.read(_TEXT_LIMIT + 1)
    except (OSError, UnicodeDecodeError, RuntimeError) as problem:
        raise UsageError(f"{name} cannot be read: {problem}") from problem
    if len(text) > _TEXT_LIMIT:
        raise UsageError(f"{name} has more than {_TEXT_LIMIT:,} characters, which is the most that is taken")
    return text

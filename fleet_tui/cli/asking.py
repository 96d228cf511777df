"""Sending what a command asks for: as an operation that is waited for, or as a change made at once."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

from fleet_tui.backend.errors import UsageError
from fleet_tui.cli.confirm import confirmed
from fleet_tui.cli.context import Context
from fleet_tui.cli.waiting import finish


def operate(context: Context, kind: type, name: str, **fields: Any) -> int:
    """Submit an operation on ``name``, confirmed as its danger wants, and wait for its end."""
    request = kind(target=name, dry_run=context.flag("dry_run", False), **fields)
    return finish(context, context.session.submit(confirmed(context, request, name)))


def change(context: Context, request: Any, name: str = "") -> Any:
    """The reply of a change that is made at once, confirmed as its danger wants. Raises :class:`UsageError` for a dry run: there is none."""
    if context.flag("dry_run", False):
        raise UsageError("this is done at once and has no dry run; nothing was done")
    return context.session.submit(confirmed(context, request, name))


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
        return sys.stdin.read() if name == "-" else Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{name} cannot be read: {problem}") from problem

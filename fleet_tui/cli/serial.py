"""``fleet vm console`` and ``fleet vm logs``: a VM's serial line, as it comes and as it was."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fleet_tui.backend.api.connection import Broken
from fleet_tui.backend.errors import UsageError
from fleet_tui.backend.machines import ReadGuestLog
from fleet_tui.cli.asking import would
from fleet_tui.cli.context import Context
from fleet_tui.widgets.serial_text import SerialText

if TYPE_CHECKING:
    from fleet_tui.backend.api.relay import Relay

LEAVE = b"\x1d"
"""ctrl+], as in telnet and virsh."""
_LOOK_S = 1.0
_AT_ONCE = 4096


def console(context: Context) -> int:
    """The terminal becomes the guest's: what it sends arrives as it is. With ``--output text`` bytes are copied both ways, to its end."""
    name = context.given.name
    if context.flag("dry_run", False):
        would(context, "vms.console", name, f"the serial line of {name} is opened; who opened it is on record")
    as_text = context.flag("output") == "text"
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not is_terminal and not as_text:
        raise UsageError("a serial console needs a terminal", hint="--output text copies bytes instead; `fleet vm logs` shows what was said")
    relay = context.session.console(name)
    try:
        if as_text:
            _copy(relay, leave=b"", until=_deadline(context))
            return 0
        with _raw(sys.stdin.fileno()):
            sys.stderr.write(f"the serial line of {context.out.cell(name)}; ctrl+] leaves, the guest goes on\r\n")
            sys.stderr.flush()
            ended = _copy(relay, leave=LEAVE, until=_deadline(context))
        sys.stderr.write("\nthe line has ended\n" if ended else "\n")
        return 0
    finally:
        relay.close()


def _deadline(context: Context) -> float | None:
    timeout_s = context.flag("timeout")
    return None if timeout_s is None else time.monotonic() + timeout_s


def _copy(relay: Relay, *, leave: bytes, until: float | None) -> bool:
    """Bytes both ways. Returns whether the line ended by itself; no when ``leave`` was typed or the time is up."""
    typing, shown = sys.stdin.fileno(), sys.stdout.buffer
    sources: list[Any] = [relay, typing]
    while until is None or time.monotonic() < until:
        data = relay.receive(0.0)  # first, as some may have come with the reply's head
        if data is None:
            return True
        if data:
            shown.write(data)
            shown.flush()
        ready, _, _ = select.select(sources, [], [], 0.0 if data else _LOOK_S if until is None else min(_LOOK_S, max(0.0, until - time.monotonic())))
        if typing not in ready:
            continue
        typed = os.read(typing, _AT_ONCE)
        if not typed:  # nobody types any more; what the guest says is copied on
            sources.remove(typing)
            continue
        typed, left, _ = typed.partition(leave) if leave else (typed, b"", b"")
        try:
            relay.send(typed)
        except Broken:
            return True
        if left:
            return False
    return False


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """The terminal raw, and back as it was however this ends."""
    before = termios.tcgetattr(descriptor)
    kept = {name: signal.signal(name, lambda number, _frame: sys.exit(128 + number)) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed already is the guest's too
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for name, handler in kept.items():
            signal.signal(name, handler)


def logs(context: Context) -> int:
    """Lines after byte ``--since``, cleaned. Without ``--follow`` all there are; as JSON an array, followed one object a line."""
    given = context.given
    position, text = given.since, SerialText()
    collected: list[dict[str, str]] = []
    try:
        while True:
            request = ReadGuestLog(given.name, position)
            found = context.follow(request) if given.follow else context.session.fetch(request)
            for line in text.feed_text(found.text):
                _give(context, line, collected)
            is_end = found.position - position < request.limit
            position = found.position
            if is_end and not given.follow:
                break
            if is_end:
                time.sleep(_LOOK_S)
        if text.line:
            _give(context, text.line, collected)
    except KeyboardInterrupt:
        if context.out.is_json and not given.follow:
            context.out.json(collected)
        raise
    if context.out.is_json and not given.follow:
        context.out.json(collected)
    return 0


def _give(context: Context, line: str, collected: list[dict[str, str]]) -> None:
    if not context.out.is_json:
        context.out.line(context.out.cell(line))
        sys.stdout.flush()
    elif context.given.follow:
        context.out.json_line({"text": line})
    else:
        collected.append({"text": line})

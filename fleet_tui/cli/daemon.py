"""``fleet daemon …``: the one ``fleetd`` of a state directory, this user's own or the one that ``--site`` names."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from fleet_tui import session as sessions
from fleet_tui.backend.api import DescribeSite, SiteRecord, embedded
from fleet_tui.backend.api.sockets import answers
from fleet_tui.backend.errors import NotFound, PermissionDenied, ReadOnly, Unreachable, WrongState
from fleet_tui.cli.asking import would
from fleet_tui.cli.context import Context

STOPPED_EXIT = 3
"""As ``systemctl status`` and the Linux Standard Base have it: the program does not run."""
_LOOK_S = 0.25


def start(context: Context) -> int:
    """Make sure that it runs. Flags after ``--`` are given to ``fleetd`` when it has to be started.

    Raises :class:`WrongState` when flags were given and one runs already, which knows nothing of them.
    """
    directories, flags = sessions.own(context.settings), context.given.flags
    if (pid := embedded.holder(directories)) and answers(embedded.door(directories)):
        if flags:
            raise WrongState(
                f"fleetd runs already (pid {pid}), the flags {' '.join(flags)} were not taken",
                hint="`fleet daemon stop` ends it, then start it with them",
            )
        context.say(f"fleetd runs already (pid {pid}), state in {directories.state}")
        return 0
    if context.flag("dry_run", False):
        would(context, "daemon.start", str(directories.state), f"fleetd is started, state in {directories.state}")
    site = {"FLEET_HOME": str(directories.state)} if context.settings.site else {}
    embedded.start(directories, flags, environ={**os.environ, **site}, say=context.say)
    context.say(f"started fleetd (pid {embedded.holder(directories)}), state in {directories.state}")
    return 0


def stop(context: Context) -> int:
    """End it and wait until it is gone. Operations go on where they were when it starts again."""
    directories = sessions.own(context.settings)
    if context.flag("dry_run", False):
        pid = embedded.holder(directories)
        would(context, "daemon.stop", str(directories.state), f"fleetd (pid {pid}) is stopped" if pid else f"no fleetd runs on {directories.state}")
    if context.settings.read_only:
        raise ReadOnly("this session is read-only, fleetd was not stopped", hint="without --read-only and FLEET_READ_ONLY it can be")
    pid = embedded.stop(directories)
    context.say(f"stopped fleetd (pid {pid})" if pid else f"no fleetd runs on {directories.state}")
    return 0


def status(context: Context) -> int:
    directories = context.settings.directories
    pid = embedded.holder(directories)
    try:
        settings = dataclasses.replace(context.settings, start_daemon=False)
        site: SiteRecord = sessions.connect(settings, with_session=False).fetch(DescribeSite())
    except Unreachable:
        if context.settings.site:
            raise
        state = "stopped" if pid is None else "not answering"
        context.out.record({"state": state, "pid": pid or None, "state_directory": str(directories.state), "log": str(directories.daemon_log)})
        return STOPPED_EXIT if pid is None else Unreachable.exit_code
    facts = {field.name: getattr(site, field.name) for field in dataclasses.fields(site) if field.name not in ("pid", "started_at")}
    context.out.record({"state": "running", "pid": site.pid, "uptime_s": round(max(0.0, time.time() - site.started_at)), **facts})
    return 0


def logs(context: Context) -> int:
    """The last lines of its log file; text, unless JSON is asked for by name."""
    path, given = sessions.own(context.settings).daemon_log, context.given
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            last = deque(file, maxlen=given.lines) if given.lines else deque(file)
            end = file.tell()
    except FileNotFoundError:
        raise NotFound(f"there is no log yet at {path}", hint="`fleet daemon start` starts the daemon") from None
    except OSError as problem:
        raise PermissionDenied(f"the log {path} cannot be read: {problem.strerror}", hint="ask whose daemon it is") from problem
    if context.wants_json and not given.follow:
        context.out.json([line.rstrip("\n") for line in last])
        return 0
    for line in last:
        _print(context, line)
    if given.follow:
        for line in _tail(path, end):
            _print(context, line)
    return 0


def _print(context: Context, line: str) -> None:
    if context.wants_json:
        context.out.json_line(line.rstrip("\n"))
    else:
        context.out.line(context.out.cell(line.rstrip("\n")))


def _tail(path: Path, position: int) -> Iterator[str]:
    """Lines as they are written, over a change of the file, for ever."""
    rest = ""
    file = path.open(encoding="utf-8", errors="replace")
    try:
        file.seek(position)
        while True:
            rest += file.readline()
            if rest.endswith("\n"):
                yield rest
                rest = ""
            elif _was_replaced(path, file.fileno()):
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
            else:
                time.sleep(_LOOK_S)
    finally:
        file.close()


def _was_replaced(path: Path, descriptor: int) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return found.st_ino != os.fstat(descriptor).st_ino

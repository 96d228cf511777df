"""A daemon in small: an engine on a database, whose step bodies leave their effects in a directory.

    worker_program.py DATABASE DIRECTORY EXECUTOR OPERATIONS

Submits OPERATIONS operations (the same ones, whoever starts first), executes until told to stop by the end of its
standard input, and kills itself where ``FLEET_KILL_AT`` says (see :mod:`tests.backend.operations.killing`).

Effects look before they act: a file per operation and step, made with ``O_EXCL``. Besides, every entry into a body
and every effect is one line in ``ledger``, written with one ``write``: a witness that no engine knows about.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from fleet_tui.backend.errors import Unreachable
from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.operations.catalogue import OperationKind, Step, StepContext
from fleet_tui.backend.operations.engine import Engine
from fleet_tui.backend.store import Store
from tests.backend.operations import killing
from tests.backend.operations.bench import Said, Work, kind

STEPS = 3
HOSTS = 3


class Ledger:
    """Effects, and the witness of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = os.open(directory / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, *words: str) -> None:
        os.write(self._file, (" ".join(words) + "\n").encode())

    def make(self, name: str) -> None:
        """Look, then act."""
        try:
            os.close(os.open(self.directory / name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        self.write("effect", name)

    def remove(self, name: str) -> None:
        try:
            os.unlink(self.directory / name)
        except FileNotFoundError:
            return
        self.write("undone", name)


def body(ctx: StepContext) -> dict[str, str]:
    ledger = ctx.use(Ledger)
    host = ctx.operation.parameters["word"]
    ledger.write("enter", ctx.token, host, str(os.getpid()))
    try:
        with ctx.write():
            pass
        ctx.wait(lambda: random.random() < 0.5, timeout_s=30, interval_s=0.002)
        if ctx.step == "s3" and ctx.operation.target.startswith("bad"):
            raise Unreachable("Nobody there.")
        ledger.make(ctx.token)
    finally:
        ledger.write("leave", ctx.token, host, str(os.getpid()))
    return {"of": ctx.step}


def undo(ctx: StepContext) -> None:
    ctx.use(Ledger).remove(ctx.token)


def work() -> OperationKind:
    return kind(*(Step(f"s{number}", body, undo=undo) for number in range(1, STEPS + 1)))


def requests(count: int) -> list[Work]:
    """Every fourth one fails in its last step; a few hosts, so that leases are fought for."""
    found = []
    for number in range(count):
        host = f"h{number % HOSTS}"
        name = f"{'bad' if number % 4 == 3 else 'good'}-{number}"
        found.append(Work(target=name, request_id=f"r-{number}", leases=(f"host/{host}", "zone/z/shared"), word=host))
    return found


def main(database: str, directory: str, executor: str, operations: int) -> None:
    store = Store(database)
    feed = Feed(store)
    engine = Engine(
        store, feed, [work()], {Ledger: Ledger(Path(directory))}, Said(), executor, directory=Path(directory),
        heartbeat_s=0.2, dead_s=1.0, look_s=0.1, patience_s=1.0, checkpoint=killing.checkpoint(),
    )
    engine.start()
    for request in requests(operations):
        engine.submit("thing.work", request, "ada")
    print("ready", flush=True)
    sys.stdin.read()
    drained = engine.stop(grace_s=10)
    feed.close()
    store.close()
    print("drained" if drained else "busy", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))

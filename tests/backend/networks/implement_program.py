"""Part of a daemon, in a process of its own: brings networks up, all at once.

    implement_program.py DATABASE REFERENCE…

Waits for a line on standard input, so that several begin together; then says a line for each network: its ID, or the kind of the refusal.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.networks import guest
from fleet_tui.backend.store import Store
from tests.backend.networks.ground import Clock


def main(database: str, *references: str) -> None:
    store = Store(database)

    def bring_up(reference: str) -> str:
        try:
            return str(guest.implement(store.write, reference, Clock()))
        except FleetError as refused:
            return refused.code

    with ThreadPoolExecutor(len(references)) as threads:
        print("ready", flush=True)
        sys.stdin.readline()
        print("\n".join(threads.map(bring_up, references)), flush=True)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

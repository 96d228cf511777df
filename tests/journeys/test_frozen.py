"""A daemon that hangs (SIGSTOP) while another one takes its work over, and then goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import select

from fleet_tui.backend.api import DescribeSite
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.operations.rows import LeaseRow, OperationRow
from tests.backend import postgres
from tests.journeys.site import Site, site
from tests.journeys.test_kill import FLAGS, check, equipped, prepare, request
from tests.waiting import until

LABELS = ["web-1", "web-2"]
POINTS = (
    "adopted",
    "begun:2",  # about to switch off the machine, which by the time it wakes up is another one
    "begun:4",  # the same, about to throw it away
    "after-body:9",  # made the machine, and did not store it
    "begun:12",  # about to boot
    "before-finish",
)
"""Of a reprovision."""


@pytest.fixture
def pair(server: postgres.Server) -> Iterator[Site]:
    """Two daemons on one PostgreSQL database."""
    database = server.create()
    try:
        with site(database, slots=(1, 2), flags=FLAGS) as found:
            yield equipped(found)
    finally:
        server.drop(database)


@pytest.mark.slow
def test_frozen_while_another_takes_over_and_then_continued(pair: Site) -> None:
    kept = prepare(pair, LABELS)
    for point in POINTS:
        pair.freeze_at(point)
        operations = [pair.submit(request("reprovision", label)).id for label in LABELS]
        slot = pair.frozen()
        for operation in operations:
            assert pair.ended(operation, 120.0).state is OperationState.SUCCEEDED, point
        taken = owners(pair, operations)
        assert all(executor.endswith(f"-{3 - slot}") for executor in taken.values()), "the living one ended them"
        machines = {label: pair.show(label).machine for label in LABELS}
        pair.thaw(slot)
        if ":" in point:  # else the durable engine remembers every step, and it comes to the end without a word
            until(partial(let_go, pair, slot, operations), 60.0, f"the one frozen at {point} learns that it was fenced")
        assert pair.client(slot).call(DescribeSite()).pid == pair.pid(slot), "it lives on"
        assert owners(pair, operations) == taken
        assert {label: pair.show(label).machine for label in LABELS} == machines
        assert all(pair.show(label).state is InstanceState.RUNNING for label in LABELS)
        with pair.store().read() as tx:
            assert not tx.scalars(select(LeaseRow)).all()
    check(pair, LABELS, kept)
    for slot in pair.slots:
        pair.stop(slot)


def owners(site: Site, operations: list[str]) -> dict[str, str]:
    with site.store().read() as tx:
        return {row.id: str(row.executor) for row in tx.scalars(select(OperationRow).where(OperationRow.id.in_(operations)))}


LET_GO = ("was taken over by another executor", "pauses: the database cannot work")
"""What a daemon says of an operation that it leaves; the second when it was frozen in the middle of a transaction, which was ended."""


def let_go(site: Site, slot: int, operations: list[str]) -> set[str]:
    """Those of which a daemon said that it leaves them."""
    log = site.places.daemon_log if slot == 1 else site.places.logs / f"fleetd-{slot}.log"
    said = [line for line in log.read_text().splitlines() if any(words in line for words in LET_GO)]
    return {operation for operation in operations if any(operation in line for line in said)}

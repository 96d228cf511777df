"""The simulated site is the same for the same seed, hangs together at any size, and lives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from fleet_tui.backend.api import Summarize
from fleet_tui.backend.api.summary import Dashboard
from fleet_tui.backend.certificates import ListBoard, material
from fleet_tui.backend.certificates.rows import CertificateKeyRow
from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.errors import InternalError
from fleet_tui.backend.hosts import queries as hosts
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.instances import ListInstances, ProvisionInstance, RetryStartup, certified, orphans, queries
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.rows import InstanceRow
from fleet_tui.backend.instances.settings import pending_of
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.instances.watch import Watch
from fleet_tui.backend.operations import ListOperations, OperationState
from fleet_tui.backend.providers import MachineState, OrphanList
from fleet_tui.backend.secrets.envelope import Envelope
from fleet_tui.backend.simulation import Life, populate, served
from fleet_tui.backend.store import Base, Store
from fleet_tui.backend.telemetry import ReadLines
from fleet_tui.backend.telemetry.rows import AgentRow, LineRow, StreamRow
from fleet_tui.backend.text import is_clean
from tests.backend.providers.yard import Yard
from tests.waiting import until

SEALER = Envelope(b"k" * 32)


class Frozen(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 20, 14, 2, 11, tzinfo=timezone.utc)


@pytest.fixture
def yard(store: Store, tmp_path: Path) -> Iterator[Yard]:
    found = Yard(store, tmp_path)
    yield found
    found.provider.close()
    found.feed.close()


SECRETS = ("token_hash", "key_hash", "key_sealed")
PLACES = ("path", "disk_path")


def everything(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table but for what must not follow from the seed."""
    found = {}
    with store.read() as tx:
        for table in Base.metadata.sorted_tables:
            rows = tx.execute(select(table).order_by(*table.primary_key.columns)).mappings()
            found[table.name] = [{name: value for name, value in row.items() if name not in SECRETS + PLACES} for row in rows]
    return found


def wipe(store: Store) -> None:
    with store.write() as tx:
        for table in reversed(Base.metadata.sorted_tables):
            tx.execute(table.delete())


def test_the_same_seed_gives_the_same_site(yard: Yard, store: Store) -> None:
    assert populate(store, yard.provider, yard.world, SEALER, instances=120, hosts=14, seed=3, clock=Frozen())
    first = everything(store)
    assert not populate(store, yard.provider, yard.world, SEALER, instances=50, hosts=5, seed=4, clock=Frozen()), "a site that is there is left alone"
    assert everything(store) == first
    labels = {row["label"] for row in first["instance"]}
    for seed, is_same in ((3, True), (4, False)):
        wipe(store)
        populate(store, yard.provider, yard.world, SEALER, instances=120, hosts=14, seed=seed, clock=Frozen())
        again = everything(store)
        ids = [{**row, "id": 0, "seq": 0} for row in again["line"]] == [{**row, "id": 0, "seq": 0} for row in first["line"]]
        assert (again["instance"] == first["instance"] and ids) is is_same
        assert {row["label"] for row in again["instance"]} == labels


def test_a_small_site_shows_everything_a_person_may_meet(yard: Yard, store: Store) -> None:
    populate(store, yard.provider, yard.world, SEALER, instances=200, hosts=24, seed=7)
    with store.read() as tx:
        records = queries.list_instances(tx, ListInstances(limit=1000)).instances
        places = hosts.find(tx)
    states, healths = Counter(r.state for r in records), Counter(r.health for r in records)
    assert states[InstanceState.RUNNING] > 150
    assert {InstanceState.STOPPED, InstanceState.NEW, InstanceState.DEPROVISIONED, InstanceState.FAILED} < set(states)
    assert set(Health) <= set(healths)
    assert {r.kind for r in records} == {"design", "execution", "deployer"} and sum(r.kind == "deployer" for r in records) == 1
    assert {"web-07", "db-04", "ci-12", "mail-1"} <= {r.label for r in records} and any(r.pending_changes for r in records)
    assert len({r.failed_stage for r in records if r.failed_stage}) >= 4
    assert {"kvm-01", "kvm-02"} <= {place.name for place in places} and {place.location.split("/")[0] for place in places} == {"zone-a", "zone-b"}
    assert Counter(place.connection_state for place in places)["up"] == 23
    soon = [r for r in records if r.certificate_not_after and (r.certificate_not_after - SystemClock().now()).days < 14]
    assert soon and all(r.url and r.url.startswith("https:") for r in soon)
    drivers = Drivers(yard.drivers.providers, yard.agents, yard.lines, "unix:/nowhere", sealer=yard.sealer)
    with store.read() as tx:
        board = certified.board(tx, ListBoard(), drivers)
    assert {"expired", "critical", "soon", "well"} <= {entry.state for entry in board}
    assert board[0].state == "expired" and sum(entry.mismatch for entry in board) == 2
    told = {a.label: a for a in Dashboard(store, yard.feed, yard.lines, yard.clock).summarize(Summarize(rows=10)).attention}
    assert told[board[0].owner].text.startswith("certificate ended 1 day ago") and told[board[0].owner].severity == "failed"
    assert sum("serves another certificate" in one.text and ":certificates" in one.hint for one in told.values()) == 2


def test_a_failed_instance_shows_its_cause_in_its_log_and_its_operation(yard: Yard, store: Store) -> None:
    populate(store, yard.provider, yard.world, SEALER, instances=200, hosts=24, seed=7)
    with store.read() as tx:
        failed = queries.list_instances(tx, ListInstances(state="failed")).instances
    operations = {op.target: op for op in yard.engine.list(ListOperations(states=("failed",), limit=100))}
    assert failed
    for record in failed:
        operation = operations[record.label]
        assert operation.error is not None and record.failure and operation.error.message.endswith(record.failure)
        assert not record.failure.startswith("start-up failed"), "the stage is told beside it"
        lines = yard.lines.read(ReadLines(target=f"instance:{record.id}", limit=500)).lines
        assert any(line.level == "error" and line.operation_id == operation.id for line in lines)
        assert sum(step.error is not None for step in operation.steps) == 1
        assert (record.machine is None) == (record.failed_stage == "resources")


@pytest.mark.parametrize("count", [0, 1, 5, 600])
def test_a_site_of_any_size_hangs_together(yard: Yard, store: Store, count: int) -> None:
    populate(store, yard.provider, yard.world, SEALER, instances=count, hosts=max(1, count // 50), seed=11)
    hangs_together(yard, store, count)


def test_ten_thousand_hang_together_are_listed_and_summed_up(yard: Yard, store: Store) -> None:
    populate(store, yard.provider, yard.world, SEALER, instances=10_000, hosts=200, seed=7)
    hangs_together(yard, store, 10_000)
    listed, after = [], ""
    while True:
        with store.read() as tx:
            page = queries.list_instances(tx, ListInstances(after=after, limit=1000))
        listed += [record.label for record in page.instances]
        if not (after := page.next):
            break
    assert len(listed) == len(set(listed)) == 10_000 and listed == sorted(listed)
    summary = Dashboard(store, yard.feed, yard.lines, yard.clock).summarize(Summarize(lines=20, rows=10))
    assert summary.instances["total"] == 10_000 and summary.hosts["total"] == 200
    assert 50 < summary.attention_total < 500
    down = {row.name for row in summary_hosts(store) if row.connection_state not in ("up", "disconnected")}
    assert down and down == {a.label for a in summary.attention if a.ref.startswith("host:")}
    assert summary.rows[0].state is InstanceState.FAILED
    times = [line.time for line in summary.lines]
    assert len(times) == 20 and times == sorted(times)


def summary_hosts(store: Store) -> tuple[Any, ...]:
    with store.read() as tx:
        return hosts.find(tx)


def test_attention_tells_since_when_something_is_wrong(yard: Yard, store: Store) -> None:
    """A failure of an old instance is new; a measurement of an old failure is not."""
    populate(store, yard.provider, yard.world, SEALER, instances=60, hosts=4, seed=7)
    with store.read() as tx:
        well = queries.list_instances(tx, ListInstances(state="running")).instances[0]
    with store.write() as tx:
        row = tx.get(InstanceRow, well.id)
        assert row is not None
        row.disk_used_bytes = (row.disk_used_bytes or 0) + 1
    with store.read() as tx:
        assert queries.describe(tx, well.id).updated_at == well.updated_at
    with store.write() as tx:
        row = tx.get(InstanceRow, well.id)
        assert row is not None
        row.state, row.failed_stage, row.failure = InstanceState.FAILED.value, "stop", "it does not stop"
    summary = Dashboard(store, yard.feed, yard.lines, yard.clock).summarize(Summarize(rows=10))
    assert summary.attention[0].label == well.label
    assert summary.attention[0].since > well.updated_at.timestamp()


def hangs_together(yard: Yard, store: Store, count: int) -> None:
    """Rows of all slices and the fake provider tell the same story."""
    drivers = Drivers(yard.drivers.providers, yard.agents, yard.lines, "unix:/nowhere", sealer=yard.sealer)
    watch, unchanged = Watch(store, drivers), []
    with store.read() as tx:
        rows = list(tx.scalars(select(InstanceRow)))
        agents = {agent.machine: agent for agent in tx.scalars(select(AgentRow))}
        streams = {stream.ref: stream.last_seq for stream in tx.scalars(select(StreamRow))}
        counted = Counter(tx.scalars(select(LineRow.stream)))
        told = Counter(tx.scalars(select(LineRow.stream).where(LineRow.source == "instance-agent")))
        assert all(is_clean(text) for text in tx.scalars(select(LineRow.text)))
        assert all(row.pending == pending_of(tx, row) for row in rows if row.state == "running" and (row.pending or count <= 600))
    assert len(rows) == len({row.label.lower() for row in rows}) == count
    machines = {machine.id: machine for machine in yard.provider.machines()}
    assert {row.machine for row in rows if row.machine} == set(machines) == set(agents)
    assert orphans.find(store, yard.drivers.providers) == OrphanList((), ())
    for row in rows:
        ref, agent = f"instance:{row.id}", agents.get(row.machine or "")
        assert streams[ref] == counted[ref]
        assert (row.disk_used_bytes or 0) <= row.settings["data_disk.size_gb"] * 1024**3
        if agent is not None:
            assert agent.acknowledged == told[ref]
            assert machines[agent.machine].state is (MachineState.OFF if row.state == "stopped" else MachineState.ON)
            assert [p["name"] for p in agent.phases][-1] == (row.failed_stage or "startup:ready").removeprefix("startup:")
        if row.state == "running" and agent is not None:
            before = (row.health, row.health_detail)
            watch._judge(row, agent, silent=row.health == Health.AGENT_SILENT.value)
            unchanged.append(before == (row.health, row.health_detail))
    assert all(unchanged), "the watch judges as the site says"


def test_only_the_fake_provider_carries_a_simulated_site(store: Store) -> None:
    other: Any = SimpleNamespace(name="other")
    with pytest.raises(InternalError, match="other"):
        populate(store, other, FakeWorld(), SEALER)


def test_it_lives(yard: Yard, store: Store) -> None:
    """Operations run on populated instances, one meets its fault, and whatever comes up leaves nothing in between."""
    populate(store, yard.provider, yard.world, SEALER, instances=60, hosts=6, seed=7)
    yard.engine.start()
    life = Life(store, yard.engine, yard.provider, seed=7, every_s=3600.0)
    life.start()
    try:
        def opening() -> bool:
            return sum(op.user == "sim" and op.state.is_final for op in yard.engine.list(ListOperations())) >= 3

        until(opening, 60.0)
        ended = [op for op in yard.engine.list(ListOperations(limit=500)) if op.user == "sim"]
        assert {OperationState.SUCCEEDED, OperationState.FAILED} == {op.state for op in ended if op.state.is_final}
        doomed = next(op for op in ended if op.error is not None and re.search("start-up failed at start: .* is taken by", op.error.message))
        done = yard.run("instance.retry", RetryStartup(target=doomed.target))
        assert done.state is OperationState.SUCCEEDED, done.error
        happened = {life.step().split(" ")[0] for _ in range(60)}
        assert len(happened) > 3
        yard.provider.faults.clear()
        until(lambda: not yard.engine.active(), 120.0)
        with store.read() as tx:
            states = queries.count(tx, InstanceRow.state)
        assert not any(InstanceState(state).is_transitional for state in states)
    finally:
        life.stop()
        yard.engine.stop(10.0)


def test_deprovisioned_ones_can_be_provisioned_again(yard: Yard, store: Store) -> None:
    populate(store, yard.provider, yard.world, SEALER, instances=60, hosts=6, seed=7)
    yard.engine.start()
    try:
        for state in ("deprovisioned", "new"):
            with store.read() as tx:
                record = queries.list_instances(tx, ListInstances(state=state)).instances[0]
            done = yard.run("instance.provision", ProvisionInstance(target=record.label))
            assert done.state is OperationState.SUCCEEDED, done.error
    finally:
        yard.engine.stop(10.0)


def test_certificates_of_every_strategy_and_what_can_be_amiss_with_them(yard: Yard, store: Store) -> None:
    populate(store, yard.provider, yard.world, SEALER, instances=200, hosts=24, seed=7)
    drivers = Drivers(yard.drivers.providers, yard.agents, yard.lines, "unix:/nowhere", sealer=yard.sealer)
    with store.read() as tx:
        rows = [row for row in tx.scalars(select(InstanceRow)) if row.state == "running"]
        told = {row.label: certified.show(tx, row.id, drivers) for row in rows}
        sealed = {key.ref: key for key in tx.scalars(select(CertificateKeyRow))}
    by_strategy = {strategy: [r for r in told.values() if r.strategy == strategy] for strategy in ("none", "self_signed", "per_instance", "letsencrypt")}
    assert all(by_strategy.values())
    assert not any(record.refusals for record in told.values() if record.strategy != "letsencrypt")
    given, ordered = by_strategy["per_instance"], by_strategy["letsencrypt"]
    assert all(r.in_use and r.saved and r.served for r in given) and len(sealed) == len(given)
    assert [r.mismatch for r in given].count(True) == [r.mismatch for r in by_strategy["self_signed"]].count(True) == 1 and any(0 <= (r.days_left or 0) < 7 for r in given)
    waiting = [r for r in given if r.saved and r.in_use and r.saved.fingerprint != r.in_use.fingerprint]
    assert len(waiting) == 1 and all(r.in_use and r.in_use.fingerprint for r in by_strategy["self_signed"])
    assert any(r.untrusted for r in ordered) and any(r.renewal_problem and r.retry_at for r in ordered) and all(r.renew_at and r.domains for r in ordered)
    for row in rows:
        record = told[row.label]
        if record.in_use is not None and record.in_use.chain == ():
            assert record.in_use.is_self_signed
        if record.served is not None and record.served.facts is not None:
            shown = material.describe_der(served.shown(store, str(row.private_ip)))
            assert shown.fingerprint == record.served.facts.fingerprint and (shown.fingerprint != row.certificate_fingerprint) is record.mismatch

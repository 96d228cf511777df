"""Simulated agents outlive the daemon: the next one takes them up where they were."""

from __future__ import annotations

from pathlib import Path

from fleet_tui.backend.instances import ProvisionInstance, RestartApplication
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry.rows import AgentRow
from tests.backend.providers.yard import Yard, opened
from tests.waiting import until

HELD = ("certificate", "install-or-upgrade", "ready")


def boots(store: Store) -> dict[str, tuple[str | None, int]]:
    """Boot and number of lines of each agent, by whose it is."""
    with store.read() as tx:
        return {row.ref: (row.boot, row.acknowledged) for row in tx.query(AgentRow)}


def test_agents_go_on_where_they_were(light_store: Store, tmp_path: Path) -> None:
    """The same boot, the same lines under the same numbers, none twice, none missing."""
    with opened(light_store, tmp_path) as yard:
        yard.create("settled")
        assert yard.run("instance.provision", ProvisionInstance(target="settled")).state is OperationState.SUCCEEDED
        running = []
        for phase in HELD:
            yard.create(phase, "local-tls")
            yard.provider.faults.hang(f"phase:{phase}", phase)
            submitted = yard.engine.submit("instance.provision", ProvisionInstance(target=phase), "tester").operation
            assert submitted is not None
            running.append(submitted.id)
        until(lambda: all(yard.instance(phase).agent.phase == phase for phase in HELD))
        before = boots(light_store)
    again = Yard(light_store, tmp_path)
    again.engine.start()
    try:
        for operation in running:
            assert again.finish(operation).state is OperationState.SUCCEEDED
        after = boots(light_store)
        for phase in HELD:
            ref = f"instance:{again.instance(phase).id}"
            said = [(line.phase, line.text) for line in again.log(phase) if line.source == "instance-agent"]
            assert after[ref][0] == before[ref][0] and after[ref][1] == len(said) > before[ref][1]
            assert len(said) == len(set(said))
            assert said[0][0] == "hello" and "200 in" in said[-1][1]
        assert again.run("instance.restart-app", RestartApplication(target="settled", confirmed=True)).state is OperationState.SUCCEEDED
        lines = again.log("settled")
        assert [line.seq for line in lines] == list(range(1, len(lines) + 1))
    finally:
        again.close()

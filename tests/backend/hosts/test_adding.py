"""A host is added whole or kept as an error to retry or discard; its key is one that a person accepted, and a machine is one host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from fleet_tui.backend.errors import AuthFailed, ConfirmationRequired, FleetError, InvalidInput, WrongState
from fleet_tui.backend.hosts import AddHost, ReconnectHost, ReinstallHost, RemoveHost, RetryHost
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.operations import OperationState
from fleet_tui.backend.operations.rows import OperationRow
from fleet_tui.backend.store import Store
from tests.backend.hosts.fleet import PASSWORD, Fleet, Works
from tests.waiting import until


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store, 1)


@pytest.fixture
def works(fleet: Fleet) -> Iterator[Works]:
    with fleet.links() as links:
        yield Works(fleet, links)


def request(fleet: Fleet, number: int = 2, **changes: Any) -> AddHost:
    address = f"10.0.0.{number + 1}"
    return AddHost(**{
        "target": address, "cluster": "c1", "user": "root", "password": PASSWORD,
        "accept_fingerprint": fleet.reach.machine(address).host_key.fingerprint, **changes,
    })


def row(fleet: Fleet, address: str = "10.0.0.3") -> HostRow | None:
    with fleet.store.read() as tx:
        return tx.scalar(select(HostRow).where(HostRow.address == address))


def test_a_host_is_added_and_answers(fleet: Fleet, works: Works) -> None:
    fleet.stand(2)
    record = works.through("host.add", request(fleet, tags=("rack=a3",)))
    assert record.state is OperationState.SUCCEEDED, record.error
    host = row(fleet)
    assert host is not None
    assert (host.name, host.resource_state, host.connection_state, host.serial, host.cores) == ("kvm-2", "Enabled", "up", "SN2", 32)
    assert host.host_key == fleet.reach.machine(host.address).host_key.text and host.tags == ["rack=a3"]
    assert any("kvm-2: kvm 9.0.0, x86_64, 32 cores of 2600 MHz" in line for line in works.said())
    until(lambda: (found := row(fleet)) is not None and found.measured_at is not None)
    assert ("info", "host kvm-2 added") in fleet.told(f"host:{host.id}")


def test_its_secrets_are_sealed_and_nowhere_else(fleet: Fleet, works: Works) -> None:
    fleet.stand(2)
    works.through("host.add", request(fleet, password="hush hush 12"))
    host = row(fleet)
    assert host is not None and host.password_sealed and "hush" not in host.password_sealed
    with fleet.store.read() as tx:
        kept = tx.scalars(select(OperationRow)).all()
        assert kept and not any("hush" in f"{op.request}{op.parameters}{op.error_message}" for op in kept)
    assert not any("hush" in line for line in works.said())


def test_no_key_is_accepted_by_itself(fleet: Fleet, works: Works) -> None:
    fleet.stand(2)
    with pytest.raises(ConfirmationRequired, match="host key"):
        works.submit("host.add", request(fleet, accept_fingerprint=""))
    assert row(fleet) is None
    other = fleet.reach.machine("10.0.0.2").host_key.fingerprint
    record = works.through("host.add", request(fleet, accept_fingerprint=other))
    host = row(fleet)
    assert host is not None and record.error is not None
    assert (record.error.code, record.failed_step, host.resource_state, host.host_key) == ("auth_failed", "host-key", "Error", "")
    assert other in record.error.message and host.error


@pytest.mark.parametrize(("changes", "field"), [
    ({"target": "10.0.0.300"}, "target"), ({"target": "a b"}, "target"), ({"name": "kvm-1"}, "name"), ({"name": "-x"}, "name"),
    ({"user": "Root!"}, "user"), ({"port": 0}, "port"), ({"password": ""}, "private_key"), ({"password": "a\nb"}, "password"),
    ({"private_key": "nonsense"}, "private_key"), ({"tags": ("a b",)}, "tags"), ({"target": "10.0.0.2"}, "target"),
])
def test_a_request_is_refused_for(fleet: Fleet, works: Works, changes: dict[str, Any], field: str) -> None:
    fleet.stand(2)
    with pytest.raises(InvalidInput) as refused:
        works.submit("host.add", request(fleet, **changes))
    assert field in {problem.field for problem in refused.value.problems}


def test_a_cluster_that_runs_no_hypervisor_takes_no_host(fleet: Fleet, works: Works) -> None:
    fleet.stand(2)
    with pytest.raises(WrongState, match="runs no hypervisor"):
        works.submit("host.add", request(fleet, cluster="local"))


def test_while_it_is_being_added_asking_again_finds_the_same(fleet: Fleet, works: Works) -> None:
    fleet.stand(2)
    first = works.submit("host.add", request(fleet)).operation
    again = works.submit("host.add", request(fleet))
    assert again.deduplicated and again.operation.id == first.id


def test_a_dry_run_keeps_nothing(fleet: Fleet, works: Works) -> None:
    fleet.stand(2)
    plan = works.submit("host.add", request(fleet, dry_run=True, accept_fingerprint="")).plan
    assert plan.changes == ("a host at 10.0.0.3 in cluster c1",) and not plan.refusals
    assert row(fleet) is None


def _wrong_password(fleet: Fleet) -> None:
    fleet.reach.set_password("10.0.0.3", "root", "another one")


def _dead(fleet: Fleet) -> None:
    fleet.world.power_off("kvm-2")


def _hung(fleet: Fleet) -> None:
    fleet.world.hang("kvm-2")


def _other_arch(fleet: Fleet) -> None:
    fleet.world.change_host("kvm-2", arch="aarch64")


def _twin(fleet: Fleet) -> None:
    fleet.world.change_host("kvm-2", serial="SN1")
    fleet.change("h-1", serial="SN1")


def _other_kind(fleet: Fleet) -> None:
    fleet.world.change_host("kvm-2", kind="xenserver")


@pytest.mark.parametrize(("spoil", "step", "code", "words"), [
    (_wrong_password, "log-in", "auth_failed", "refuses"), (_dead, "host-key", "unreachable", "cannot be reached"),
    (_hung, "detect", "unreachable", "does not answer"), (_other_arch, "detect", "wrong_state", "aarch64"),
    (_twin, "detect", "wrong_state", "same serial number, SN1"), (_other_kind, "detect", "unreachable", "runs no kvm but xenserver"),
])
def test_a_failure_leaves_an_error_that_can_be_retried_or_discarded(
    fleet: Fleet, works: Works, spoil: Callable[[Fleet], None], step: str, code: str, words: str
) -> None:
    fleet.stand(2)
    asked = request(fleet)
    spoil(fleet)
    record = works.through("host.add", asked)
    host = row(fleet)
    assert record.error is not None and host is not None
    assert (record.failed_step, record.error.code) == (step, code) and words in record.error.message
    assert (host.resource_state, host.connection_state, host.serial) == ("Error", "error", "") and words in host.error
    fleet.world.power_on("kvm-2")
    fleet.world.change_host("kvm-2", arch="x86_64", serial="SN2", kind="kvm", is_hung=False)
    fleet.reach.set_password("10.0.0.3", "root", PASSWORD)
    assert works.through("host.retry", RetryHost(target=host.name)).state is OperationState.SUCCEEDED
    host = row(fleet)
    assert host is not None and (host.resource_state, host.error, host.name) == ("Enabled", "", "kvm-2")


def test_an_error_is_discarded(fleet: Fleet, works: Works) -> None:
    fleet.stand(2)
    fleet.world.power_off("kvm-2")
    works.through("host.add", request(fleet))
    host = row(fleet)
    assert host is not None
    with pytest.raises(ConfirmationRequired):
        works.submit("host.remove", RemoveHost(target=host.name))
    works.through("host.remove", RemoveHost(target=host.name, confirm=host.name))
    assert row(fleet) is None


def test_cancelled_it_is_an_error_too(fleet: Fleet, works: Works) -> None:
    fleet.stand(2)
    operation = works.submit("host.add", request(fleet)).operation
    works.bench.cancel(operation.id)
    host = row(fleet)
    assert host is not None and host.resource_state == "Error" and "cancelled" in host.error


class Killed(BaseException):
    pass


def test_killed_anywhere_it_goes_on_and_is_added_once(fleet: Fleet) -> None:
    fleet.stand(2)
    points: list[str] = []

    def checkpoint(point: str) -> None:
        if point not in points:
            points.append(point)
            raise Killed

    with fleet.links() as links:
        works = Works(fleet, links, checkpoint)
        operation = works.submit("host.add", request(fleet)).operation
        works.bench.claim()
        for _ in range(100):
            try:
                record = works.bench.run(operation.id)
                break
            except Killed:
                continue
        assert record.state is OperationState.SUCCEEDED and len(points) > 20
    with fleet.store.read() as tx:
        assert [host.name for host in tx.scalars(select(HostRow).where(HostRow.cluster_id == "c-1").order_by(HostRow.name))] == ["kvm-1", "kvm-2"]


def test_a_host_is_installed_anew_with_its_old_settings(fleet: Fleet, works: Works) -> None:
    until(fleet.stands(1, "up"))
    fleet.change("h-1", resource_state="Maintenance", tags=["rack=a1"])
    asked = ReinstallHost(target="kvm-1", accept_fingerprint="any-once", confirmed=True, wait_s=20)
    operation = works.submit("host.reinstall", asked).operation
    fleet.reach.change_key("10.0.0.2", "fresh")
    assert works.bench.claim().started
    record = works.bench.run(operation.id)
    assert record.state is OperationState.SUCCEEDED, record.error
    host = fleet.host(1)
    assert (host.id, host.tags, host.resource_state) == ("h-1", ["rack=a1"], "Enabled")
    assert host.host_key == fleet.reach.machine("10.0.0.2").host_key.text
    assert any("any-once" in line for line in works.said())


def test_installing_anew_waits_for_the_key_that_was_named(fleet: Fleet, works: Works) -> None:
    fleet.change("h-1", resource_state="Degraded")
    asked = ReinstallHost(target="kvm-1", accept_fingerprint="SHA256:other", confirmed=True, wait_s=0.2)
    record = works.through("host.reinstall", asked)
    assert record.error is not None and record.error.code == "timeout" and fleet.host(1).resource_state == "Error"


@pytest.mark.parametrize("kind", ["host.add", "host.reconnect"])
def test_nothing_is_begun_while_credentials_do_not_match(fleet: Fleet, works: Works, kind: str) -> None:
    fleet.stand(2)
    fleet.change("c-1", ClusterRow, mismatch={"kvm-1": "it refuses both"})
    asked: Any = request(fleet) if kind == "host.add" else ReconnectHost(target="kvm-1")
    with pytest.raises(AuthFailed, match="kvm-1"):
        works.submit(kind, asked)


def test_a_link_is_built_anew(fleet: Fleet, works: Works) -> None:
    until(fleet.stands(1, "up"))
    before = fleet.connections("kvm-1")
    assert works.through("host.reconnect", ReconnectHost(target="kvm-1")).state is OperationState.SUCCEEDED
    assert fleet.state(1) == ("up", "") and not set(map(id, before)) & set(map(id, fleet.connections("kvm-1")))
    fleet.world.cut_link("kvm-1", "no-service")
    until(fleet.stands(1, "alert", "no-service"))
    record = works.through("host.reconnect", ReconnectHost(target="kvm-1"))
    assert record.error is not None and record.error.code == "unreachable" and "service does not run" in record.error.message


def test_the_sites_own_machine_is_never_removed(fleet: Fleet, works: Works) -> None:
    for kind, asked in (("host.remove", RemoveHost(target="localhost", force=True, confirm="localhost")), ("host.reconnect", ReconnectHost(target="localhost"))):
        with pytest.raises(FleetError, match="runs no hypervisor"):
            works.submit(kind, asked)  # type: ignore[arg-type]

"""What links say of hosts: connected, silent, silent on purpose, off, refused; with few threads, and one daemon that writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from fleet_tui.backend.errors import AuthFailed, InvalidInput, NotFound, Unreachable, WrongState
from fleet_tui.backend.hosts import access
from fleet_tui.backend.hosts.link import Link, Pace
from fleet_tui.backend.hosts.links import Links
from fleet_tui.backend.hosts.roster import places
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow
from fleet_tui.backend.store import Store
from tests.backend.hosts.fleet import FAST, Fleet
from tests.waiting import until


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store)


@pytest.fixture
def links(fleet: Fleet) -> Iterator[Links]:
    with fleet.links() as links:
        until(lambda: all(fleet.state(n) == ("up", "") for n in (1, 2, 3)), what="all hosts are up")
        yield links


def test_hosts_are_connected_and_say_what_they_are(fleet: Fleet, links: Links) -> None:
    until(lambda: fleet.host(1).measured_at is not None)
    row = fleet.host(1)
    assert (row.cores, row.mhz, row.serial, row.hypervisor_version, row.facts["nics"]) == (32, 2600, "SN1", "9.0.0", ["eth0", "eth1"])
    assert row.memory_used_bytes == 2 * 1024**3 and row.disk_bytes > 0
    assert fleet.told("host:h-1") == [("info", "kvm-1 is connected")]
    with fleet.store.read() as tx:
        assert {host.connection_state for host in tx.query(HostRow).filter_by(name="localhost")} == {"up"}


def test_a_power_cut_is_an_alert_and_power_brings_it_back(fleet: Fleet, links: Links) -> None:
    fleet.world.power_off("kvm-1")
    until(fleet.stands(1, "alert", "unreachable"))
    with pytest.raises(Unreachable, match="kvm-1 cannot be reached") as told:
        links.hypervisor("h-1")
    assert told.value.details["reason"] == "unreachable" and told.value.hint
    fleet.world.power_on("kvm-1")
    until(fleet.stands(1, "up"))
    assert links.hypervisor("h-1").facts().host_name == "kvm-1"
    levels, texts = zip(*fleet.told("host:h-1"), strict=True)
    assert levels == ("info", "warn", "info") and "does not answer: no answer at its address" in texts[1] and "answers again after" in texts[2]
    assert fleet.state(2) == ("up", "")


def test_a_power_off_that_is_expected_is_no_alarm_until_its_time_is_over(fleet: Fleet, links: Links) -> None:
    links.expect_off("h-1")
    fleet.world.power_off("kvm-1")
    until(fleet.stands(1, "disconnected", "unreachable"))
    assert not [text for level, text in fleet.told("host:h-1") if level != "info"]
    fleet.change("h-1", expected_off_until=fleet.clock.now())
    until(fleet.stands(1, "alert", "unreachable"))
    fleet.change("h-1", expected_off_until=None)
    links.expect_off("h-1")
    until(fleet.stands(1, "disconnected", "unreachable"))
    fleet.world.power_on("kvm-1")
    until(fleet.stands(1, "up"))
    assert fleet.host(1).expected_off_until is None


def test_a_question_without_an_answer_breaks_the_link(fleet: Fleet, links: Links) -> None:
    for question in ("host:ping", "host:figures"):
        fleet.world.faults.hang(question, "kvm-1")
    until(fleet.stands(1, "alert", "unreachable"))
    assert "no answer within 1 s" in fleet.told("host:h-1")[-1][1]
    until(fleet.stands(1, "up"))


def test_a_hypervisor_that_hangs_is_told_from_a_machine_that_is_gone(fleet: Fleet, links: Links) -> None:
    fleet.world.hang("kvm-1")
    until(fleet.stands(1, "alert", "no-rpc"))
    fleet.world.wake("kvm-1")
    until(fleet.stands(1, "up"))


def test_another_host_key_is_never_accepted(fleet: Fleet, links: Links) -> None:
    fleet.reach.change_key(fleet.host(1).address, "somebody in between")
    links.drop("h-1")
    until(fleet.stands(1, "alert", "access-denied"))
    with pytest.raises(AuthFailed, match="host key"):
        links.hypervisor("h-1")
    with pytest.raises(AuthFailed, match="host key"):
        links.shell("h-1")


def test_another_daemon_may_ask_that_a_link_be_built_anew(fleet: Fleet, links: Links) -> None:
    before = fleet.connections("kvm-1")
    fleet.change("h-1", connection_state="connecting")
    until(lambda: (now := fleet.connections("kvm-1")) and now[0] is not before[0])
    until(fleet.stands(1, "up"))


def test_a_restart_is_no_news(fleet: Fleet) -> None:
    for _ in range(2):
        with fleet.links() as links:
            until(lambda links=links: links.is_up("h-1") and fleet.state(1) == ("up", ""))  # type: ignore[misc]
    fleet.world.power_off("kvm-1")
    with fleet.links():
        until(fleet.stands(1, "alert", "unreachable"))
    with fleet.links():
        until(fleet.stands(2, "up"))
    assert [text.partition(":")[0] for _, text in fleet.told("host:h-1")] == ["kvm-1 is connected", "kvm-1 does not answer"]


def test_a_bmc_that_says_off_makes_a_silent_host_down(fleet: Fleet) -> None:
    with fleet.links(is_off=lambda host_id: host_id == "h-1"):
        until(fleet.stands(1, "up"))
        fleet.world.power_off("kvm-1")
        until(fleet.stands(1, "down", "off"))
        assert fleet.told("host:h-1")[-1] == ("error", "kvm-1 is down: its BMC says that the power is off")


def test_nothing_is_sent_to_an_unmanaged_cluster(fleet: Fleet, links: Links) -> None:
    fleet.change("c-1", ClusterRow, managed="PrepareUnmanaged")
    until(lambda: all(fleet.state(n)[0] == "disconnected" for n in (1, 2, 3)))
    assert not fleet.connections("kvm-1")
    with pytest.raises(WrongState, match="not managed"):
        links.hypervisor("h-1")
    fleet.change("c-1", ClusterRow, managed="Managed")
    until(fleet.stands(1, "up"))


def test_a_host_that_is_gone_is_let_go(fleet: Fleet, links: Links) -> None:
    with fleet.store.write() as tx:
        tx.delete(tx.get_one(HostRow, "h-3"))
    links.refresh()
    until(lambda: not fleet.connections("kvm-3"))
    with pytest.raises(NotFound):
        links.hypervisor("h-3")


def test_hosts_being_added_are_left_to_who_adds_them(fleet: Fleet) -> None:
    fleet.change("h-1", resource_state="Creating", connection_state="creating")
    with fleet.links() as links:
        until(fleet.stands(2, "up"))
        assert fleet.state(1) == ("creating", "")
        assert links.hypervisor("h-1").facts().host_name == "kvm-1"
        fleet.change("h-1", resource_state="Enabled")
        until(fleet.stands(1, "up"))


def test_the_sites_own_machine_has_nothing_to_drive(fleet: Fleet, links: Links) -> None:
    with fleet.store.read() as tx:
        own = tx.query(HostRow).filter_by(name="localhost").one().id
    for ask in (links.hypervisor, links.shell):
        with pytest.raises(WrongState, match="runs no hypervisor"):
            ask(own)


def test_no_shell_where_credentials_are_known_not_to_match(fleet: Fleet, links: Links) -> None:
    with closing(links.shell("h-1")) as shell:
        assert shell.run("hostname").out == "kvm-1\n"
    fleet.change("c-1", ClusterRow, mismatch={"kvm-2": "the new password is refused"})
    with pytest.raises(AuthFailed, match="kvm-2") as told:
        links.shell("h-1")
    assert told.value.details["hosts"] == {"kvm-2": "the new password is refused"}


def test_many_hosts_cost_few_threads_and_dead_ones_do_not_keep_the_living_waiting(store: Store) -> None:
    fleet = Fleet(store, 120)
    before = threading.active_count()
    for number in range(1, 60):
        fleet.world.power_off(f"kvm-{number}")
    with fleet.links(dialers=4, askers=4):
        until(lambda: all(fleet.state(n)[0] == "up" for n in range(60, 121)) and all(fleet.state(n)[0] == "alert" for n in range(1, 60)), timeout=60)
        assert threading.active_count() - before <= 9


def test_many_who_ask_dial_once(fleet: Fleet) -> None:
    links = Links(fleet.store, fleet.world, fleet.reach, fleet.sealer, fleet.clock, pace=FAST)  # without its watcher
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(links.hypervisor("h-1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(found) == 8 and len(set(map(id, found))) == 1
    links.stop()


def test_one_daemon_writes_and_another_takes_over(postgres_database: str, server: object) -> None:
    server.empty(postgres_database)  # type: ignore[attr-defined]
    store, other_store = Store(postgres_database), Store(postgres_database)
    fleet = Fleet(store)
    with fleet.links(store=other_store) as second:
        with fleet.links() as first:
            until(fleet.stands(1, "up"))
            holders = [links for links in (first, second) if links._turn._connection is not None]
            assert len(holders) == 1
            idle = second if holders[0] is first else first
            assert not idle.is_up("h-1") and idle.hypervisor("h-1").facts().host_name == "kvm-1"
        until(lambda: second.is_up("h-2"))
        fleet.world.power_off("kvm-2")
        until(fleet.stands(2, "alert", "unreachable"))
    assert len([text for _, text in fleet.told("host:h-2") if "does not answer" in text]) == 1
    store.close()
    other_store.close()


def test_attempts_become_rarer(fleet: Fleet) -> None:
    pace = Pace()
    with fleet.store.read() as tx:
        link = Link(places(tx, "h-1")[0])
    link.error = Unreachable("no", reason="connection-refused")
    waits = []
    for link.failures in range(1, 8):
        waits.append(link.retry_in(pace))
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    link.error = Unreachable("no", reason="no-service")
    assert link.retry_in(pace) == 60


def test_a_driver_that_is_not_installed_is_said_as_such(fleet: Fleet) -> None:
    fleet.change("c-1", ClusterRow, hypervisor="hyperv")
    with fleet.links() as links:
        until(fleet.stands(1, "alert", "not-yet-probed"))
        with pytest.raises(InvalidInput, match="no driver for hypervisor 'hyperv'"):
            links.hypervisor("h-1")


def test_a_master_key_is_known_by_what_was_sealed_under_it(fleet: Fleet) -> None:
    sealed = access.any_sealed(fleet.store)
    assert sealed.split(".")[1] == fleet.sealer.key_id
    for number in (1, 2, 3):
        fleet.change(f"h-{number}", password_sealed="")
    assert access.any_sealed(fleet.store) == ""

"""Real hosts under a real daemon: added by their keys, watched through power cuts and dead libvirts, given a password, and let go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fleet_tui.backend import hosts as h
from fleet_tui.backend.errors import ConfirmationRequired, InvalidInput, WrongState
from fleet_tui.backend.events import ListEvents
from fleet_tui.backend.operations import OperationRecord
from fleet_tui.backend.remote import Login
from fleet_tui.backend.remote.ssh import SshReach
from tests.journeys.site import Site, site
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.waiting import until

pytestmark = REAL_HOSTS


@pytest.fixture
def fleet() -> Iterator[Site]:
    """A site with an enabled cluster ``c1`` and no host in it."""
    with site() as found:
        found.call(h.CreateZone("z1", request_id="z"))
        found.call(h.CreatePod("p1", "z1", request_id="p"))
        found.call(h.CreateCluster("c1", "z1", "p1", request_id="c"))
        for kind, name in (("zone", "z1"), ("pod", "p1"), ("cluster", "c1")):
            found.call(h.SetAllocation(kind, name, True))
        yield found


def request(lab: Lab, host: Host, **changes: Any) -> h.AddHost:
    return h.AddHost(**{"target": host.address, "cluster": "c1", "user": "root", "private_key": lab.key, **changes})


def fingerprint(site: Site, asked: h.AddHost) -> str:
    with pytest.raises(ConfirmationRequired) as refused:
        site.client().call(replace(asked, request_id=f"look-{asked.target}"))
    found: str = refused.value.details["fingerprint"]
    assert found in refused.value.message
    return found


def add(site: Site, lab: Lab, host: Host, **changes: Any) -> OperationRecord:
    asked = request(lab, host, **changes)
    return site.do(replace(asked, accept_fingerprint=fingerprint(site, asked)), timeout=90)


def show(site: Site, name: str) -> h.HostRecord:
    record: h.HostRecord = site.call(h.ShowHost(name))
    return record


def stands(site: Site, name: str, state: str, *reasons: str) -> h.HostRecord:
    def found() -> h.HostRecord | None:
        record = show(site, name)
        return record if record.connection_state == state and (not reasons or record.reason in reasons) else None

    record = until(found, 90.0, f"{name} is {state} {' or '.join(reasons)}")
    assert record is not None
    return record


def sentences(site: Site, name: str) -> list[str]:
    """What was told of a host, oldest first."""
    ref = f"host:{show(site, name).id}"
    return [event.text for event in reversed(site.call(ListEvents(limit=100, ref=ref)))]


def test_hosts_are_added_by_their_keys_and_known_for_what_they_are(fleet: Site, lab: Lab) -> None:
    first, second, third = lab.hosts
    add(fleet, lab, first)
    add(fleet, lab, second, private_key="", password=lab.password, tags=("rack=a2",))
    records = [stands(fleet, name, "up") for name in ("kvm1", "kvm2")]
    assert all(record.allocatable and record.resource_state == "Enabled" and record.cores > 0 and record.memory_bytes > 0 for record in records)
    assert len({record.serial for record in records}) == 2 and "QEMU" in records[0].version
    until(lambda: all(show(fleet, name).measured_at for name in ("kvm1", "kvm2")), what="figures")
    with pytest.raises(InvalidInput, match="kvm1"):
        fleet.client().call(request(lab, first))
    wrong = fleet.fails(request(lab, third, accept_fingerprint=show(fleet, "kvm1").host_key), timeout=90)
    assert wrong.error is not None and wrong.error.code == "auth_failed" and wrong.failed_step == "host-key"
    record = show(fleet, third.address)
    assert record.resource_state == "Error" and "accepted was" in record.error
    fleet.do(h.RemoveHost(target=third.address, confirm=third.address))
    add(fleet, lab, third, private_key="", password=lab.password)
    stands(fleet, "kvm3", "up")
    everything = "\n".join(fleet.log()) + "\n".join(line.text for name in ("kvm1", "kvm2", "kvm3") for line in fleet.lines(name))
    assert lab.password not in everything and "PRIVATE KEY" not in everything
    assert not fleet.complaints()


def test_power_cable_libvirtd_and_daemon_come_and_go(fleet: Site, lab: Lab) -> None:
    for host in lab.hosts[:2]:
        add(fleet, lab, host)
    first, second = lab.hosts[:2]
    stands(fleet, "kvm1", "up")
    stands(fleet, "kvm2", "up")
    first.off()
    assert "does not answer" in sentences(fleet, stands(fleet, "kvm1", "alert", "unreachable").name)[-1]
    second.stop_libvirtd()
    stands(fleet, "kvm2", "alert", "no-service", "no-rpc")
    fleet.kill()
    first.on()
    first.wait()
    second.start_libvirtd()
    fleet.await_door()
    stands(fleet, "kvm1", "up")
    fleet.do(h.ReconnectHost(target="kvm2"), timeout=90)
    assert "answers again after" in sentences(fleet, "kvm1")[-1]
    second.hang_libvirtd()
    stands(fleet, "kvm2", "alert", "no-rpc", "no-service", "unreachable")
    second.resume_libvirtd()
    stands(fleet, "kvm2", "up")
    told = len(sentences(fleet, "kvm1"))
    fleet.kill()
    fleet.await_door()
    until(lambda: (m := show(fleet, "kvm1").measured_at) is not None and m.timestamp() > fleet.client().call(_site()).started_at, 60, "figures anew")
    assert show(fleet, "kvm1").connection_state == "up" and len(sentences(fleet, "kvm1")) == told, "a restart is no news"


def _site() -> Any:
    from fleet_tui.backend.api import DescribeSite

    return DescribeSite()


def test_one_password_for_a_cluster_and_a_dead_host_leaves_by_degraded(fleet: Site, lab: Lab) -> None:
    for host in lab.hosts[:2]:
        add(fleet, lab, host)
    stands(fleet, "kvm1", "up")
    stands(fleet, "kvm2", "up")
    fresh = "correct horse: 9 battery"
    try:
        fleet.do(h.SetClusterPassword(target="c1", password=fresh, confirmed=True), timeout=120)
        for host in lab.hosts[:2]:
            SshReach().open(Login(host.address, "root", password=fresh, host_key=host.host_key)).close()
        assert fresh not in "\n".join(fleet.log())
        with pytest.raises(WrongState, match="needs Maintenance or Degraded"):
            fleet.client().call(h.RemoveHost(target="kvm1", confirm="kvm1"))
        lab.hosts[0].off()
        stands(fleet, "kvm1", "alert", "unreachable")
        fleet.do(h.DeclareDegraded(target="kvm1", confirmed=True))
        assert show(fleet, "kvm1").why_not == "the host is Degraded"
        fleet.do(h.RemoveHost(target="kvm1", confirm="kvm1"))
        assert [record.name for record in fleet.call(h.ListHosts())] == ["kvm2", "localhost"]
    finally:
        for host in lab.hosts[:2]:
            host.set_password(lab.password)

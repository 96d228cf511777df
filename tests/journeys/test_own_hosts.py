"""An instance on our own hosts, for real: a VM from a cloud image on a guest network, whose agent calls in through the TLS door.

It serves HTTPS with its certificate, keeps its data disk over a reprovision and a snapshot's return, and goes on serving while its host is emptied.
"""

from __future__ import annotations

import os
import shutil
import ssl
import threading
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from urllib.request import urlopen

import pytest

from fleet_tui.backend import instances as i
from fleet_tui.backend import machines as v
from fleet_tui.backend import maintenance as m
from fleet_tui.backend import networks as n
from fleet_tui.backend import providers as p
from fleet_tui.backend.instances.profiles import CreateVirtualNetwork
from fleet_tui.backend.instances.states import Health, InstanceState
from fleet_tui.backend.networks.states import Scope
from fleet_tui.backend.operations import OperationState
from tests.journeys.real_hosts import real_fleet, where
from tests.journeys.site import Site
from tests.lab import cloud_image
from tests.lab.commands import run
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.lab import BASE, Lab
from tests.lab.router import Router
from tests.waiting import until

pytestmark = REAL_HOSTS
VLAN, CIDR, GATEWAY = 3500, "10.5.0.0/24", "10.5.0.254"
TIMEOUTS = "hello_s=420,start_s=240,action_s=120,install_s=240,health_s=120,stop_s=20,health_interval_s=2"
BOOT_S = 600.0
"""Longest for a guest to boot and its agent to be through: it is emulated, and a minute alone."""


@pytest.fixture
def fleet(lab: Lab) -> Iterator[Site]:
    """Three real hosts with a guest network that is routed to us, a cloud image on their storage, and a virtual network for instances."""
    lacking = [*cloud_image.lacking(), *([] if shutil.which("xorriso") else ["xorriso"])]
    if lacking:
        pytest.skip(f"a cloud image takes {', '.join(lacking)} (Debian packages)")
    os.link(cloud_image.built(BASE), lab.shared / "debian.qcow2")
    flags = ("--agent-listen", f"{lab.network.net}.1", "--timeouts", TIMEOUTS, "--maintenance", "retry_s=3,watch_s=1,silence_s=60")
    with Router(lab) as router, real_fleet(lab, *flags) as found:
        router.carry(VLAN, CIDR, GATEWAY)
        found.call(n.CreatePhysicalNetwork("fabric", "z1", nic_labels={"kvm": "eth1"}, ranges="3500-3599"))
        found.call(n.EditPhysicalNetwork("fabric", enabled=True))
        found.call(n.SetScope("fabric", VLAN, VLAN, Scope.GUEST_ASSIGNED))
        found.call(n.CreateNetworkOffering("fixed", specify_vlan=True))
        found.call(n.CreateNetwork("shop", "fixed", "fabric", vlan=VLAN, cidr=CIDR, gateway=GATEWAY))
        found.call(v.DeleteOffering("tiny", confirm="tiny"))
        found.call(v.CreateOffering("node", cores=1, mhz=100, memory_mib=512, request_id="node"))
        found.call(p.RegisterCloudImage("debian", "z1", str(lab.shared / "debian.qcow2")))
        place = {"provider": "own_hosts", "zone": "z1", "guest_network": "shop", "assign_public_ip": False}
        found.call(CreateVirtualNetwork("own", {**place, "https_strategy": "self_signed"}))
        yield found


def certificate_of(url: str) -> str:
    """What is served there now, whoever vouches for it."""
    host, _, port = url.removeprefix("https://").rstrip("/").rpartition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=10)


def page(url: str, pem: str) -> str:
    """Over HTTPS; only that certificate is believed, and only for the address it is called by."""
    with urlopen(url, timeout=60, context=ssl.create_default_context(cadata=pem)) as answer:
        return str(answer.read().decode())


def url_of(fleet: Site, label: str) -> str:
    url = fleet.show(label).url
    assert url is not None and url.startswith("https://10.5.0.")
    return url


class Visitor:
    """Asks for the page again and again, from a thread of its own, while the block runs."""

    def __init__(self, url: str, pem: str) -> None:
        self._url, self._pem = url, pem
        self._ended = threading.Event()
        self._asking = threading.Thread(target=self._ask)
        self.answers = 0
        self.failures: list[str] = []
        """Requests that got no answer: refused, reset, or not within a minute."""

    def __enter__(self) -> Visitor:
        self._asking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._asking.join(90)

    def goes_on(self) -> None:
        before = self.answers
        until(lambda: self.answers > before + 3, 90, "it answers")

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                page(self._url, self._pem)
                self.answers += 1
            except OSError as problem:
                self.failures.append(str(problem))


def test_an_instance_serves_from_a_vm_keeps_its_data_and_outlives_its_hosts_maintenance(fleet: Site, lab: Lab) -> None:
    fleet.create("web", network="own", data_disk__size_gb=10, data_disk__size_max_gb=20)
    fleet.do(i.ProvisionInstance(target="web"), timeout=BOOT_S)
    record = fleet.show("web")
    assert (record.state, record.health) == (InstanceState.RUNNING, Health.OK)
    assert record.machine is not None and len(where(lab, record.machine)) == 1
    url = url_of(fleet, "web")
    pem = certificate_of(url)
    assert "Hello from web" in page(url, pem)
    told = " ".join(fleet.texts("web", "data-disk"))
    assert "carries no signature, formatting it" in told and "is blank, formatting it" in told

    # Its host is emptied while it serves
    host = where(lab, record.machine)[0]
    with Visitor(url, pem) as visitor:
        visitor.goes_on()
        done = fleet.do(m.MaintainHost(target=host, reason="replace DIMM A3", confirmed=True), timeout=300)
        visitor.goes_on()
    assert done.state is OperationState.SUCCEEDED and fleet.call(m.ShowMaintenance(host)).resource_state == "Maintenance"
    assert len(where(lab, record.machine)) == 1 and where(lab, record.machine) != [host]
    assert not visitor.failures, "every request got its answer"
    assert sum("serves web on port" in text for text in fleet.texts("web")) == 1, "the application was never started anew"
    until(lambda: [fleet.show("web").host] == where(lab, record.machine), 60, "it is shown where it is")
    assert fleet.show("web").machine == record.machine and fleet.show("web").health is Health.OK

    # Its data outlives its machine
    visits = page(url, pem)
    fleet.do(i.ReprovisionInstance(target="web", confirmed=True), timeout=BOOT_S)
    again = fleet.show("web")
    assert again.state is InstanceState.RUNNING and again.machine != record.machine and where(lab, record.machine) == []
    assert certificate_of(url_of(fleet, "web")) == pem or again.url != url, "the certificate of the data disk is served again"
    assert "recognised" in " ".join(fleet.texts("web", "data-disk"))
    assert _visits(page(url_of(fleet, "web"), certificate_of(url_of(fleet, "web")))) > _visits(visits)
    assert not fleet.complaints()


def test_a_killed_daemon_a_foreign_disk_and_a_snapshot(fleet: Site, lab: Lab) -> None:
    fleet.create("db", network="own", data_disk__size_gb=10, data_disk__size_max_gb=20)
    operation = fleet.submit(i.ProvisionInstance(target="db"))
    until(lambda: (machine := fleet.show("db").machine) and where(lab, machine), 180, "its VM runs")
    fleet.kill()
    fleet.await_door()
    assert fleet.ended(operation.id, BOOT_S).state is OperationState.SUCCEEDED
    record = fleet.show("db")
    assert len(fleet.call(v.ListVms()).vms) == 1 and [vm.name for vm in fleet.call(v.ListVms()).vms] == [record.machine]
    visits = _visits(page(url_of(fleet, "db"), certificate_of(url_of(fleet, "db"))))

    fleet.do(i.SnapshotDisk(target="db", reason="before somebody confused the disks"), timeout=180)
    (snapshot,) = fleet.call(i.ListSnapshots("db"))
    assert fleet.show("db").health is Health.OK, "it was made while the machine ran"
    fleet.do(i.DeprovisionInstance(target="db", confirmed=True), timeout=180)
    disk = Path(record.data_disk.path)
    assert disk.exists() and not fleet.call(v.ListVms()).vms

    foreign = _foreign(disk)
    failed = fleet.fails(i.ProvisionInstance(target="db"), timeout=BOOT_S)
    assert failed.error is not None and "data-disk" in failed.error.message and "ext4, label 'mysql'" in failed.error.message
    assert fleet.show("db").failed_stage == "startup:data-disk" and _content(disk) == foreign

    fleet.do(i.ReprovisionInstance(target="db", snapshot=snapshot.id, confirmed=True), timeout=BOOT_S)
    assert fleet.show("db").state is InstanceState.RUNNING
    assert "recognised" in fleet.texts("db", "data-disk")[-2] + fleet.texts("db", "data-disk")[-1]
    assert _visits(page(url_of(fleet, "db"), certificate_of(url_of(fleet, "db")))) > visits


def _foreign(disk: Path) -> str:
    """Somebody else's file system in the place of the data disk; a hash of what is on it."""
    raw = disk.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(64 * 1024**2)
    run("mkfs.ext4", "-q", "-F", "-L", "mysql", raw)
    run("qemu-img", "convert", "-O", "qcow2", raw, disk)
    raw.unlink()
    return _content(disk)


def _content(disk: Path) -> str:
    raw = disk.with_suffix(".look")
    try:
        run("qemu-img", "convert", "-U", "-O", "raw", disk, raw, timeout=120)  # a machine whose start-up failed is kept, and holds it
        with raw.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    finally:
        raw.unlink(missing_ok=True)


def _visits(text: str) -> int:
    return int(text.partition("Visits</dt><dd>")[2].partition("<")[0])

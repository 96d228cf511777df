"""What wires of every host must do, the fake included: segments made, found, mended and removed, with guests' cards in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from fleet_tui.backend.errors import FleetError, InternalError, InUse, Unreachable, WrongState
from fleet_tui.backend.hypervisors import GuestState, MoveOptions, Nic
from fleet_tui.backend.networks.fake_wires import SWITCH, FakeWires
from fleet_tui.backend.networks.linux import LinuxWires
from fleet_tui.backend.networks.states import Isolation, Technique
from fleet_tui.backend.networks.wires import Found, Segment, Wires, tap_address
from tests.contracts.benches import Bench, FakeBench
from tests.lab.bench import LabBench, lab_bench
from tests.lab.fixtures import REAL_HOSTS
from tests.waiting import until

MAC = "02:00:5e:10:00:0{}"
KINDS = ("kernel", "ovs", "vxlan")


class Wired(Protocol):
    """Hosts that carry segments by one technique, and hands that reach into them."""

    bench: Bench
    how: Technique
    switch: str

    def wires(self, number: int = 0) -> Wires: ...

    def segment(self, number: int, host: int = 0) -> Segment: ...

    def snip(self, found: Found) -> None:
        """Somebody removes a segment of the first host by hand, with everything in it."""
        ...

    def misplace(self, found: Found) -> None:
        """Somebody puts it where it does not belong."""
        ...


class FakeWired:
    switch = SWITCH

    def __init__(self, how: Technique, directory: Path) -> None:
        self.how, self.bench = how, FakeBench(directory)
        for name in self.bench.hosts:
            self.bench.world.change_host(name, technique="kernel" if how is Technique.VXLAN else how.value)

    def wires(self, number: int = 0) -> Wires:
        return FakeWires(self.bench.world, self.bench.world.reach.open(self.bench.login(self.bench.hosts[number])))

    def segment(self, number: int, host: int = 0) -> Segment:
        is_vxlan = self.how is Technique.VXLAN
        return Segment(Isolation.VXLAN if is_vxlan else Isolation.VLAN, number, "eth0" if is_vxlan else "eth1")

    def snip(self, found: Found) -> None:
        host = self.bench.world.host(self.bench.hosts[0])
        self.bench.world.change_host(host.id, interfaces=[one for one in host.interfaces if one["number"] != found.number])

    def misplace(self, found: Found) -> None:
        host = self.bench.world.host(self.bench.hosts[0])
        self.bench.world.change_host(host.id, interfaces=[{**one, "bridge": "virbr0"} if one["number"] == found.number else one for one in host.interfaces])

    def close(self) -> None:
        self.bench.close()


class LabWired:
    """Kernel VLANs by eth2, Open vSwitch by eth1, VXLAN by eth0."""

    switch = "ovs0"

    def __init__(self, how: Technique, bench: LabBench) -> None:
        self.how, self.bench = how, bench
        self._open: list[Wires] = []

    def wires(self, number: int = 0) -> Wires:
        self._open.append(LinuxWires(self.bench.reach().open(self.bench.login(self.bench.hosts[number]))))
        return self._open[-1]

    def segment(self, number: int, host: int = 0) -> Segment:
        if self.how is not Technique.VXLAN:
            return Segment(Isolation.VLAN, number, "eth1" if self.how is Technique.OVS else "eth2")
        addresses = [self.bench.login(name).address for name in self.bench.hosts]
        local = addresses.pop(host)
        return Segment(Isolation.VXLAN, number, "eth0", local, tuple(addresses))

    def snip(self, found: Found) -> None:
        host = self.bench.host(self.bench.hosts[0])
        if self.how is Technique.OVS:
            host.run("ovs-vsctl", "del-br", found.device)
        else:
            for name in (found.device, found.bridge):
                host.run("ip", "link", "del", "dev", name) if self.how is Technique.VXLAN else host.run("/usr/local/sbin/ip", "link", "del", "dev", name)

    def misplace(self, found: Found) -> None:
        host = self.bench.host(self.bench.hosts[0])
        if self.how is Technique.OVS:
            host.run("ovs-vsctl", "set", "port", found.device, "tag=77")
        else:
            host.run("ip", "link", "set", "dev", found.device, "nomaster")

    def close(self) -> None:
        for wires in self._open:
            wires.close()
        self.bench.close()


@pytest.fixture(params=[*(f"fake-{how}" for how in KINDS), *(pytest.param(f"lab-{how}", marks=REAL_HOSTS) for how in KINDS)])
def wired(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wired]:
    where, _, how = request.param.partition("-")
    found = FakeWired(Technique(how), tmp_path) if where == "fake" else LabWired(Technique(how), lab_bench(request))
    try:
        yield found
    finally:
        found.close()


def there(wired: Wired, segment: Segment, host: int = 0) -> Found | None:
    found = [one for one in wired.wires(host).present(segment.isolation, segment.label) if one.number == segment.number]
    assert len(found) < 2
    return found[0] if found else None


def run_guest(wired: Wired, segment: Segment, name: str = "a", *, number: int = 1) -> tuple[str, Nic]:
    """A guest of the first host that runs with a card in the segment."""
    nic = wired.wires().ensure(segment).nic(MAC.format(number), str(uuid4()))
    spec = replace(wired.bench.spec(name), nics=(nic,))
    host = wired.bench.connect(wired.bench.hosts[0])
    host.create(spec)
    host.start(spec.id)
    return spec.id, nic


def test_a_segment_comes_and_goes(wired: Wired) -> None:
    wires, segment = wired.wires(), wired.segment(500)
    assert wires.technique(segment.isolation, segment.label) is wired.how and not wires.present(segment.isolation, segment.label)
    plugs = [wires.ensure(segment) for _ in range(2)]
    assert plugs[0] == plugs[1] and plugs[0].technique is wired.how
    names = {"kernel": (f"{segment.label}.500", f"br{segment.label}-500"), "ovs": (f"br{segment.label}-500", wired.switch), "vxlan": ("vx500", "brvx-500")}
    assert (plugs[0].device, plugs[0].bridge) == names[wired.how.value] and plugs[0].tag == (500 if wired.how is Technique.OVS else 0)
    assert there(wired, segment) == Found(500, wired.how, *names[wired.how.value])
    wires.ensure(wired.segment(5))
    for _ in range(2):
        wires.remove(segment)
        assert [one.number for one in wires.present(segment.isolation, segment.label)] == [5]


def test_a_segment_with_a_guest_in_it_stays(wired: Wired) -> None:
    segment = wired.segment(500)
    guest, nic = run_guest(wired, segment)
    found = there(wired, segment)
    assert found is not None and found.taps == (tap_address(nic.mac),) and not found.wrong
    with pytest.raises(InUse) as refused:
        wired.wires().remove(segment)
    assert "500" not in refused.value.message and there(wired, segment) == found
    wired.bench.connect(wired.bench.hosts[0]).kill(guest)
    wired.wires().remove(segment)
    assert there(wired, segment) is None


def test_a_guest_does_not_start_where_its_bridge_is_not(wired: Wired) -> None:
    segment = wired.segment(500)
    guest, nic = run_guest(wired, segment)
    host = wired.bench.connect(wired.bench.hosts[0])
    with pytest.raises(WrongState):
        host.plug(guest, ())
    host.kill(guest)
    host.plug(guest, [replace(nic, bridge="brnone-500")])
    with pytest.raises(FleetError):
        host.start(guest)
    for _ in range(2):
        host.plug(guest, [nic])
    host.start(guest)
    found = there(wired, segment)
    assert host.find(guest).state is GuestState.RUNNING and found is not None and found.taps == (tap_address(nic.mac),)
    host.kill(guest)
    host.plug(guest, ())
    wired.wires().remove(segment)
    host.start(guest)


def test_what_was_removed_by_hand_is_made_again_with_its_guests(wired: Wired) -> None:
    segment, other = wired.segment(500), wired.segment(600)
    _, nic = run_guest(wired, segment)
    _, stranger = run_guest(wired, other, "b", number=2)
    before = there(wired, segment)
    assert before is not None
    wired.snip(before)
    left = there(wired, segment)
    assert left is None or not left.taps
    wired.wires().ensure(segment, [nic])
    assert there(wired, segment) == before
    found = there(wired, other)
    assert found is not None and found.taps == (tap_address(stranger.mac),)


def test_what_hangs_wrong_is_told_and_put_right(wired: Wired) -> None:
    segment = wired.segment(500)
    _, nic = run_guest(wired, segment)
    before = there(wired, segment)
    assert before is not None
    wired.misplace(before)
    found = there(wired, segment)
    assert found is not None and found.wrong
    wired.wires().ensure(segment, [nic])
    assert there(wired, segment) == before


def test_a_guest_that_moves_is_plugged_in_where_it_arrives(wired: Wired) -> None:
    segment, beyond = wired.segment(500), wired.segment(500, host=1)
    guest, nic = run_guest(wired, segment)
    here, far = (wired.bench.connect(name) for name in wired.bench.hosts[:2])
    with pytest.raises(FleetError):
        here.migrate(guest, far, MoveOptions(nics=(replace(nic, bridge="brnone-500"),)), lambda progress: None)
    assert here.find(guest).state is GuestState.RUNNING and far.find(guest).state is GuestState.ABSENT
    plug = wired.wires(1).ensure(beyond)
    here.migrate(guest, far, MoveOptions(nics=(plug.nic(nic.mac, nic.port),)), lambda progress: None)
    found = there(wired, beyond, 1)
    assert far.find(guest).state is GuestState.RUNNING and found is not None and found.taps == (tap_address(nic.mac),)
    wired.wires().remove(segment)
    far.kill(guest)
    far.start(guest)
    assert there(wired, beyond, 1) == found


def test_several_at_once_do_not_hinder_each_other(wired: Wired) -> None:
    everyone = [wired.wires() for _ in range(4)]
    segments = [wired.segment(number) for number in (500, 501)]

    def work(wires: Wires) -> None:
        for _ in range(3):
            for segment in segments:
                wires.ensure(segment)
                wires.remove(segment)

    with ThreadPoolExecutor(len(everyone)) as pool:
        list(pool.map(work, everyone))
    assert not everyone[0].present(segments[0].isolation, segments[0].label)


def test_what_a_host_cannot_is_said_without_the_id(wired: Wired) -> None:
    segment = wired.segment(4011)
    for odd in (replace(segment, label="eth9"), replace(segment, label="$(reboot)';x"), replace(segment, isolation=Isolation.GRE)):
        with pytest.raises(WrongState) as refused:
            wired.wires().ensure(odd)
        assert "4011" not in refused.value.message + refused.value.hint
    assert there(wired, segment) is None


@pytest.mark.parametrize("how", [Technique.KERNEL, Technique.OVS])
def test_a_broken_link_is_an_error_of_the_link(how: Technique, tmp_path: Path) -> None:
    wired = FakeWired(how, tmp_path)
    wires, segment = wired.wires(), wired.segment(500)
    wired.bench.world.faults.fail("shell:run", ": wires ensure", after=True)
    with pytest.raises(Unreachable):
        wires.ensure(segment)
    again = wired.wires()
    again.ensure(segment)
    assert len(again.present(segment.isolation, segment.label)) == 1
    wired.close()


class TestOnRealHosts:
    """Halves that a kill may leave, and what must not remain of a failure."""

    pytestmark = REAL_HOSTS

    @pytest.fixture
    def wired(self, request: pytest.FixtureRequest) -> Iterator[LabWired]:
        found = LabWired(Technique.KERNEL, lab_bench(request))
        yield found
        found.close()

    @pytest.mark.parametrize("how", [Technique.KERNEL, Technique.VXLAN])
    def test_a_segment_joins_hosts_and_keeps_from_others(self, request: pytest.FixtureRequest, how: Technique) -> None:
        """Guests of one segment on two hosts reach each other; one of another segment, on the same host, reaches its own and not them."""
        wired = LabWired(how, lab_bench(request))
        bench, reached = wired.bench, {}
        places = {"a": (0, 500, "b"), "b": (1, 500, "a"), "c": (1, 600, "d,b"), "d": (2, 600, "c")}
        addresses = {name: f"10.6.0.{number}" for number, name in enumerate(places, 1)}
        for number, (name, (host, segment, asks)) in enumerate(places.items(), 1):
            nic = wired.wires(host).ensure(wired.segment(segment, host)).nic(MAC.format(number), str(uuid4()))
            asked = ",".join(addresses[other] for other in asks.split(","))
            spec = replace(bench.spec(name, cmdline=f"addr={addresses[name]}/24 ping={asked}"), nics=(nic,))
            reached[name] = (bench.connect(bench.hosts[host]), spec.id)
            reached[name][0].create(spec)
            reached[name][0].start(spec.id)

        def told(name: str, other: str, word: str) -> int:
            hypervisor, guest = reached[name]
            return hypervisor.log_of(guest, 0, 10_000_000)[1].count(f"PING {addresses[other]} {word} ")

        for one, other in (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")):
            until(lambda one=one, other=other: told(one, other, "ok") > 2, 90.0, f"{one} reaches {other}")  # type: ignore[misc]
        asked_before = told("c", "b", "no")
        until(lambda: told("c", "b", "no") > asked_before + 3, 90.0, "c asks b in vain")
        assert told("c", "b", "ok") == 0
        wired.close()

    @pytest.mark.parametrize("half", [
        ["ip link add link eth2 name eth2.500 type vlan id 500"],
        ["ip link add name breth2-500 type bridge"],
        ["ip link add link eth2 name eth2.500 type vlan id 500", "ip link add name breth2-500 type bridge"],
    ])  # fmt: skip
    def test_a_half_is_completed_and_removed(self, wired: LabWired, half: Sequence[str]) -> None:
        host, segment = wired.bench.host(wired.bench.hosts[0]), wired.segment(500)
        for then in ("ensure", "remove"):
            for line in half:
                host.run("sh", "-c", f"PATH=/usr/local/sbin:$PATH {line}")
            if then == "ensure":
                wired.wires().ensure(segment)
                assert there(wired, segment) == Found(500, Technique.KERNEL, "eth2.500", "breth2-500")
            wired.wires().remove(segment)
            assert there(wired, segment) is None and not host.says("ip", "link", "show", "eth2.500")

    def test_a_failure_takes_back_what_it_made(self, wired: LabWired) -> None:
        """Something that is no bridge has the bridge's name: the device that was made before that was found out goes again."""
        host = wired.bench.host(wired.bench.hosts[0])
        host.run("ip", "link", "add", "breth2-500", "type", "vxlan", "id", "9", "dstport", "4790", "dev", "eth0")
        with pytest.raises(InternalError) as failed:
            wired.wires().ensure(wired.segment(500))
        assert "500" not in failed.value.message
        assert not host.says("ip", "link", "show", "eth2.500")
        host.run("ip", "link", "del", "breth2-500")

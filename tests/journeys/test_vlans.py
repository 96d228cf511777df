"""Guest networks on real hosts: who reaches whom, with which tags on the trunk, before and after a live migration; interfaces that come and go."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from fleet_tui.backend import machines as v
from fleet_tui.backend import networks as n
from fleet_tui.backend.networks.states import DriftKind, NetworkState
from tests.journeys.real_hosts import counts_on, real_fleet, where
from tests.journeys.site import Site
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.wiretap import Echo, Wiretap
from tests.waiting import until

pytestmark = REAL_HOSTS
ADDRESSES = {"a": "10.5.0.1", "b": "10.5.0.2", "c": "10.5.0.3", "d": "10.5.0.4"}
PLACES = {"a": ("kvm1", "shop"), "b": ("kvm2", "shop"), "c": ("kvm2", "blog"), "d": ("kvm3", "blog")}


@pytest.fixture
def fleet(lab: Lab) -> Iterator[Site]:
    """Three real hosts in an enabled cluster, and two networks on their trunk."""
    with real_fleet(lab) as found:
        found.call(n.CreatePhysicalNetwork("fabric", "z1", nic_labels={"kvm": "eth1"}, ranges="3500-3599"))
        found.call(n.EditPhysicalNetwork("fabric", enabled=True))
        found.call(n.CreateNetworkOffering("isolated"))
        for name in ("shop", "blog"):
            found.call(n.CreateNetwork(name, "isolated", "fabric", cidr="10.5.0.0/24", gateway="10.5.0.254"))
        yield found


def create(fleet: Site, lab: Lab, name: str, *asks: str) -> None:
    """A guest that asks others whether they are there."""
    host, network = PLACES[name]
    words = f"console=ttyS0 quiet addr={ADDRESSES[name]}/24 ping={','.join(ADDRESSES[other] for other in asks)}"
    fleet.do(v.CreateVm(
        target=name, cluster="c1", offering="tiny", host=host, kernel=str(lab.boot.kernel), initrd=str(lab.boot.initrd), cmdline=words,
        networks=(network,), destroy_protected=False,
    ), timeout=120)  # fmt: skip


def number(fleet: Site, network: str) -> int:
    found = fleet.call(n.ShowNetwork(network)).vlan
    assert isinstance(found, int)
    return found


def heard(fleet: Site, name: str, other: str) -> tuple[int, int]:
    """How often a guest got an answer from another, and how often not, as it counts itself."""
    text = fleet.call(v.ReadGuestLog(name, limit=10_000_000)).text
    counts = {word: [int(found) for found in re.findall(rf"PING {re.escape(ADDRESSES[other])} {word} (\d+)\r?\n", text)] for word in ("ok", "no")}
    return max(counts["ok"], default=0), max(counts["no"], default=0)


def reaches(fleet: Site, name: str, other: str) -> None:
    """From now on."""
    before, _ = heard(fleet, name, other)
    until(lambda: heard(fleet, name, other)[0] >= before + 3, 90, f"{name} reaches {other}")


def reaches_not(fleet: Site, name: str, other: str) -> None:
    """It asks several times from now on, and never gets an answer."""
    before, asked = heard(fleet, name, other)
    until(lambda: heard(fleet, name, other)[1] >= asked + 4, 90, f"{name} asks {other} in vain")
    assert heard(fleet, name, other)[0] == before == 0, f"{name} reaches {other} on another network"


def carried(host: Host) -> set[int]:
    """IDs that the host has interfaces for: asked of the host itself."""
    return {int(name.removeprefix("breth1-")) for name in host.run("ovs-vsctl", "list-br").split() if name.startswith("breth1-")}


def tagged(lab: Lab, host: int, name: str, other: str, tag: int) -> None:
    """Echoes between the two pass a host's cable, in both directions, with that tag and no other."""
    wanted = {Echo(ADDRESSES[name], ADDRESSES[other], tag), Echo(ADDRESSES[other], ADDRESSES[name], tag)}
    seen: set[Echo] = set()

    def both() -> bool:
        seen.update(tap.echoes())
        return wanted <= seen

    with Wiretap(lab.network.trunk_end(host)) as tap:
        until(both, 60, f"echoes between {name} and {other} tagged {tag}")
    ours = {ADDRESSES[name], ADDRESSES[other]}
    assert {echo.tag for echo in seen if {echo.source, echo.destination} == ours} == {tag}


def test_networks_reach_across_hosts_and_keep_apart_on_one(fleet: Site, lab: Lab) -> None:
    first, second, third = lab.hosts
    assert not any(carried(host) for host in lab.hosts)
    create(fleet, lab, "a", "b")
    shop = number(fleet, "shop")
    assert carried(first) == {shop} and not carried(second)
    create(fleet, lab, "b", "a", "c")
    create(fleet, lab, "c", "d", "b")
    create(fleet, lab, "d", "c", "a")
    blog = number(fleet, "blog")
    assert shop != blog and [carried(host) for host in lab.hosts] == [{shop}, {shop, blog}, {blog}]
    for one, other in (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")):
        reaches(fleet, one, other)
    for one, other in (("c", "b"), ("b", "c"), ("d", "a")):
        reaches_not(fleet, one, other)
    tagged(lab, 1, "a", "b", shop)
    tagged(lab, 3, "c", "d", blog)

    counted = counts_on(lab, "a", 0)
    fleet.do(v.MigrateVm(target="a", host="kvm3"), timeout=120)
    assert where(lab, "a") == ["kvm3"] and [carried(host) for host in lab.hosts] == [set(), {shop, blog}, {shop, blog}]
    counts_on(lab, "a", counted)
    for one, other in (("a", "b"), ("b", "a"), ("c", "d")):
        reaches(fleet, one, other)
    reaches_not(fleet, "d", "a")
    tagged(lab, 3, "a", "b", shop)

    fleet.do(v.StopVm(target="a", grace_s=0, confirmed=True))
    assert carried(third) == {blog}
    fleet.do(v.DestroyVm(target="b", confirm="b"))
    assert carried(second) == {blog}
    fleet.do(v.StartVm(target="a", host="kvm1"), timeout=120)
    assert carried(first) == {shop} and number(fleet, "shop") == shop
    for name in ("a", "c", "d"):
        fleet.do(v.DestroyVm(target=name, confirm=name))
    assert not any(carried(host) for host in lab.hosts)
    told = [line.text for operation in fleet.operations() for line in fleet.lines("", operation.id)] + fleet.log()
    assert not [text for text in told if re.search(rf"(?<![0-9]){shop}(?![0-9])|(?<![0-9]){blog}(?![0-9])", text)]
    assert not fleet.complaints()


def test_one_removed_by_hand_is_found_and_repaired(fleet: Site, lab: Lab) -> None:
    second = lab.hosts[1]
    create(fleet, lab, "a", "b")
    create(fleet, lab, "b", "a")
    reaches(fleet, "b", "a")
    shop = number(fleet, "shop")
    second.run("ovs-vsctl", "del-br", f"breth1-{shop}")
    second.run("ovs-vsctl", "add-br", "breth1-3510" if shop != 3510 else "breth1-3511", "ovs0", "3510" if shop != 3510 else "3511")
    _, lost = heard(fleet, "b", "a")
    until(lambda: heard(fleet, "b", "a")[1] >= lost + 2, 60, "b is cut off")
    fleet.do(n.CheckDrift(target="fabric"))
    found = {(one.host, one.number == shop): one.problem for one in fleet.call(n.ShowPresence("fabric")) if one.problem}
    assert found == {("kvm2", True): DriftKind.MISSING, ("kvm2", False): DriftKind.EXTRA}
    fleet.do(n.RepairDrift(target="fabric", confirmed=True))
    reaches(fleet, "b", "a")
    tagged(lab, 2, "b", "a", shop)
    assert shop in carried(second) and len(carried(second)) == 2
    fleet.do(n.RepairDrift(target="fabric", remove_extra=True, confirmed=True))
    assert carried(second) == {shop} and not [one for one in fleet.call(n.ShowPresence("fabric")) if one.problem]


def test_a_daemon_killed_while_a_guest_moves_leaves_it_on_its_network(fleet: Site, lab: Lab) -> None:
    create(fleet, lab, "a", "b")
    create(fleet, lab, "b", "a")
    reaches(fleet, "a", "b")
    operation = fleet.submit(v.MigrateVm(target="a", host="kvm3", bandwidth_mib_s=20))
    until(lambda: carried(lab.hosts[2]), 60, "the destination has the interface")
    fleet.kill()
    fleet.await_door()
    ended = fleet.ended(operation.id, 180)
    assert ended.state.value == "succeeded" and where(lab, "a") == ["kvm3"]
    reaches(fleet, "a", "b")
    shop = number(fleet, "shop")
    assert [carried(host) for host in lab.hosts] == [set(), {shop}, {shop}]
    assert fleet.call(n.ShowNetwork("shop")).state is NetworkState.IMPLEMENTED

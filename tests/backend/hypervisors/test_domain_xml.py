"""Definitions of guests: what libvirt is told, and what is read back."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

from fleet_tui.backend.hypervisors import Disk, GuestSpec, Nic, domain_xml
from fleet_tui.backend.hypervisors.domain_xml import Tuning

MIB = 1024**2
SPEC = GuestSpec(
    "4f3c2f1a-0000-4000-8000-000000000001", "web-1", 2, 512 * MIB, 256 * MIB, 4000, cpu_limit_mhz=3000, kernel="/boot/k", initrd="/boot/i",
    cmdline="console=ttyS0", disks=(Disk("/shared/a.qcow2", 10), Disk("/var/b.raw", 10, format="raw", is_local=True)),
)  # fmt: skip
BARE = Tuning(is_accelerated=False, cgroup=0, cores=4, mhz=2000)


def at(xml: str, path: str) -> str | None:
    return ET.fromstring(xml).findtext(path)


def test_emulated_unless_the_cpu_can() -> None:
    plain, fast = domain_xml.defined(SPEC, BARE), domain_xml.defined(SPEC, replace(BARE, is_accelerated=True))
    assert ET.fromstring(plain).get("type") == "qemu" and at(plain, "./cpu/model") == "qemu64"
    assert ET.fromstring(fast).get("type") == "kvm" and 'mode="host-model"' in fast


def test_starts_with_all_of_its_memory() -> None:
    xml = domain_xml.defined(SPEC, BARE)
    assert at(xml, "memory") == at(xml, "currentMemory") == str(512 * 1024) and at(xml, "vcpu") == "2"
    assert ET.fromstring(xml).find("./devices/memballoon[@model='virtio']") is not None


def test_no_weights_where_no_control_group_could_hold_them() -> None:
    """libvirt would refuse to start it."""
    xml = domain_xml.defined(SPEC, BARE)
    assert at(xml, "./cputune/shares") is None and at(xml, "./memtune/soft_limit") is None


def test_weights_fit_the_kernels_ranges() -> None:
    first = domain_xml.defined(SPEC, replace(BARE, cgroup=1))
    assert at(first, "./cputune/shares") == "4000" and at(first, "./memtune/soft_limit") == str(256 * 1024)
    assert (at(first, "./cputune/period"), at(first, "./cputune/quota")) == ("100000", "75000"), "3000 MHz of two virtual CPUs at 2000"
    assert at(domain_xml.defined(replace(SPEC, cpu_weight=10**9), replace(BARE, cgroup=1)), "./cputune/shares") == "262144"
    assert at(domain_xml.defined(SPEC, replace(BARE, cgroup=2)), "./cputune/shares") == "5000", "half of the host's 8000 MHz"
    assert at(domain_xml.defined(replace(SPEC, cpu_weight=10**9), replace(BARE, cgroup=2)), "./cputune/shares") == "10000"
    assert at(domain_xml.defined(replace(SPEC, cpu_weight=0), replace(BARE, cgroup=2)), "./cputune/shares") == "1"
    assert at(domain_xml.defined(replace(SPEC, cpu_limit_mhz=0), replace(BARE, cgroup=2)), "./cputune/quota") is None


def test_another_size_keeps_the_rest() -> None:
    tuning = replace(BARE, cgroup=1)
    xml = domain_xml.resized(domain_xml.defined(SPEC, tuning), 4, 1024 * MIB, 1024 * MIB, 8000, tuning)
    assert (at(xml, "vcpu"), at(xml, "memory"), at(xml, "currentMemory")) == ("4", str(1024 * 1024), str(1024 * 1024))
    assert at(xml, "./cputune/shares") == "8000" and at(xml, "./cputune/quota") == "37500", "the hard limit is the same, of more CPUs"
    assert domain_xml.volumes(xml) == domain_xml.volumes(domain_xml.defined(SPEC, tuning)) and at(xml, "name") == "web-1"
    counted = [len(ET.fromstring(xml).findall(name)) for name in ("memory", "vcpu", "cputune", "memtune", "metadata")]
    assert counted == [1, 1, 1, 1, 1]


def test_disks_are_read_back_with_where_they_belong() -> None:
    found = domain_xml.volumes(domain_xml.defined(SPEC, BARE))
    assert [(disk.target, disk.path, disk.format, disk.is_local) for disk in found] == [
        ("vda", "/shared/a.qcow2", "qcow2", False), ("vdb", "/var/b.raw", "raw", True),
    ]
    foreign = "<domain><devices><disk type='file' device='cdrom'><source file='/i.iso'/><target dev='hda'/></disk>\
      <disk type='file' device='disk'><source file='/ro'/><target dev='vda'/><readonly/></disk><disk type='block' device='disk'>\
      <source dev='/dev/x'/><target dev='vdb'/></disk></devices></domain>"
    assert domain_xml.volumes(foreign) == []


def test_nothing_in_a_name_or_a_path_becomes_xml() -> None:
    nasty = "a'\"><domain type='kvm'>&lt;"
    xml = domain_xml.defined(replace(SPEC, name=nasty, cmdline=nasty, disks=(Disk(nasty),)), BARE)
    assert at(xml, "name") == at(xml, "./os/cmdline") == domain_xml.volumes(xml)[0].path == nasty
    assert len(re.findall("<domain ", xml)) == 1


def test_devices_that_cannot_move() -> None:
    assert not domain_xml.has_device(domain_xml.defined(SPEC, BARE))
    assert domain_xml.has_device("<domain><devices><hostdev mode='subsystem'/></devices></domain>")
    assert domain_xml.has_device("<domain><devices><interface type='hostdev'/></devices></domain>")


PLAIN = Nic("02:00:5e:00:00:01", "breth1-500")
SWITCHED = Nic("02:00:5e:00:00:02", "ovs0", ovs=True, tag=600, port="4f3c2f1a-0000-4000-8000-00000000000a")


def cards(xml: str) -> list[tuple[str, str, str, str]]:
    """(address, bridge, port id, tag) of each."""
    found = []
    for card in ET.fromstring(xml).findall("./devices/interface[@type='bridge']"):
        mac, source, port, tag = card.find("mac"), card.find("source"), card.find("./virtualport[@type='openvswitch']/parameters"), card.find("./vlan/tag")
        assert mac is not None and source is not None and len(card.findall("source")) == 1
        port_id, number = ("" if part is None else part.get(name, "") for part, name in ((port, "interfaceid"), (tag, "id")))
        found.append((mac.get("address", ""), source.get("bridge", ""), port_id, number))
    return found


def test_a_card_is_in_a_plain_bridge_or_a_tagged_port() -> None:
    xml = domain_xml.defined(replace(SPEC, nics=(PLAIN, SWITCHED)), BARE)
    assert cards(xml) == [(PLAIN.mac, "breth1-500", "", ""), (SWITCHED.mac, "ovs0", SWITCHED.port, "600")]
    assert not cards(domain_xml.defined(SPEC, BARE))


def test_plugged_in_elsewhere_a_card_is_the_same_to_the_guest() -> None:
    live = domain_xml.defined(replace(SPEC, nics=(PLAIN, SWITCHED)), BARE)
    live = live.replace("</interface>", "<target dev='vnet7'/><address type='pci' bus='0x00' slot='0x03' function='0x0' domain='0x0000'/></interface>", 1)
    there = domain_xml.plugged(live, (replace(SWITCHED, mac=PLAIN.mac), replace(PLAIN, mac=SWITCHED.mac)))
    assert cards(there) == [(PLAIN.mac, "ovs0", SWITCHED.port, "600"), (SWITCHED.mac, "breth1-500", "", "")]
    assert "vnet7" not in there, "the destination names its own"
    assert 'slot="0x03"' in there and there.count('type="virtio"') == 2
    assert domain_xml.plugged(there, (replace(SWITCHED, mac=PLAIN.mac), replace(PLAIN, mac=SWITCHED.mac))) == there


def test_cards_come_and_go_and_the_rest_stays() -> None:
    bare = domain_xml.defined(SPEC, BARE)
    one = domain_xml.plugged(bare, (PLAIN,))
    assert cards(one) == [(PLAIN.mac, "breth1-500", "", "")] and domain_xml.volumes(one) == domain_xml.volumes(bare)
    assert cards(domain_xml.plugged(one, (SWITCHED,))) == [(SWITCHED.mac, "ovs0", SWITCHED.port, "600")]
    assert not cards(domain_xml.plugged(one, ()))

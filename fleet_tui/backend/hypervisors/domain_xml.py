"""Guests as libvirt's XML: made from a `GuestSpec`, changed, and read.

What libvirt has no word for, the least memory and which disks are the host's own, is kept in an element of ours under ``<metadata>``;
it goes along when a guest moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from fleet_tui.backend.hypervisors import Disk, GuestSpec, Nic

NAMESPACE = "https://fleet-tui.dev/libvirt/1"
SERIAL_LOG = "/var/log/libvirt/qemu/{id}.serial.log"
"""Where a host keeps what a guest says on its serial line: a folder that every distribution's confinement lets QEMU write."""
_PERIOD_US = 100_000
_LOCAL, _KEPT = f"{{{NAMESPACE}}}local", f"{{{NAMESPACE}}}kept"
"""Marks of disks, by their target: on the host's own storage; not erased with the guest."""
ET.register_namespace("fleet", NAMESPACE)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a host offers guests that are to be weighed against each other."""

    is_accelerated: bool
    cgroup: int
    """Version of the kernel's control groups there that libvirt can use; 0 for none."""
    cores: int
    mhz: int
    """Of one core."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk of a guest as its definition has it."""

    target: str
    path: str
    format: str
    is_local: bool
    is_kept: bool


def defined(spec: GuestSpec, tuning: Tuning) -> str:
    """The definition of a new guest."""
    domain = Element("domain", type="kvm" if tuning.is_accelerated else "qemu")
    _text(domain, "name", spec.name)
    _text(domain, "uuid", spec.id)
    ET.SubElement(ET.SubElement(domain, "metadata"), f"{{{NAMESPACE}}}guest")
    os = ET.SubElement(domain, "os")
    _text(os, "type", "hvm", arch="x86_64", machine="pc")
    for name, value in (("kernel", spec.kernel), ("initrd", spec.initrd), ("cmdline", spec.cmdline)):
        if value:
            _text(os, name, value)
    ET.SubElement(os, "boot", dev="hd")
    ET.SubElement(ET.SubElement(domain, "features"), "acpi")
    if tuning.is_accelerated:
        ET.SubElement(domain, "cpu", mode="host-model")
    else:
        _text(ET.SubElement(domain, "cpu", mode="custom", match="exact"), "model", "qemu64")
    for event, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(domain, event, action)
    devices = ET.SubElement(domain, "devices")
    for number, disk in enumerate(spec.disks):
        devices.append(_disk(domain, number, disk))
    for nic in spec.nics:
        devices.append(_card(nic))
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=SERIAL_LOG.format(id=spec.id), append="on")
    ET.SubElement(serial, "target", port="0")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="virtio")
    _size(domain, spec.cores, spec.memory_bytes, spec.minimum_memory_bytes)
    _weigh(domain, spec.cores, spec.minimum_memory_bytes, spec.cpu_weight, spec.cpu_limit_mhz, tuning)
    return ET.tostring(domain, encoding="unicode")


def resized(xml: str, cores: int, memory_bytes: int, minimum_memory_bytes: int, cpu_weight: int, tuning: Tuning) -> str:
    """The definition of a guest with another size; its hard limit stays what it was."""
    domain = ET.fromstring(xml)
    limit = _own(domain).get("cpu-limit-mhz", "0")
    _size(domain, cores, memory_bytes, minimum_memory_bytes)
    _weigh(domain, cores, minimum_memory_bytes, cpu_weight, int(limit) if limit.isdigit() else 0, tuning)
    return ET.tostring(domain, encoding="unicode")


def plugged(xml: str, nics: Sequence[Nic]) -> str:
    """A definition with these cards. One that is there already, by its address, stays where the guest sees it; the others go."""
    domain = ET.fromstring(xml)
    devices = domain.find("devices")
    assert devices is not None
    there = {mac.get("address", "").lower(): card for card in devices.findall("./interface[@type='bridge']") if (mac := card.find("mac")) is not None}
    wanted = {nic.mac.lower(): nic for nic in nics}
    for address, card in there.items():
        if address not in wanted:
            devices.remove(card)
            continue
        for name in ("source", "virtualport", "vlan", "target", "backend", "portid"):  # of the bridge it was in, perhaps on another host
            for old in card.findall(name):
                card.remove(old)
        for part in reversed(list(_card(wanted[address]))):
            if part.tag in ("source", "virtualport", "vlan"):
                card.insert(1, part)
    for address, nic in wanted.items():
        if address not in there:
            devices.append(_card(nic))
    return ET.tostring(domain, encoding="unicode")


def fitted(xml: str, disks: Sequence[Disk]) -> str:
    """A definition with these disks and no others."""
    domain = ET.fromstring(xml)
    devices, own = domain.find("devices"), _own(domain)
    assert devices is not None
    for old in devices.findall("./disk"):
        devices.remove(old)
    for mark in [mark for mark in own if mark.tag in (_LOCAL, _KEPT)]:
        own.remove(mark)
    for number, disk in enumerate(disks):
        devices.insert(number, _disk(domain, number, disk))
    return ET.tostring(domain, encoding="unicode")


def has_disks(xml: str, disks: Sequence[Disk]) -> bool:
    """Whether a definition has these disks already, in this order."""
    serials = [disk.findtext("serial", "") for disk in ET.fromstring(xml).iterfind("./devices/disk[@type='file'][@device='disk']")]
    there = [(volume.path, volume.format, volume.is_local, volume.is_kept) for volume in volumes(xml)]
    wanted = [(disk.path, disk.format, disk.is_local, disk.is_kept) for disk in disks]
    return there == wanted and serials[:len(wanted)] == [disk.serial for disk in disks]


def backup(target: str, path: str) -> str:
    """The order to copy one disk of a running guest, as it is at that moment, to a file."""
    order = Element("domainbackup", mode="push")
    disk = ET.SubElement(ET.SubElement(order, "disks"), "disk", name=target, backup="yes", type="file")
    ET.SubElement(disk, "driver", type="qcow2")
    ET.SubElement(disk, "target", file=path)
    return ET.tostring(order, encoding="unicode")


def volumes(xml: str) -> list[Volume]:
    """Disks that are files and may be written."""
    domain = ET.fromstring(xml)
    local, kept = ({found.get("target") for found in domain.iter(mark)} for mark in (_LOCAL, _KEPT))
    found = []
    for disk in domain.iterfind("./devices/disk[@type='file'][@device='disk']"):
        source, target, driver = disk.find("source"), disk.find("target"), disk.find("driver")
        if source is None or target is None or disk.find("readonly") is not None or not source.get("file"):
            continue
        name = target.get("dev", "")
        kind = driver.get("type", "raw") if driver is not None else "raw"
        found.append(Volume(name, source.get("file", ""), kind, name in local, name in kept))
    return found


def boot_files(xml: str) -> list[str]:
    """Files that a host must have for the guest to start there."""
    domain = ET.fromstring(xml)
    return [path for name in ("kernel", "initrd") if (path := domain.findtext(f"./os/{name}", ""))]


def serial_log(xml: str) -> str:
    """Where a host writes what the guest says; empty when it does not."""
    log = ET.fromstring(xml).find("./devices/serial/log")
    return log.get("file", "") if log is not None else ""


def has_device(xml: str) -> bool:
    """Whether a device of the host is passed through, which cannot move."""
    devices = ET.fromstring(xml).find("devices")
    return devices is not None and (devices.find("hostdev") is not None or devices.find("./interface[@type='hostdev']") is not None)


def cpu(xml: str) -> tuple[str, str, str, str, str]:
    """(emulator, architecture, machine, virtualisation, CPU element) of a running guest."""
    domain = ET.fromstring(xml)
    kind, element = domain.find("./os/type"), domain.find("cpu")
    arch, machine = (kind.get("arch", ""), kind.get("machine", "")) if kind is not None else ("", "")
    text = ET.tostring(element, encoding="unicode") if element is not None else ""
    return domain.findtext("./devices/emulator", ""), arch, machine, domain.get("type", ""), text


def _disk(domain: Element, number: int, disk: Disk) -> Element:
    target = f"vd{chr(ord('a') + number)}"
    place = Element("disk", type="file", device="disk")
    ET.SubElement(place, "driver", name="qemu", type=disk.format, cache="none")  # another host's cache would be stale
    ET.SubElement(place, "source", file=disk.path)
    ET.SubElement(place, "target", dev=target, bus="virtio")
    if disk.serial:
        _text(place, "serial", disk.serial)
    for mark, is_so in ((_LOCAL, disk.is_local), (_KEPT, disk.is_kept)):
        if is_so:
            ET.SubElement(_own(domain), mark, target=target)
    return place


def _card(nic: Nic) -> Element:
    """In a plain bridge, which is of one VLAN; or as a port of Open vSwitch, which has its tag and an id that it keeps on every host."""
    card = Element("interface", type="bridge")
    ET.SubElement(card, "mac", address=nic.mac)
    ET.SubElement(card, "source", bridge=nic.bridge)
    if nic.ovs:
        port = ET.SubElement(card, "virtualport", type="openvswitch")
        if nic.port:
            ET.SubElement(port, "parameters", interfaceid=nic.port)
        if nic.tag:
            ET.SubElement(ET.SubElement(card, "vlan"), "tag", id=str(nic.tag))
    ET.SubElement(card, "model", type="virtio")
    ET.SubElement(card, "rom", enabled="no")  # a guest that starts from its disk or kernel needs no boot code in its card
    return card


def _size(domain: Element, cores: int, memory_bytes: int, minimum_memory_bytes: int) -> None:
    """It starts with all of its memory; the balloon may take it down to the least."""
    for name in ("memory", "currentMemory"):
        _replace(domain, name, str(memory_bytes // 1024), unit="KiB")
    _replace(domain, "vcpu", str(cores))
    _own(domain).set("minimum-memory-bytes", str(minimum_memory_bytes))


def _weigh(domain: Element, cores: int, minimum_memory_bytes: int, weight: int, limit_mhz: int, tuning: Tuning) -> None:
    """Shares, a cap, and the least memory under contention: only where the host's control groups can hold them, else it would not start."""
    _own(domain).set("cpu-weight", str(weight))
    _own(domain).set("cpu-limit-mhz", str(limit_mhz))
    for name in ("cputune", "memtune"):
        if (old := domain.find(name)) is not None:
            domain.remove(old)
    if not tuning.cgroup:
        return
    cputune, memtune = ET.SubElement(domain, "cputune"), ET.SubElement(domain, "memtune")
    # The kernel's ranges: cpu.shares 2…262144 in version 1, cpu.weight 1…10000 in version 2, which libvirt hands through as they are.
    shares = min(max(weight, 2), 262_144) if tuning.cgroup == 1 else min(max(10_000 * weight // max(tuning.cores * tuning.mhz, 1), 1), 10_000)
    _text(cputune, "shares", str(shares))
    if limit_mhz:
        _text(cputune, "period", str(_PERIOD_US))
        _text(cputune, "quota", str(max(_PERIOD_US * limit_mhz // (cores * max(tuning.mhz, 1)), 1000)))  # of each virtual CPU
    _text(memtune, "soft_limit", str(minimum_memory_bytes // 1024), unit="KiB")


def _own(domain: Element) -> Element:
    metadata = domain.find("metadata")
    if metadata is None:
        metadata = ET.SubElement(domain, "metadata")
    own = metadata.find(f"{{{NAMESPACE}}}guest")
    return own if own is not None else ET.SubElement(metadata, f"{{{NAMESPACE}}}guest")


def _replace(parent: Element, name: str, text: str, **attributes: str) -> None:
    old = parent.find(name)
    if old is None:
        _text(parent, name, text, **attributes)
        return
    old.text = text
    for key, value in attributes.items():
        old.set(key, value)
    old.attrib.pop("current", None)


def _text(parent: Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text

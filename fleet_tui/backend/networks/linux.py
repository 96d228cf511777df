"""Segments on a real Linux host, over its shell.

Each verb is one script that holds a lock on the host, looks before it acts, and takes back what it made when it fails, so it may be
repeated and killed at any point.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from fleet_tui.backend.errors import Busy, InternalError, InUse, WrongState
from fleet_tui.backend.hypervisors import Nic
from fleet_tui.backend.networks import wires
from fleet_tui.backend.networks.discretion import without_ids
from fleet_tui.backend.networks.states import Isolation, Technique
from fleet_tui.backend.networks.wires import Found, Plug, Segment, tap_address
from fleet_tui.backend.remote import Answer, Shell
from fleet_tui.backend.text import clean

VXLAN_PORT = 4789
"""UDP, as IANA gave it (RFC 7348)."""
_SCRIPT_S = 60.0
_NO_CARD, _NO_MEANS, _IN_USE, _LOCKED = 44, 45, 46, 47

_BEGIN = """\
set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
export PATH LC_ALL
net=/sys/class/net
exec 9>/run/fleet-wires.lock
flock -w 20 9 || exit 47
has() { [ -e "$net/$1" ]; }
ovs() { command -v ovs-vsctl >/dev/null 2>&1 && ovs-vsctl --timeout=15 "$@"; }
home() {
  if ovs br-exists "$label" 2>/dev/null; then ovs br-to-parent "$label"; else ovs port-to-br "$label" 2>/dev/null; fi
}
quiet() {
  [ ! -e "/proc/sys/net/ipv6/conf/$1/disable_ipv6" ] || echo 1 >"/proc/sys/net/ipv6/conf/$1/disable_ipv6"
}
"""
"""Waits for whoever else wires this host. ``home``: the Open vSwitch bridge that has the card. ``quiet``: the host itself stays out of it."""

_TECHNIQUE = """\
has "$label" || exit 44
if [ "$isolation" = VXLAN ]; then echo vxlan
elif home >/dev/null; then echo ovs
elif [ -d /proc/net/vlan ] || modprobe -q 8021q 2>/dev/null; then echo kernel
else exit 45; fi
"""

_UNDO = """\
made=
undo() {
  code=$?
  trap - EXIT
  [ "$code" -eq 0 ] || for one in $made; do
    case $one in
    ovs:*) ovs del-br "${one#ovs:}" || true ;;
    *) ip link del dev "$one" || true ;;
    esac
  done
  exit "$code"
}
trap undo EXIT
trap 'exit 1' HUP INT TERM
"""

_BRIDGE = """\
if ! has "$bridge"; then
  ip link add name "$bridge" type bridge
  made="$bridge $made"
fi
quiet "$bridge"
quiet "$device"
ip link set dev "$device" master "$bridge"
ip link set dev "$label" up
ip link set dev "$device" up
ip link set dev "$bridge" up
"""

_KERNEL = """\
if ! has "$device"; then
  ip link add link "$label" name "$device" type vlan id "$number"
  made="$device $made"
fi
""" + _BRIDGE  # fmt: skip

_VXLAN = (
    """\
number_of() { getent ahostsv4 "$1" | sed -n '1s/ .*//p'; }
if ! has "$device"; then
  ip link add name "$device" type vxlan id "$number" dstport "$port" local "$(number_of "$local")" dev "$label"
  made="$device $made"
fi
"""
    + _BRIDGE
    + """\
wanted=
for peer in $peers; do wanted="$wanted $(number_of "$peer")"; done
known=$(bridge fdb show dev "$device" | sed -n 's/^00:00:00:00:00:00 .*dst \\([^ ]*\\).*/\\1/p')
for peer in $wanted; do
  case " $(echo $known) " in *" $peer "*) ;; *) bridge fdb append 00:00:00:00:00:00 dev "$device" dst "$peer" ;; esac
done
for peer in $known; do
  case " $wanted " in *" $peer "*) ;; *) bridge fdb del 00:00:00:00:00:00 dev "$device" dst "$peer" ;; esac
done
"""
)

_OVS = """\
parent=$(home)
if ovs br-exists "$bridge" && [ "$(ovs br-to-parent "$bridge") $(ovs br-to-vlan "$bridge")" != "$parent $number" ]; then ovs del-br "$bridge"; fi
if ! ovs br-exists "$bridge"; then
  ovs add-br "$bridge" "$parent" "$number"
  made="ovs:$bridge $made"
fi
quiet "$bridge"
echo "$parent"
"""

_TAPS = """\
tap() {
  for one in "$net"/*; do
    name=${one##*/}
    [ "$(cat "$one/address" 2>/dev/null)" = "$1" ] && [ "$name" != "$device" ] && [ "$name" != "$bridge" ] && echo "$name"
  done
  return 0
}
put_in() {
  for name in $(tap "$1"); do
    if [ "$how" = ovs ]; then
      at=$(ovs port-to-br "$name" 2>/dev/null) || at=
      [ -z "$at" ] || [ "$(ovs br-to-parent "$at")" = "$parent" ] || { ovs del-port "$at" "$name"; at=; }
      [ -n "$at" ] || ovs add-port "$parent" "$name"
      ovs set port "$name" tag="$number" -- set interface "$name" "external-ids:attached-mac=\\"$2\\"" "external-ids:iface-id=\\"$3\\""
    else ip link set dev "$name" master "$bridge"; fi
  done
}
"""

_REMOVE = """\
if ovs br-exists "$bridge"; then
  [ -z "$(ovs list-ports "$bridge")" ] || exit 46
  ovs del-br "$bridge"
  exit 0
fi
if [ -d "$net/$bridge/brif" ]; then
  for one in $(ls "$net/$bridge/brif"); do [ "$one" = "$device" ] || exit 46; done
fi
if has "$device"; then ip link del dev "$device"; fi
if has "$bridge"; then ip link del dev "$bridge"; fi
"""

_PRESENT = """\
ip -json link show
echo
if parent=$(home); then
  echo "$parent"
  ovs --format=json --columns=name,tag,fake_bridge list port
  ovs list-ports "$parent" | sed 's/^/in /'
  for one in $(ovs list-br); do
    if [ "$(ovs br-to-parent "$one")" = "$parent" ] && [ "$one" != "$parent" ]; then echo "in $one"; ovs list-ports "$one" | sed 's/^/in /'; fi
  done
fi
"""


class Shells(Protocol):
    """Where shells on hosts come from."""

    def shell(self, host_id: str) -> Shell: ...


class LinuxWiring:
    """Implements :class:`Wiring` over the hosts' shells."""

    def __init__(self, shells: Shells) -> None:
        self._shells = shells

    def open(self, host_id: str) -> LinuxWires:
        return LinuxWires(self._shells.shell(host_id))


class LinuxWires:
    """Implements :class:`Wires`."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._address = shell.login.address

    def technique(self, isolation: Isolation, label: str) -> Technique:
        if isolation is Isolation.GRE:
            raise WrongState(f"{self._address} cannot carry GRE networks", hint="use VLAN or VXLAN on this physical network", state="no-gre")
        return Technique(self._run(_TECHNIQUE, {"label": label, "isolation": isolation.value}, label=label).out.strip())

    def ensure(self, segment: Segment, nics: Sequence[Nic] = ()) -> Plug:
        how = self.technique(segment.isolation, segment.label)
        body = {Technique.KERNEL: _KERNEL, Technique.OVS: _OVS, Technique.VXLAN: _VXLAN}[how]
        again = "".join(f"put_in {_words(tap_address(nic.mac), nic.mac, nic.port)}\n" for nic in nics)
        answer = self._run(_UNDO + body + (_TAPS + again if nics else ""), {**_variables(segment), "how": how.value}, segment)
        if how is Technique.OVS:
            return Plug(how, segment.bridge, answer.out.split()[0], segment.number)
        return Plug(how, segment.device, segment.bridge)

    def remove(self, segment: Segment) -> None:
        self._run(_REMOVE, _variables(segment), segment)

    def present(self, isolation: Isolation, label: str) -> Sequence[Found]:
        links, _, rest = self._run(_PRESENT, {"label": label}, label=label).out.partition("\n\n")
        parent, *more = rest.splitlines() or [""]
        addresses = {link["ifname"]: str(link.get("address", "")) for link in json.loads(links)}
        if isolation is not Isolation.VXLAN and parent:
            ports = {line.removeprefix("in ") for line in more[1:]}
            found = _switched(label, parent, [port for port in _ports(more[0]) if port["name"] in ports], addresses)
        else:
            found = _bridged(isolation, label, json.loads(links), addresses)
        return sorted(found, key=lambda one: one.number)

    def close(self) -> None:
        self._shell.close()

    def _run(self, script: str, variables: Mapping[str, object], segment: Segment | None = None, label: str = "") -> Answer:
        given = "".join(f"{name}={_words(value)}\n" for name, value in variables.items())
        command = _words("sh", "-c", f"{_BEGIN}{given}{script}")
        if self._shell.login.user != "root":
            command = f"sudo -n {command}"
        answer = self._shell.run(command, timeout_s=_SCRIPT_S)
        if answer.exit_code:
            self._raise(answer, segment, segment.label if segment is not None else label)
        return answer

    def _raise(self, answer: Answer, segment: Segment | None, label: str) -> None:
        if answer.exit_code == _NO_CARD:
            raise WrongState(f"{self._address} has no network card {label}", hint="correct the label of the physical network", state="no-card")
        if answer.exit_code == _NO_MEANS:
            raise WrongState(
                f"{self._address} can carry no VLAN on {label}: its kernel lacks 802.1Q, and no Open vSwitch bridge has the card",
                hint="load the module 8021q, or put the card into an Open vSwitch bridge", state="no-802.1q",
            )  # fmt: skip
        if answer.exit_code == _IN_USE:
            raise InUse(f"a guest's card is in the network's interface on {self._address}", hint="stop or move that guest first")
        if answer.exit_code == _LOCKED:
            raise Busy(f"somebody else wires {self._address} for long", hint="try again")
        words = (answer.err or answer.out).strip() or f"it ended with {answer.exit_code}"
        if segment is not None:
            words = without_ids(words, segment.number)
        raise InternalError(f"{self._address} could not wire the network on {label}: {clean(words, 300)}", hint="look at the host's network")


def _words(*words: object) -> str:
    return " ".join(shlex.quote(str(word)) for word in words)


def _variables(segment: Segment) -> Mapping[str, object]:
    return {
        "label": segment.label, "isolation": segment.isolation.value, "number": segment.number, "device": segment.device, "bridge": segment.bridge,
        "local": segment.local, "peers": " ".join(segment.peers), "port": VXLAN_PORT,
    }  # fmt: skip


def _ports(text: str) -> Iterable[dict[str, Any]]:
    """Open vSwitch's ports: ``name``, ``tag`` (``None`` for none) and ``fake_bridge``."""
    told = json.loads(text)
    for row in told["data"]:
        port = dict(zip(told["headings"], row, strict=True))
        port["tag"] = port["tag"] if isinstance(port["tag"], int) else None  # an empty set is told as ["set", []]
        yield port


def _switched(label: str, parent: str, ports: Sequence[Mapping[str, Any]], addresses: Mapping[str, str]) -> Iterable[Found]:
    """Segments of an Open vSwitch bridge: those with a bridge of their own, and tags of ports that have none."""
    stem = wires.bridge_stem(Isolation.VLAN, label)
    taps: dict[int, list[str]] = {}
    for port in ports:
        if port["tag"] and not port["fake_bridge"]:
            taps.setdefault(port["tag"], []).append(addresses.get(port["name"], ""))
    numbers = set(taps)
    for port in ports:
        named = wires.number_in(port["name"], stem)
        if port["fake_bridge"] and (named or port["tag"]):
            number = named or port["tag"]
            wrong = "" if port["tag"] == number else f"it carries VLAN {port['tag']}"
            yield Found(number, Technique.OVS, port["name"], parent, wrong, tuple(sorted(taps.get(number, ()))))
            numbers.discard(number)
    for number in sorted(numbers):
        yield Found(number, Technique.OVS, "", parent, "", tuple(sorted(taps[number])))


def _bridged(isolation: Isolation, label: str, links: Sequence[Mapping[str, Any]], addresses: Mapping[str, str]) -> Iterable[Found]:
    """Segments with a device of their own."""
    how = Technique.VXLAN if isolation is Isolation.VXLAN else Technique.KERNEL
    device_stem, bridge_stem = wires.device_stem(isolation, label), wires.bridge_stem(isolation, label)
    masters = {link["ifname"]: str(link.get("master", "")) for link in links}
    devices = {number: name for name in masters if (number := wires.number_in(name, device_stem)) is not None}
    bridges = {number: name for name in masters if (number := wires.number_in(name, bridge_stem)) is not None}
    for number in sorted(devices.keys() | bridges.keys()):
        device, right = devices.get(number, ""), bridges.get(number, "")
        hangs = masters.get(device, "")
        wrong = ""
        if device and hangs != wires.bridge(isolation, label, number):
            wrong = f"it hangs in {hangs}" if hangs else "it hangs in no bridge"
        inside = sorted(name for name, master in masters.items() if master and master == right and name != device)
        yield Found(number, how, device, hangs or right, wrong, tuple(sorted(addresses[name] for name in inside)))


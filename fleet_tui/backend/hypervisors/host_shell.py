"""What a hypervisor's host is asked through its shell: disks, figures, logs, and whether one host reaches another."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable

from fleet_tui.backend.errors import FleetError, NoCapacity, NotFound, WrongState
from fleet_tui.backend.hypervisors import Disk, HostFigures
from fleet_tui.backend.remote import Answer, Shell
from fleet_tui.backend.text import clean

_COPY_S = 3600.0
_FACTS = """\
grep -qwE 'vmx|svm' /proc/cpuinfo && [ -e /dev/kvm ] && echo accelerated yes
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then grep -qw cpu /sys/fs/cgroup/cgroup.controllers && echo cgroup 2
elif [ -e /sys/fs/cgroup/cpu/cpu.shares ] || [ -e /sys/fs/cgroup/cpu,cpuacct/cpu.shares ]; then echo cgroup 1; fi
for nic in /sys/class/net/*; do
  [ ! -d "$nic/bridge" ] || continue
  case ${nic##*/} in *.[0-9]*|*-[0-9]*|vx[0-9]*|vnet*|tap*|ovs-*) ;; *) echo nic "${nic##*/}" ;; esac
done
echo serial "$(cat /sys/class/dmi/id/product_serial 2>/dev/null)"
echo system "$(. /etc/os-release 2>/dev/null; echo "$PRETTY_NAME")"
echo kernel "$(uname -r)"
"""
_FIGURES = """\
cat /proc/loadavg
grep -E '^(MemAvailable|MemFree):' /proc/meminfo
echo cores $(nproc)
df -P -B1 -- {paths} 2>/dev/null
"""
_MAKE = """\
set -e
disk={path} source={source} made={path}.fleet-making
if [ -e "$disk" ]; then exit 0; fi
trap 'rm -f "$made"' EXIT
if [ -n "$source" ]; then
  if [ ! -e "$source" ]; then exit 44; fi
  qemu-img convert -O {format} "$source" "$made"
  if [ {size} -gt 0 ]; then
    has=$(qemu-img info --output=json "$made" | sed -n 's/.*"virtual-size": \\([0-9]*\\).*/\\1/p')
    if [ "$has" -lt {size} ]; then qemu-img resize -q -f {format} "$made" {size}; fi
  fi
elif [ {size} -gt 0 ]; then qemu-img create -q -f {format} "$made" {size}
else exit 45; fi
mv -n "$made" "$disk"
"""
_GROW = """\
set -e
if [ ! -e {path} ]; then exit 44; fi
has=$(qemu-img info -U --output=json {path} | sed -n 's/.*"virtual-size": \\([0-9]*\\).*/\\1/p')
if [ "$has" -lt {size} ]; then qemu-img resize -q {path} {size}; fi
"""
_COPY = """\
set -e
target={target} made={target}.fleet-making
if [ ! -e {source} ]; then exit 44; fi
if [ -e "$target" ] && [ -z "{replace}" ]; then exit 0; fi
if [ -n "{replace}" ] && [ -e "$target" ]; then qemu-img info "$target" >/dev/null; fi
trap 'rm -f "$made"' EXIT
rm -f "$made"
qemu-img convert -O qcow2 {source} "$made"
mv -f "$made" "$target"
"""
_TAIL = """\
file={path}
size=$(stat -c %s "$file" 2>/dev/null) || exit 44
after={after}
if [ "$after" -gt "$size" ]; then after=0; fi
echo "$after"
tail -c +$((after + 1)) "$file" | head -c {limit} | base64 -w0
"""
_WATCH = """\
command -v virsh >/dev/null 2>&1 || exit 0
watch='
end=$(($(date +%s) + {limit})) idle=0
while [ $(date +%s) -lt $end ]; do
  sleep 3
  case $(virsh -q -c qemu:///system domstate --reason {guest} 2>&1) in
    "shut off (migrated)"*|*"failed to get domain"*) break ;;
    running*|paused*) ;;
    *) exit ;;
  esac
  case $(virsh -q -c qemu:///system domjobinfo {guest} 2>/dev/null) in
    *Operation:*"Outgoing migration"*) idle=0 ;;
    *) idle=$((idle + 1)) ;;
  esac
  [ $idle -lt 5 ] || exit
done
for try in 1 2 3 4 5 6 7 8 9 10; do
  case $(virsh -q -c "{uri}" domstate {guest} 2>/dev/null) in
    paused*) virsh -q -c "{uri}" resume {guest} && exit ;;
    ?*) exit ;;
  esac
  sleep 5
done
'
LC_ALL=C setsid nohup sh -c "$watch" </dev/null >/dev/null 2>&1 &
echo $!
"""
_LOG = """\
if [ -s /var/log/libvirt/libvirtd.log ]; then echo /var/log/libvirt/libvirtd.log; elif [ -s /var/log/libvirt/virtqemud.log ]; then
  echo /var/log/libvirt/virtqemud.log; else exit 44; fi
"""
_PLAIN = re.compile(r"[A-Za-z0-9:/@.,?=_+%\[\]-]+")
"""What means nothing to a shell between double quotes."""
_JOURNAL = "journalctl --quiet --no-pager --boot --output=short-iso --unit=libvirtd --unit=virtqemud"


class HostShell:
    """A host's shell, and what we ask it."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._address = shell.login.address

    def facts(self) -> dict[str, list[str]]:
        """What is said of the host, by word: accelerated, cgroup, nic, serial, system, kernel. Its own network cards only: the names of what
        carries guest networks and guests tell VLAN IDs, and come and go."""
        found: dict[str, list[str]] = {}
        for line in self._shell.run(_FACTS).out.splitlines():
            word, _, value = line.partition(" ")
            if value.strip():
                found.setdefault(word, []).append(value.strip())
        return found

    def figures(self, folders: Iterable[str]) -> HostFigures:
        """Now. ``folders``: whose file systems count as its disks, each once."""
        load, free, cores, disks = 0.0, 0, 1, dict[str, tuple[int, int]]()
        paths = " ".join(shlex.quote(folder) for folder in folders) or "/"
        for number, line in enumerate(self._shell.run(_FIGURES.format(paths=paths)).out.splitlines()):
            words = line.split()
            if number == 0:
                load = float(words[0])
            elif words[0] == "MemAvailable:" or (words[0] == "MemFree:" and not free):
                free = int(words[1]) * 1024
            elif words[0] == "cores":
                cores = int(words[1])
            elif len(words) >= 6 and words[1].isdigit():
                disks[words[0] + words[5]] = (int(words[1]), int(words[1]) - int(words[3]))
        return HostFigures(free, load / cores, sum(size for size, _ in disks.values()), sum(used for _, used in disks.values()))

    # Disks

    def make_disk(self, disk: Disk) -> None:
        """Unless it is there. Written beside its place, so that what is there is whole.

        Raises:
            NotFound: it must exist, or its image must, and does not.
            NoCapacity: there is no room.
        """
        path, source, kind = map(shlex.quote, (disk.path, disk.source, disk.format))
        script = _MAKE.format(path=path, source=source, format=kind, size=int(disk.size_bytes))
        answer = self._shell.run(script, timeout_s=_COPY_S if disk.source else 120.0)
        if answer.exit_code == 44:
            raise NotFound(f"{self._address} has no image {clean(disk.source, 200)}", hint="look at the path")
        if answer.exit_code == 45:
            raise NotFound(f"{self._address} has no disk {clean(disk.path, 200)}", hint="give its size, or an image, to have it made")
        self._demand(answer, f"make the disk {disk.path}")

    def erase(self, paths: Iterable[str]) -> None:
        """Files that may be gone already.

        Raises:
            WrongState: one is in use, on this host or, where its file system carries locks, on another.
        """
        for path in paths:
            quoted = shlex.quote(path)
            held = self._shell.run(f"[ ! -e {quoted} ] || qemu-img info {quoted} 2>&1 >/dev/null | grep -c lock")
            if held.out.strip() not in ("", "0"):
                raise WrongState(
                    f"the disk {clean(path, 200)} is in use and was not erased", hint="a guest runs on it, perhaps on another host", state="in-use"
                )
            self._demand(self._shell.run(f"rm -f -- {quoted} {quoted}.fleet-making", timeout_s=120.0), f"erase {path}")

    def grow(self, path: str, size_bytes: int) -> None:
        """Raises NotFound when it is gone, WrongState while it is in use."""
        answer = self._shell.run(_GROW.format(path=shlex.quote(path), size=int(size_bytes)), timeout_s=120.0)
        self._demand_there(answer, path, f"grow {path}")

    def copy(self, source: str, target: str, *, replace: bool = False) -> None:
        """Written beside its place. Without ``replace`` nothing happens when the target is there.

        Raises:
            NotFound: there is no source.
            WrongState: one of them is in use.
            NoCapacity: there is no room.
        """
        script = _COPY.format(source=shlex.quote(source), target=shlex.quote(target), replace="yes" if replace else "")
        self._demand_there(self._shell.run(script, timeout_s=_COPY_S), source, f"copy {source}")

    def settle(self, made: str, target: str) -> None:
        self._demand(self._shell.run(f"mv -f -- {shlex.quote(made)} {shlex.quote(target)}"), f"put {target} in place")

    def put(self, path: str, content: bytes) -> None:
        self._shell.write(path, content, mode=0o600)

    def virtual_size(self, path: str) -> int:
        """Of a disk, in bytes, also while it is in use."""
        said = self._shell.run(f"qemu-img info -U --output=json {shlex.quote(path)}")
        self._demand(said, f"look at {path}")
        return int(json.loads(said.out)["virtual-size"])

    def used_bytes(self, path: str) -> int:
        return int(self._shell.run(f"stat -c '%b %B' {shlex.quote(path)} | awk '{{print $1 * $2}}'").out.strip() or 0)

    def free_bytes(self, path: str) -> int:
        """Where that file would be."""
        said = self._shell.run(f'df -P -B1 -- "$(dirname {shlex.quote(path)})"').out.splitlines()
        return int(said[-1].split()[3]) if len(said) > 1 else 0

    def lacking(self, paths: Iterable[str]) -> list[str]:
        """Those that are not there."""
        return self._shell.run("\n".join(f"[ -e {shlex.quote(path)} ] || echo {shlex.quote(path)}" for path in paths) or ":").out.splitlines()

    def put_mark(self, path: str) -> None:
        self._demand(self._shell.run(f": > {shlex.quote(path)}"), f"write {path}")

    def rub_out(self, *paths: str) -> None:
        self._shell.run(f"rm -f -- {' '.join(map(shlex.quote, paths))}")

    # Logs

    def tail(self, path: str, after: int, limit: int) -> tuple[int, str]:
        """A file from byte ``after`` on: (position reached, text). Begins anew when it was begun anew."""
        return self._part(_TAIL.format(path=shlex.quote(path), after=int(after), limit=int(limit)), after)

    def log(self, after: int, limit: int) -> tuple[int, str]:
        """libvirt's own: its file, or where it has none, this boot's journal."""
        found = self._shell.run(_LOG)
        if found.exit_code == 0:
            return self.tail(found.out.strip(), after, limit)
        return self._part(f"echo {int(after)}; {_JOURNAL} | tail -c +{int(after) + 1} | head -c {int(limit)} | base64 -w0", after)

    def _part(self, script: str, after: int) -> tuple[int, str]:
        answer = self._shell.run(script)
        if answer.exit_code:
            return after, ""
        begin, _, coded = answer.out.partition("\n")
        data = base64.b64decode(coded)
        if (cut := _cut_off(data)) < len(data):
            data = data[: len(data) - cut]
        return int(begin) + len(data), data.decode(errors="replace")

    # From here to others

    def reaches(self, user: str, address: str, port: int) -> bool:
        """Whether root of this host gets a shell there without a person: what a migration from host to host needs."""
        options = "-o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=yes -o NumberOfPasswordPrompts=0"
        return self._try(f"timeout 10 ssh {options} -p {int(port)} -- {shlex.quote(f'{user}@{address}')} true </dev/null")

    def sees(self, address: str, port: int) -> bool:
        """Whether a connection gets through."""
        return self._try(f"timeout 5 bash -c {shlex.quote(f'exec 3<>/dev/tcp/{address}/{int(port)}')}")

    def cut_ssh_of_libvirt(self, address: str) -> None:
        """End the connections by which this host's libvirt reaches that host."""
        there = shlex.quote(f"ssh .*{re.escape(address)}")
        self._shell.run(f"for parent in $(pgrep -x libvirtd) $(pgrep -x virtqemud); do pkill -P $parent -f -- {there}; done; true")

    def watch_over(self, guest_id: str, uri: str, limit_s: float) -> str:
        """Leave a watch here that lets a guest go on at its destination, should we not be there to do it.

        It does so only once this host's libvirt says that the guest has left it, and only to a guest that is held there.
        Gives its process number; empty where there can be none.
        """
        if not _PLAIN.fullmatch(guest_id) or not _PLAIN.fullmatch(uri):
            return ""
        said = self._shell.run(_WATCH.format(guest=guest_id, uri=uri, limit=int(limit_s))).out.strip()
        return said if said.isdigit() else ""

    def relieve(self, watch: str) -> None:
        """End a watch that is not needed any more."""
        self._shell.run(f"kill -- -{int(watch)} 2>/dev/null || :")

    def _try(self, command: str) -> bool:
        try:
            return self._shell.run(command, timeout_s=15.0).exit_code == 0
        except FleetError:
            return False

    def _demand_there(self, answer: Answer, path: str, what: str) -> None:
        if answer.exit_code == 44:
            raise NotFound(f"{self._address} has no disk {clean(path, 200)}", hint="look at the path")
        self._demand(answer, what)

    def _demand(self, answer: Answer, what: str) -> None:
        if answer.exit_code:
            said = clean(answer.err.strip().splitlines()[-1] if answer.err.strip() else f"it ended with {answer.exit_code}", 300)
            kind = NoCapacity if "No space left" in answer.err else WrongState
            raise kind(f"{self._address} did not {clean(what, 200)}: {said}", hint="look at the host's storage")


def _cut_off(data: bytes) -> int:
    """Bytes of a character that was cut in two at the end."""
    for length in range(1, min(4, len(data)) + 1):
        byte = data[-length]
        if byte & 0xC0 != 0x80:
            needs = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
            return length if needs > length else 0
    return 0

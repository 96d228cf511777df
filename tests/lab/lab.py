"""A lab: some hosts, what they share, and the way in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fleet_tui.backend.remote import Login
from tests.lab import guest
from tests.lab.commands import LabError, run
from tests.lab.host import IMAGES, LIBVIRTD, Host
from tests.lab.network import Network, is_taken

BASE = Path("/var/tmp/fleet-lab")
CAPABILITIES = BASE / "capabilities"
"""What a libvirtd found out about QEMU, some seconds' work; the next one looks whether it still holds."""
STANDING = "standing"
PROGRAMS = {
    "libvirtd": "libvirt-daemon-system", "virsh": "libvirt-clients", "qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils",
    "sshd": "openssh-server", "ssh-keygen": "openssh-client", "ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux",
    "cpio": "cpio", "dpkg-deb": "dpkg", "openssl": "openssl",
    "ovs-vsctl": "openvswitch-switch", "ovs-vswitchd": "openvswitch-switch", "ethtool": "ethtool", "modprobe": "kmod",
}  # fmt: skip


class Lab:
    """Lab ``number`` of this machine."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.folder = BASE / str(number)
        self.network = Network(number)
        self.shared = self.folder / "shared"
        """At this path on every host."""
        self.key_file = self.folder / "key"
        self.boot = guest.Boot(self.shared / "boot" / "vmlinuz", self.shared / "boot" / "initrd.gz")
        count = len(list(self.folder.glob("kvm*"))) if self.folder.exists() else 0
        self.hosts = [Host(n, self.folder / f"kvm{n}", self.network) for n in range(1, count + 1)]

    @property
    def key(self) -> str:
        """The private key that opens every host as root."""
        return self.key_file.read_text()

    @property
    def password(self) -> str:
        """Opens them too."""
        return (self.folder / "password").read_text()

    @property
    def is_standing(self) -> bool:
        return (self.folder / "owner").read_text() == STANDING

    def login(self, host: Host) -> Login:
        return host.login(self.key)

    def _make(self, count: int) -> None:
        boot = guest.built(BASE)
        (self.shared / "boot").mkdir(parents=True)
        for made, place in ((boot.kernel, self.boot.kernel), (boot.initrd, self.boot.initrd)):
            os.link(made, place)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {self.number}", "-f", self.key_file)
        (self.folder / "password").touch(0o600)
        (self.folder / "password").write_text(secrets.token_urlsafe(12))
        self.network.up()
        self.hosts = [Host(n, self.folder / f"kvm{n}", self.network) for n in range(1, count + 1)]
        for host in self.hosts:
            host.make(shared=self.shared, authorized=self.key_file.with_suffix(".pub").read_text().strip(), password=self.password)
            if CAPABILITIES.exists():
                shutil.copytree(CAPABILITIES, host.folder / "cache/qemu/capabilities", dirs_exist_ok=True)
        self.trust()

    def trust(self) -> None:
        """Every host may log in to every other as root, and knows its host key."""
        ours = self.key_file.with_suffix(".pub").read_text().strip()
        for host in self.hosts:
            host.allow([ours, *(other.own_key for other in self.hosts if other is not host)])
            host.know(self.hosts)

    def distrust(self) -> None:
        """Only we may log in: hosts do not reach each other."""
        for host in self.hosts:
            host.allow([self.key_file.with_suffix(".pub").read_text().strip()])

    def on(self) -> None:
        """All hosts, answering."""
        standing = self.is_standing
        for host in self.hosts:
            host.on(standing=standing)
        for host in self.hosts:
            host.wait()

    def clean(self) -> None:
        """As new: all hosts on, connected and answering, no guest, no disk."""
        with ThreadPoolExecutor(len(self.hosts)) as each:
            list(each.map(self._clean, self.hosts))
        for path in self.shared.iterdir():
            if path != self.boot.kernel.parent:
                path.unlink()
        self.trust()

    def _clean(self, host: Host) -> None:
        if host.pid:
            host.plug()
            host.run("sh", "-c", "kill -CONT -1")  # whatever a test had hang
            try:
                for found in host.virsh("list", "--all", "--uuid", timeout=20).split():
                    if found in host.virsh("list", "--uuid", timeout=20).split():
                        host.virsh("destroy", found, timeout=20)
                    if found in host.virsh("list", "--all", "--uuid", timeout=20).split():  # a transient one is gone
                        host.virsh("undefine", found, "--nvram", timeout=20)
            except (LabError, subprocess.TimeoutExpired):
                host.off()
            else:
                host.unwire()
                for place in (IMAGES, "/var/log/libvirt/qemu"):
                    while host.says("mountpoint", "-q", place):
                        host.run("umount", place)
        for place in ("lib/images", "log/qemu", *(["etc/libvirt/qemu"] if not host.pid else [])):
            for path in (host.folder / place).glob("*"):
                if path.is_file():
                    path.unlink()
        if not host.pid:
            host.on(standing=self.is_standing)
        host.wait()

    def stop(self) -> None:
        """Nothing of it remains."""
        for host in self.hosts:
            host.off()
        with contextlib.suppress(OSError, IndexError):
            shutil.copytree(self.hosts[0].folder / "cache/qemu/capabilities", CAPABILITIES, dirs_exist_ok=True)
        self.network.down()
        shutil.rmtree(self.folder, ignore_errors=True)


def why_not() -> str:
    """Why this machine cannot have a lab; empty when it can."""
    if os.geteuid() != 0:
        return "the lab of real hosts needs root"
    if os.uname().machine != "x86_64":
        return "the lab's guest is x86-64"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    lacking = sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None})
    if not lacking and not Path(LIBVIRTD).exists():
        lacking = ["libvirt-daemon-system"]
    return f"the lab of real hosts needs {', '.join(lacking)} (Debian packages)" if lacking else ""


def start(count: int = 3, *, standing: bool = False) -> Lab:
    """A new lab, its hosts answering. Without ``standing`` it ends with this process."""
    with _claiming():
        for lab in found():
            owner = (lab.folder / "owner").read_text() if (lab.folder / "owner").exists() else ""
            if owner != STANDING and owner != _identity(int(owner.split()[0]) if owner else 0):
                lab.stop()
        number = next(n for n in range(1, 100) if not (BASE / str(n)).exists() and not is_taken(n))
        (BASE / str(number)).mkdir()
        (BASE / str(number) / "owner").write_text(STANDING if standing else _identity(os.getpid()))
    lab = Lab(number)
    try:
        lab._make(count)
        lab.on()
    except BaseException:
        lab.stop()
        raise
    return lab


def found() -> list[Lab]:
    """Every lab of this machine."""
    return [Lab(int(path.name)) for path in sorted(BASE.glob("[0-9]*")) if path.name.isdigit()]


@contextlib.contextmanager
def _claiming() -> Iterator[None]:
    BASE.mkdir(parents=True, exist_ok=True)
    with (BASE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _identity(pid: int) -> str:
    """A process, told from a later one with the same number by its start."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return f"{pid} {stat.read().rsplit(')', 1)[1].split()[19]}"
    except OSError:
        return ""

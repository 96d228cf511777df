"""One host of a lab: power, cable, libvirtd, and what is its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from fleet_tui.backend.remote import Login
from tests.lab.commands import LabError, finished, run
from tests.lab.network import Network
from tests.waiting import until

INIT = Path(__file__).with_name("host-init.sh")
SWITCH = Path(__file__).with_name("switch.sh")
SHIM = Path(__file__).with_name("ip-shim.sh")
LIBVIRTD = "/usr/sbin/libvirtd"
IMAGES = "/var/lib/libvirt/images"
"""Each host's local storage, by the same name on all of them."""

LIBVIRTD_CONF = """\
auth_unix_rw = "none"
keepalive_interval = 2
keepalive_count = 3
host_uuid = "{uuid}"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
log_filters = "3:util 3:object 3:json 3:event"
"""
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
migration_host = "{address}"
migration_address = "{address}"
keepalive_interval = 2
keepalive_count = 3
"""
SSHD_CONF = """\
ListenAddress {address}
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin yes
PasswordAuthentication yes
UsePAM no
UseDNS no
PidFile /run/sshd.pid
Subsystem sftp internal-sftp
"""
UNWIRE = """\
for bridge in $(ovs-vsctl list-br); do [ "$bridge" = ovs0 ] || ovs-vsctl --if-exists del-br "$bridge"; done
for port in $(ovs-vsctl list-ports ovs0); do [ "$port" = eth1 ] || ovs-vsctl --if-exists del-port ovs0 "$port"; done
for path in /sys/class/net/*; do
  case ${path##*/} in br*|vx*|eth2.*) ip link del dev "${path##*/}" ;; esac
done
"""
POOL = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>\n"


class Host:
    """Host ``number`` of a lab, ``kvm<number>`` by name. Its folder stands for its disks: it survives a power cut."""

    def __init__(self, number: int, folder: Path, network: Network) -> None:
        self.number = number
        self.name = f"kvm{number}"
        self.folder = folder
        self.network = network
        self.address = network.address(number)
        self._process: subprocess.Popen[bytes] | None = None

    # What it is made of

    def make(self, *, shared: Path, authorized: str, password: str) -> None:
        """Its disks, once."""
        for part in ("lib/images", "log/qemu", "cache", "root/.ssh", "bin"):
            (self.folder / part).mkdir(parents=True)
        etc = self.folder / "etc"
        shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
        for path in etc.glob("ssh/ssh_host_*"):
            path.unlink()
        (etc / "lab").mkdir()
        shutil.copy(SWITCH, etc / "lab" / SWITCH.name)
        if not has_vlans():
            for name in ("ip", "modprobe"):
                shutil.copy(SHIM, self.folder / "bin" / name)
                (self.folder / "bin" / name).chmod(0o755)
        shutil.rmtree(etc / "ssh" / "sshd_config.d", ignore_errors=True)
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{self.network.address(n)} kvm{n}\n" for n in range(1, 10)))
        (etc / "libvirt" / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=uuid.uuid4()))
        (etc / "libvirt" / "qemu.conf").write_text(QEMU_CONF.format(address=self.address))
        shutil.rmtree(etc / "libvirt" / "qemu" / "networks" / "autostart", ignore_errors=True)
        for name, path in (("default", IMAGES), ("shared", str(shared))):
            pool = etc / "libvirt" / "storage" / f"{name}.xml"
            (pool.parent / "autostart").mkdir(parents=True, exist_ok=True)
            pool.write_text(POOL.format(name=name, path=path))
            (pool.parent / "autostart" / pool.name).symlink_to(f"/etc/libvirt/storage/{pool.name}")
        (etc / "ssh" / "sshd_config").write_text(SSHD_CONF.format(address=self.address))
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", etc / "ssh" / "ssh_host_ed25519_key")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{self.name}", "-f", self.folder / "root/.ssh/id_ed25519")
        (self.folder / "root").chmod(0o700)
        (self.folder / "root/.ssh").chmod(0o700)
        self.allow([authorized])
        self.set_password(password)

    @property
    def host_key(self) -> str:
        """``ssh-ed25519 AAAA…``"""
        return " ".join((self.folder / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])

    @property
    def own_key(self) -> str:
        """The public key with which this host comes to the others."""
        return (self.folder / "root/.ssh/id_ed25519.pub").read_text().strip()

    def allow(self, keys: Sequence[str]) -> None:
        """Who may log in as root."""
        path = self.folder / "root/.ssh/authorized_keys"
        path.write_text("\n".join(keys) + "\n")
        path.chmod(0o600)

    def know(self, hosts: Sequence[Host]) -> None:
        """Have it know the host keys of others: what makes a migration from host to host possible without a person."""
        (self.folder / "root/.ssh/known_hosts").write_text("".join(f"{host.address},{host.name} {host.host_key}\n" for host in hosts))

    def set_password(self, password: str) -> None:
        """Root's password, as ``chpasswd`` on the host would."""
        coded = run("openssl", "passwd", "-6", "-stdin", input=password).strip()
        path = self.folder / "etc/shadow"
        lines = [line.split(":") for line in path.read_text().splitlines()]
        path.write_text("".join(":".join([name, coded if name == "root" else old, *rest]) + "\n" for name, old, *rest in lines))

    def new_host_key(self) -> None:
        """Another host key, as after a re-installation; used from the next power-on."""
        path = self.folder / "etc/ssh/ssh_host_ed25519_key"
        path.unlink()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", path)

    def login(self, private_key: str) -> Login:
        return Login(self.address, "root", private_key=private_key, host_key=self.host_key)

    # Power

    @property
    def pid(self) -> int:
        """Of its process 1, 0 when it is off."""
        try:
            pid = int((self.folder / "pid").read_text())
            with open(f"/proc/{pid}/stat") as stat:
                return 0 if stat.read().rsplit(")", 1)[1].split()[0] in "ZX" else pid
        except (OSError, ValueError):
            return 0

    def on(self, *, standing: bool = False) -> None:
        """Power; does not wait until it answers. A host that is not ``standing`` ends with this process, however that ends."""
        if self.pid:
            return
        self.network.attach(self.number)
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "console").open("ab") as console:
            self._process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.network.namespace(self.number)}", "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork",
                 "--kill-child", "sh", INIT, self.name, self.folder],
                stdin=self._lifeline() if standing else subprocess.PIPE, stdout=console, stderr=console, start_new_session=True, cwd="/",
            )  # fmt: skip
        until(lambda: self.pid, what=f"{self.name} has power")

    def _lifeline(self) -> int:
        """A standard input that never ends: a pipe that the host holds at both ends."""
        path = self.folder / "lifeline"
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def off(self) -> None:
        """A power cut: everything on it is gone at once, the disks stay."""
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(timeout=20)
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            self._process = None
        until(lambda: not self.pid, what=f"{self.name} is off")
        (self.folder / "pid").unlink(missing_ok=True)
        self.network.detach(self.number)

    def wait(self) -> None:
        """Until sshd and libvirtd answer."""
        until(lambda: _answers((self.address, 22)) and _answers(f"/proc/{self.pid}/root/run/libvirt/libvirt-sock"), 30, f"{self.name} answers")

    # Cable and libvirtd

    def unplug(self) -> None:
        self.network.plug(self.number, connected=False)

    def plug(self) -> None:
        self.network.plug(self.number, connected=True)

    def stop_libvirtd(self) -> None:
        pid = self.path("/run/libvirtd.pid").read_text().strip()
        self._signal_libvirtd(signal.SIGTERM)
        until(lambda: not self.says("kill", "-0", pid), 60, "libvirtd ended")

    def start_libvirtd(self) -> None:
        self.run(LIBVIRTD, "--daemon", "--pid-file", "/run/libvirtd.pid")
        self.wait()

    def hang_libvirtd(self) -> None:
        """It keeps its connections and answers nothing."""
        self._signal_libvirtd(signal.SIGSTOP)

    def resume_libvirtd(self) -> None:
        self._signal_libvirtd(signal.SIGCONT)

    def _signal_libvirtd(self, number: signal.Signals) -> None:
        pid = Path(f"/proc/{self.pid}/root/run/libvirtd.pid")
        if pid.exists():
            self.run("kill", f"-{number.value}", pid.read_text().strip())

    def unwire(self) -> None:
        """Whatever was added to its network since its power came on goes again."""
        self.run("sh", "-c", UNWIRE)

    # Inside

    def run(self, *command: str, timeout: float = 60.0) -> str:
        """Run a program on it, and give its output."""
        return finished([*self._inside(), *command], timeout=timeout).stdout

    def says(self, *command: str, timeout: float = 60.0) -> bool:
        """Whether a program on it ends well."""
        return finished([*self._inside(), *command], timeout=timeout, check=False).returncode == 0

    def virsh(self, *words: str, timeout: float = 60.0) -> str:
        return self.run("virsh", "-c", "qemu:///system", *words, timeout=timeout)

    def _inside(self) -> list[str]:
        pid = self.pid
        if not pid:
            raise LabError(f"{self.name} is off")
        return ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--", "env", "HOME=/root"]

    def path(self, path: str) -> Path:
        """A file of the running host, as seen from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def guests(self) -> dict[str, str]:
        """State by UUID, as libvirt's own client sees it: ``{"…": "running"}``."""
        names = self.virsh("list", "--all", "--uuid").split()
        return {name: self.virsh("domstate", name).strip() for name in names}


def has_vlans() -> bool:
    """Whether this machine's kernel knows 802.1Q."""
    return Path("/proc/net/vlan").exists() or finished(["modprobe", "-q", "8021q"], check=False).returncode == 0


def _answers(place: tuple[str, int] | str) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET) as client:
        client.settimeout(1.0)
        return client.connect_ex(place) == 0

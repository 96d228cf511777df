"""The lab as a bench for the contract suites."""

from __future__ import annotations

from collections.abc import Callable
from uuid import NAMESPACE_DNS, uuid5

import pytest

from fleet_tui.backend.hypervisors import Disk, GuestSpec, Hypervisor
from fleet_tui.backend.hypervisors.libvirt import Libvirt
from fleet_tui.backend.remote import Login
from fleet_tui.backend.remote.ssh import SshReach
from tests.lab.host import IMAGES, Host
from tests.lab.lab import Lab

MIB = 1024**2


def lab_bench(request: pytest.FixtureRequest) -> LabBench:
    """For a fixture that runs a suite over fake and real hosts. Skips where there can be no lab."""
    pytest.importorskip("libvirt", reason="the Python module libvirt is missing: pip install 'fleet-tui[libvirt]'", exc_type=ImportError)
    lab: Lab = request.getfixturevalue("lab")
    return LabBench(lab)


class LabBench:
    """Real hosts, by the real drivers. Implements ``Bench`` of the contract suites."""

    kind = "kvm"
    wait_s = 60.0

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.hosts = tuple(host.name for host in lab.hosts)
        self._reach = SshReach(dial_s=5.0)
        self.drivers = Libvirt(self._reach)
        self._open: list[Hypervisor] = []

    def host(self, name: str) -> Host:
        return next(host for host in self.lab.hosts if host.name == name)

    def connect(self, host: str, lost: Callable[[str], None] = lambda reason: None) -> Hypervisor:
        found = self.drivers.open(self.kind, self.login(host), lost)
        self._open.append(found)
        return found

    def login(self, host: str) -> Login:
        return self.lab.login(self.host(host))

    def reach(self) -> SshReach:
        return self._reach

    def password(self) -> str:
        return self.lab.password

    def spec(self, name: str, *, cmdline: str = "", disks: tuple[Disk, ...] = ()) -> GuestSpec:
        words = f"console=ttyS0 quiet panic=1 {cmdline}".strip()
        return GuestSpec(str(uuid5(NAMESPACE_DNS, f"{name}.lab")), name, 1, 96 * MIB, 96 * MIB, 1000, kernel=str(self.lab.boot.kernel),
                         initrd=str(self.lab.boot.initrd), cmdline=words, disks=disks)  # fmt: skip

    def shared(self, name: str) -> str:
        return str(self.lab.shared / name)

    def local(self, name: str) -> str:
        return f"{IMAGES}/{name}"

    def exists(self, host: str, path: str) -> bool:
        return self.host(host).says("test", "-e", path)

    def power_off(self, host: str) -> None:
        self.host(host).off()

    def power_on(self, host: str) -> None:
        self.host(host).on()
        self.host(host).wait()

    def unplug(self, host: str) -> None:
        self.host(host).unplug()

    def plug(self, host: str) -> None:
        self.host(host).plug()

    def hang(self, host: str) -> None:
        self.host(host).hang_libvirtd()

    def wake(self, host: str) -> None:
        self.host(host).resume_libvirtd()

    def stop_service(self, host: str) -> None:
        self.host(host).stop_libvirtd()

    def start_service(self, host: str) -> None:
        self.host(host).start_libvirtd()

    def close(self) -> None:
        for found in self._open:
            found.close()

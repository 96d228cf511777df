"""The lab itself does what its tests rely on."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.lab import lab as labs
from tests.lab.fixtures import REAL_HOSTS
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.waiting import until

pytestmark = REAL_HOSTS


def test_hosts_are_distinct_and_trust_each_other(lab: Lab) -> None:
    assert [host.run("hostname").strip() for host in lab.hosts] == ["kvm1", "kvm2", "kvm3"]
    assert len({host.host_key for host in lab.hosts}) == len({host.virsh("capabilities").split("<uuid>")[1][:36] for host in lab.hosts}) == 3
    assert lab.hosts[0].run("ssh", "-o", "BatchMode=yes", "root@kvm3", "hostname").strip() == "kvm3"
    assert lab.hosts[2].path(str(lab.boot.kernel)).exists()


def test_power_cut_takes_everything_but_the_disks(lab: Lab) -> None:
    host = lab.hosts[1]
    host.run("sh", "-c", "echo kept > /var/lib/libvirt/images/disk; sync; sleep 1000 >/dev/null 2>&1 &")
    assert _hears(lab.hosts[0], host) and host.says("pgrep", "sleep")
    host.off()
    assert not host.pid and not _hears(lab.hosts[0], host)
    host.on()
    host.wait()
    assert host.run("cat", "/var/lib/libvirt/images/disk") == "kept\n"
    assert not host.says("pgrep", "sleep")


def test_cable_and_libvirtd(lab: Lab) -> None:
    first, second = lab.hosts[:2]
    second.unplug()
    assert not _hears(first, second)
    second.plug()
    until(lambda: _hears(first, second), what="the cable carries again")
    second.stop_libvirtd()
    assert not second.says("timeout", "5", "virsh", "list")
    second.start_libvirtd()
    second.hang_libvirtd()
    assert not second.says("timeout", "2", "virsh", "list")
    second.resume_libvirtd()
    assert second.says("virsh", "list")


def test_a_killed_session_leaves_nothing(lab: Lab) -> None:
    """Labs stand side by side; of one whose session was killed, the hosts end at once and the rest goes when the next lab starts."""
    program = "from tests.lab import lab; found = lab.start(1); print(found.number, found.hosts[0].pid, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        number, pid = (int(word) for word in session.stdout.readline().split())
        assert number != lab.number and os.path.exists(f"/proc/{pid}")
        session.kill()
    until(lambda: not os.path.exists(f"/proc/{pid}"), what="its host ended")
    assert all(host.pid for host in lab.hosts)
    labs.start(1).stop()
    assert [other.number for other in labs.found() if other.number == number] == []


def _hears(one: Host, other: Host) -> bool:
    return one.says("timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{other.address}/22")

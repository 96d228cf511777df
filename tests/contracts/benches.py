"""Benches: hosts to try a driver on, simulated or real, behind one small protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from fleet_tui.backend.hypervisors import Disk, GuestSpec, Hypervisor, Moved, MoveOptions, Progress
from fleet_tui.backend.hypervisors.fake import FakeWorld
from fleet_tui.backend.hypervisors.fake_ledger import Host
from fleet_tui.backend.remote import Login, Reach
from tests.waiting import until

MIB = 1024**2
SLOW = MoveOptions(bandwidth_mib_s=5, timeout_s=120.0)
"""Nothing of a guest of 96 MiB moves in less than some seconds with it, on a real host."""


class Bench(Protocol):
    """Three hosts of one cluster, each answering, without guests."""

    hosts: tuple[str, ...]
    kind: str
    wait_s: float
    """Longest wait for anything."""

    def connect(self, host: str, lost: Callable[[str], None] = ...) -> Hypervisor: ...

    def login(self, host: str) -> Login: ...

    def reach(self) -> Reach: ...

    def password(self) -> str:
        """Of root, on every host."""
        ...

    def spec(self, name: str, *, cmdline: str = "", disks: tuple[Disk, ...] = ()) -> GuestSpec:
        """A guest of 96 MiB, ready in seconds, that says ``GUEST-READY`` and then ``TICK n`` for ever. ``dirty=M`` as a word has it rewrite memory."""
        ...

    def shared(self, name: str) -> str:
        """A path that is the same file on every host."""
        ...

    def local(self, name: str) -> str: ...

    def exists(self, host: str, path: str) -> bool: ...

    def power_off(self, host: str) -> None: ...

    def power_on(self, host: str) -> None:
        """Until it answers."""
        ...

    def unplug(self, host: str) -> None: ...

    def plug(self, host: str) -> None: ...

    def hang(self, host: str) -> None: ...

    def wake(self, host: str) -> None: ...

    def stop_service(self, host: str) -> None: ...

    def start_service(self, host: str) -> None: ...


class FakeBench:
    """On the fake: its time runs fifty times as fast."""

    kind = "kvm"
    wait_s = 10.0

    def __init__(self, directory: Path) -> None:
        self.world = FakeWorld(directory, pace=0.02)
        for number in (1, 2, 3):
            self.world.add_host(Host(f"kvm{number}", f"10.77.0.{number}", pool="lab", serial=f"serial-{number}"))
            self.world.reach.set_password(f"10.77.0.{number}", "root", self.password())
        self.hosts = ("kvm1", "kvm2", "kvm3")

    def connect(self, host: str, lost: Callable[[str], None] = lambda reason: None) -> Hypervisor:
        return self.world.open(self.kind, self.login(host), lost)

    def login(self, host: str) -> Login:
        address = self.world.host(host).address
        return Login(address, "root", private_key="-", host_key=self.world.reach.machine(address).host_key.text)

    def reach(self) -> Reach:
        return self.world.reach

    def password(self) -> str:
        return "first password"

    def spec(self, name: str, *, cmdline: str = "", disks: tuple[Disk, ...] = ()) -> GuestSpec:
        return GuestSpec(_uuid(name), name, 1, 96 * MIB, 96 * MIB, 1000, kernel="/boot/vmlinuz",
                         initrd="/boot/initrd", cmdline=cmdline, disks=disks)

    def shared(self, name: str) -> str:
        return f"/shared/{name}"

    def local(self, name: str) -> str:
        return f"/local/{name}"

    def exists(self, host: str, path: str) -> bool:
        place = host if path.startswith("/local/") else "lab"
        return f"{place}:{path}" in self.world.ledger.files

    def power_off(self, host: str) -> None:
        self.world.power_off(host)

    def power_on(self, host: str) -> None:
        self.world.power_on(host)

    def unplug(self, host: str) -> None:
        self.world.cut_link(host)

    def plug(self, host: str) -> None:
        self.world.mend_link(host)

    def hang(self, host: str) -> None:
        self.world.hang(host)

    def wake(self, host: str) -> None:
        self.world.wake(host)

    def stop_service(self, host: str) -> None:
        self.world.cut_link(host, "no-service")

    def start_service(self, host: str) -> None:
        self.world.mend_link(host)

    def close(self) -> None:
        self.world.close()


class Flight:
    """A migration in its own thread. Inside the block it is under way."""

    def __init__(self, source: Hypervisor, destination: Hypervisor, guest_id: str, options: MoveOptions, wait_s: float) -> None:
        self._thread = threading.Thread(target=self._fly, args=(source, destination, guest_id, options), daemon=True)
        self._wait_s = wait_s
        self.told: list[Progress] = []
        self.moved: Moved | None = None
        self.error: BaseException | None = None

    def _fly(self, source: Hypervisor, destination: Hypervisor, guest_id: str, options: MoveOptions) -> None:
        try:
            self.moved = source.migrate(guest_id, destination, options, self.told.append)
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Flight:
        self._thread.start()
        until(lambda: self.error or len(self.told) > 1, self._wait_s, "it moves")
        assert self.error is None, self.error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.join(60.0)
        assert not self._thread.is_alive(), "the migration did not come back"


def _uuid(name: str) -> str:
    return f"00000000-0000-4000-8000-{name.encode().hex():0>12}"

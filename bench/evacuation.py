"""A real host emptied: four running guests moved to two others, two at a time, by our driver and by ``virsh``. Emulated guests, so ratios only."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.sheet import Goal, Row, skipped
from bench.site import ROOT, Bench, until
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.hypervisors import GuestState, Hypervisor, MoveOptions

NAME = "evacuating a real host of 4 guests, 2 at a time"
GUESTS, AT_ONCE, ROUNDS = 4, 2, 3
MOVE = ("migrate", "--live", "--p2p", "--persistent", "--undefinesource", "--unsafe")


def measure(bench: Bench) -> list[Row]:
    if why := _why_not():
        return [skipped(NAME, why)]
    ours: list[float] = []
    theirs: list[float] = []
    with _fleet() as fleet:
        for number in range(ROUNDS * 2):
            which, move = (ours, fleet.by_driver) if number % 2 else (theirs, fleet.by_virsh)
            which.append(fleet.evacuate(move))
            fleet.come_back()
    return [Row(NAME, "s", ours, "virsh migrate --p2p", theirs, Goal(1.15, "ratio"))]


def _why_not() -> str:
    if not (ROOT / "tests" / "lab").exists():
        return "the tests are not here"
    try:
        import libvirt  # noqa: F401
    except ImportError:
        return "the Python module libvirt is missing: pip install 'fleet-tui[libvirt]'"
    from tests.lab.lab import why_not

    return why_not()


@contextlib.contextmanager
def _fleet() -> Iterator[_Fleet]:
    from tests.lab import lab as labs

    lab = labs.start(3)
    try:
        yield _Fleet(lab)
    finally:
        lab.stop()


class _Fleet:
    """Three hosts, the guests on the first."""

    def __init__(self, lab: object) -> None:
        from tests.lab.bench import LabBench

        self._bench = LabBench(lab)  # type: ignore[arg-type]
        self.hosts: list[Hypervisor] = [self._bench.connect(name) for name in self._bench.hosts]
        specs = [self._bench.spec(f"g{number}", cmdline="tick=2000000") for number in range(GUESTS)]
        self.guests = [spec.id for spec in specs]
        for spec in specs:
            self.hosts[0].create(spec)
            self.hosts[0].start(spec.id)
        for guest in self.guests:
            until(lambda guest=guest: "GUEST-READY" in self.hosts[0].log_of(guest, 0)[1], 120.0, "the guests are ready")  # type: ignore[misc]

    def evacuate(self, move: Callable[[str, int], object]) -> float:
        """Seconds until the first host is empty."""
        os.sync()
        begun = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as each:
            list(each.map(move, self.guests, [1 + number % 2 for number in range(GUESTS)]))
        took = time.perf_counter() - begun
        if self.hosts[0].guests():
            raise FleetError("the host is not empty")
        return took

    def by_driver(self, guest: str, target: int) -> None:
        self.hosts[0].migrate(guest, self.hosts[target], MoveOptions(), lambda progress: None)

    def by_virsh(self, guest: str, target: int) -> None:
        address = self._bench.host(self._bench.hosts[target]).address
        self._bench.host(self._bench.hosts[0]).virsh(*MOVE, guest, f"qemu+ssh://root@{address}/system")

    def come_back(self) -> None:
        for host in self.hosts[1:]:
            for found in host.guests():
                host.migrate(found.id, self.hosts[0], MoveOptions(), lambda progress: None)
        if [found.state for found in self.hosts[0].guests()] != [GuestState.RUNNING] * GUESTS:
            raise FleetError("not every guest came back")

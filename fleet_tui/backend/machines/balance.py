"""How even a cluster is, and which host keeps it most even.

The score is Ganeti's idea: half the standard deviation of the share of free memory, half that of free CPU, one for each host that the
others could not take over (N+1), two for each clash of exclusion tags. Lower is better, 0 is perfect. For the score a host can be taken
over when the free room of the others is as large as it, and their largest free block as large as its largest VM; whether every
VM really finds a place is :func:`evacuation.survives`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from fleet_tui.backend.machines.world import Cluster, Seat

SPREAD, FAILING, CLASH = 0.5, 1.0, 2.0


class Balance:
    """Sums over a cluster's open hosts, kept up to date while VMs are placed."""

    def __init__(self, cluster: Cluster) -> None:
        self._seats = [seat for seat in cluster.seats if not seat.closed and seat.cpu > 0 and seat.ram > 0]
        ram = [seat.ram_free / seat.ram for seat in self._seats]
        cpu = [seat.cpu_free / seat.cpu for seat in self._seats]
        self._ram, self._ram2 = sum(ram), sum(x * x for x in ram)
        self._cpu, self._cpu2 = sum(cpu), sum(x * x for x in cpu)
        self._free_ram, self._free_cpu = sum(seat.ram_free for seat in self._seats), sum(seat.cpu_free for seat in self._seats)

    def score(self) -> float:
        """As it stands."""
        n = len(self._seats) or 1
        spread = _deviation(self._ram, self._ram2, n) + _deviation(self._cpu, self._cpu2, n)
        clashes = sum(count - 1 for seat in self._seats for count in seat.tags.values() if count > 1)
        return SPREAD * spread + FAILING * self._failing(None, 0) + CLASH * clashes

    def best(self, fitting: Sequence[Seat], cpu: int, ram: int) -> Seat:
        """Of the hosts that it fits on, the one after which the score is lowest; of equal ones the first."""
        n = len(self._seats)
        ram1, ram2, cpu1, cpu2 = self._ram, self._ram2, self._cpu, self._cpu2
        emptiest = max(self._seats, key=lambda seat: seat.ram_free)
        usual = FAILING * self._failing(None, 0)
        best, lowest = fitting[0], float("inf")
        for seat in fitting:
            x, y = (seat.ram - seat.ram_taken) / seat.ram, (seat.cpu - seat.cpu_taken) / seat.cpu
            dx, dy = ram / seat.ram, cpu / seat.cpu
            mean, other = (ram1 - dx) / n, (cpu1 - dy) / n
            spread = sqrt(max(0.0, (ram2 - dx * (2 * x - dx)) / n - mean * mean)) + sqrt(max(0.0, (cpu2 - dy * (2 * y - dy)) / n - other * other))
            score = SPREAD * spread + (usual if seat is not emptiest else FAILING * self._failing(seat, ram))
            if score < lowest:
                best, lowest = seat, score
        return best

    def placed(self, seat: Seat, cpu: int, ram: int) -> None:
        """That much was taken there (the seat has it already)."""
        after, before = seat.ram_free / seat.ram, (seat.ram_free + ram) / seat.ram
        self._ram += after - before
        self._ram2 += after * after - before * before
        after, before = seat.cpu_free / seat.cpu, (seat.cpu_free + cpu) / seat.cpu
        self._cpu += after - before
        self._cpu2 += after * after - before * before
        self._free_ram -= ram
        self._free_cpu -= cpu

    def _failing(self, chosen: Seat | None, ram: int) -> int:
        """Hosts that the others could not take over, if so much more were taken on ``chosen``.

        How much is free in all does not depend on where a VM goes; the largest free block does, and only if it goes there.
        """
        blocks = sorted((seat.ram_free - (ram if seat is chosen else 0) for seat in self._seats), reverse=True)[:2]
        largest, next_largest = (*blocks, 0, 0)[:2]
        failing = 0
        for seat in self._seats:
            mine = seat.ram_free - (ram if seat is chosen else 0)
            block = next_largest if mine == largest else largest
            failing += seat.ram > self._free_ram or seat.cpu > self._free_cpu or seat.largest > block
        return failing


def _deviation(total: float, squares: float, n: int) -> float:
    return sqrt(max(0.0, squares / n - (total / n) ** 2))

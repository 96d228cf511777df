"""What a process uses, by the kernel's own books."""

from __future__ import annotations

import os

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Usage:
    """CPU and memory of one process, its threads included. A process that is gone uses nothing."""

    def __init__(self, pid: int) -> None:
        self._folder = f"/proc/{pid}"

    def cpu_s(self) -> float:
        """Seconds on a processor so far: nanoseconds of live threads, or clock ticks where those of ended threads add up to more."""
        return max(self._scheduled_s(), self._ticks_s())

    def _scheduled_s(self) -> float:
        total = 0
        try:
            for thread in os.listdir(f"{self._folder}/task"):
                with open(f"{self._folder}/task/{thread}/schedstat") as file:
                    total += int(file.read().split()[0])
        except OSError:
            return 0.0
        return total / 1e9

    def _ticks_s(self) -> float:
        try:
            with open(f"{self._folder}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def memory_mb(self) -> tuple[float, float]:
        """(PSS, RSS) in megabytes of 2^20 bytes. PSS shares what several processes have mapped."""
        found = {"Pss": 0.0, "Rss": 0.0}
        try:
            with open(f"{self._folder}/smaps_rollup") as file:
                for line in file:
                    name, _, value = line.partition(":")
                    if name in found:
                        found[name] = int(value.split()[0]) / 1024
        except OSError:
            pass
        return found["Pss"], found["Rss"]

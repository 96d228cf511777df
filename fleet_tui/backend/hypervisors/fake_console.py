"""The serial line of a simulated guest: a log whose counter never stops while it runs, and a small shell."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from fleet_tui.backend.errors import Unreachable
from fleet_tui.backend.hypervisors.fake_ledger import Guest

TICK_S = 0.1
"""Between two numbers of the counter."""
_READY = "GUEST-READY {name}\n"
_TICK = "TICK {number:010d}\n"
_TICK_BYTES = len(_TICK.format(number=0))
_SUM = re.compile(r"\$\(\((\d+)\+(\d+)\)\)")


def serial_log(guest: Guest, now: float, after: int, limit: int) -> tuple[int, str]:
    """What a host has of a guest's serial log from byte ``after`` on: (position reached, text).

    A host writes what is said while the guest is there: from its boot, or from its arrival, when the counter goes on.
    """
    head = _READY.format(name=guest.name) if guest.arrived <= guest.booted else ""
    first, last = _count(guest, guest.arrived), _count(guest, now)
    end = len(head) + max(0, last - first) * _TICK_BYTES
    if after > end:
        after = 0  # it was begun anew
    stop = min(end, after + limit)
    begin = max(0, after - len(head)) // _TICK_BYTES
    until = max(0, -(-(stop - len(head)) // _TICK_BYTES))
    text = head + "".join(_TICK.format(number=first + number + 1) for number in range(begin, until))
    skipped = begin * _TICK_BYTES
    return stop, text[after - skipped:stop - skipped] if after >= len(head) else text[after:stop]


def _count(guest: Guest, now: float) -> int:
    return max(0, int((now - guest.booted) / TICK_S))


class FakeConsole:
    """An open serial line. What is typed is echoed and answered as by a shell that knows ``echo``, ``hostname`` and ``uptime``."""

    def __init__(self, guest: Guest, now: Callable[[], float], is_running: Callable[[], bool]) -> None:
        self._guest, self._now, self._is_running = guest, now, is_running
        self._ready = threading.Condition()
        self._out = b""
        self._line = b""
        self._closed = False

    def read(self, timeout_s: float) -> bytes:
        with self._ready:
            self._ready.wait_for(lambda: self._out or self._closed or not self._is_running(), timeout_s)
            if not self._out and (self._closed or not self._is_running()):
                raise Unreachable(f"the console of {self._guest.name} has ended", hint="is it still running?")
            found, self._out = self._out, b""
            return found

    def write(self, data: bytes) -> None:
        with self._ready:
            if self._closed or not self._is_running():
                raise Unreachable(f"the console of {self._guest.name} has ended", hint="is it still running?")
            for byte in data.replace(b"\n", b"\r"):
                if byte == ord("\r"):
                    self._out += b"\r\n" + self._answer(self._line.decode(errors="replace").strip()) + b"/ # "
                    self._line = b""
                else:
                    self._line += bytes((byte,))
                    self._out += bytes((byte,))
            self._ready.notify_all()

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _answer(self, line: str) -> bytes:
        command, _, rest = line.partition(" ")
        if command == "echo":
            said = _SUM.sub(lambda found: str(int(found[1]) + int(found[2])), rest)
        elif command == "hostname":
            said = self._guest.name
        elif command == "uptime":
            said = f"up {self._now() - self._guest.booted:.0f} s"
        else:
            said = f"sh: {command}: not found"
        return f"{said}\r\n".encode() if command else b""

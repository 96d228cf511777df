"""Carrying lines and standing to the door, and commands back. Two threads: one that sends, one that waits for commands."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Sequence

from fleet_tui.agent.door import Door
from fleet_tui.agent.failures import DoorRefused, DoorUnreachable
from fleet_tui.agent.identity import Identity
from fleet_tui.agent.journal import notice
from fleet_tui.agent.spool import Spool
from fleet_tui.agent.standing import Standing

GATHER_S = 0.05
"""How long a line waits for company before it is sent."""
POLL_S = 25.0
FRESH_S = 1.0
"""What a reply asks for that took longer is asked about once more before it is done."""
LONGEST_PAUSE_S = 5.0
"""Between tries while the door does not answer: lines come soon after it is back."""
UNKNOWN_PAUSE_S = 300.0
"""Between tries of one whom the door has not known so many times:"""
UNKNOWN_TIMES = 20


class Reporter:
    """Sends what is new at once, and a heartbeat when nothing is.

    Args:
        spools: lines of earlier boots, then our own.
        offer: takes the commands of every reply; says whether one of them was new.
    """

    def __init__(self, identity: Identity, spools: Sequence[Spool], standing: Standing, offer: Callable[[Sequence[Any]], bool]) -> None:
        self._identity = identity
        self._spools = list(spools)
        self._standing = standing
        self._offer = offer
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._sender = threading.Thread(target=self._send_all, name="sender", daemon=True)
        self._poller = threading.Thread(target=self._poll, name="poller", daemon=True)

    def start(self) -> None:
        self._sender.start()
        self._poller.start()

    def wake(self) -> None:
        self._wake.set()

    def finish(self, timeout_s: float) -> None:
        """Send what is left, trying for so long, and end."""
        self._ending.set()
        self._wake.set()
        self._sender.join(timeout_s)

    def _send_all(self) -> None:
        door = self._identity.way()
        beat, pause, patience = 0.0, 0.25, _Patience()
        while True:
            if not self._has_news():
                if self._ending.is_set():
                    door.close()
                    return
                self._wake.wait(max(0.0, beat - time.monotonic()))
            if not self._ending.is_set():
                self._ending.wait(GATHER_S)
            self._wake.clear()
            if not self._has_news() and time.monotonic() < beat and not self._ending.is_set():
                continue
            try:
                progress = self._send(door)
            except DoorUnreachable:
                progress = False
            except DoorRefused as error:
                notice(f"report refused: {error.message} [{error.code}]")
                progress, pause = False, patience.after(error)
            if progress:
                patience.restore()
                beat, pause = time.monotonic() + self._identity.heartbeat_s, 0.25
            else:
                if self._ending.wait(pause):
                    time.sleep(0.25)
                pause = min(LONGEST_PAUSE_S, pause * 2)

    def _has_news(self) -> bool:
        return len(self._spools) > 1 or self._spools[0].has_unsent() or self._standing.has_news()

    def _send(self, door: Door) -> bool:
        """One report; false when the door took none of its lines."""
        spool = self._spools[0]
        lines, dropped = spool.read(), spool.dropped
        fields, mark = self._standing.take()
        before = spool.acknowledged
        reply = door.call("agent.report", {**self._who(), **fields, "lines": lines, "lines_of": spool.name, "dropped": dropped})
        spool.told_of_dropped(dropped)
        self._standing.told(mark, fields)
        spool.acknowledge(int(reply.get("seq") or 0))
        self._offer(reply.get("commands") or ())
        progress = not lines or spool.acknowledged > before
        if len(self._spools) > 1 and not spool.has_unsent():
            self._spools.pop(0).remove()
        return progress

    def _poll(self) -> None:
        door = self._identity.way()
        pause, patience = 0.5, _Patience()
        while not self._ending.is_set():
            asked = time.monotonic()
            try:
                fields, _ = self._standing.take()
                held = {"health": fields["health"], "health_detail": fields["health_detail"], "standing": fields["standing"], "wait_s": POLL_S}
                reply = door.call("agent.report", {**self._who(), **held}, wait_s=POLL_S)
            except DoorUnreachable:
                self._ending.wait(pause)
                pause = min(LONGEST_PAUSE_S, pause * 2)
                continue
            except DoorRefused as error:
                self._ending.wait(patience.after(error))
                continue
            pause = 0.5
            patience.restore()
            commands = reply.get("commands") or ()
            if commands and time.monotonic() - asked > FRESH_S:
                commands = self._still_wanted(door)
            if not self._offer(commands):
                # A command that is being worked on is handed out again at once: do not ask in a circle.
                self._ending.wait(0.5 if commands else 0.05)
        door.close()

    def _still_wanted(self, door: Door) -> Sequence[Any]:
        """Commands as they are now: a reply may have lain here while this machine was held up, and what it asks for may have been taken back."""
        try:
            return door.call("agent.report", self._who()).get("commands") or ()
        except (DoorUnreachable, DoorRefused):
            return ()

    def _who(self) -> dict[str, Any]:
        return {"machine": self._identity.machine, "boot": self._identity.boot, "key": self._identity.key}


class _Patience:
    """With refusals in a row: one whom the door has not known for a while is hardly known a moment later, and costs others behind its address."""

    def __init__(self) -> None:
        self._unknown = 0

    def after(self, refusal: DoorRefused) -> float:
        """Seconds until the next try."""
        self._unknown = self._unknown + 1 if refusal.code == "auth_failed" else 0
        return UNKNOWN_PAUSE_S if self._unknown > UNKNOWN_TIMES else LONGEST_PAUSE_S

    def restore(self) -> None:
        self._unknown = 0

"""What the steps of maintenance work with, as the daemon composed it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import UsageError
from fleet_tui.backend.machines.capacity import Rules
from fleet_tui.backend.machines.drivers import Links, Machines
from fleet_tui.backend.operations import OperationRecord, OperationRequest, Submitted


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of spec 18 that maintenance follows."""

    concurrent_per_cluster: int = 1
    """Hosts of one cluster that may be in preparation at once."""
    local_storage: str = "error"
    """``error`` refuses, ``migrate`` moves the disk along, ``stop`` stops the VM where stopping was allowed."""
    allow_down: bool = False
    """Whether a host found dead may go straight to maintenance."""
    attempts: int = 5
    """``ha.max.retries``: how often a VM's move is tried."""
    retry_s: float = 120.0
    """``migrate.retry.interval``."""
    watch_s: float = 5.0
    """``maintenance.watch.interval``: the host is judged at least so often."""
    silence_s: float = 120.0
    """How long an emptied host may fail to say what runs on it before its maintenance counts as failed."""
    zones_without_ha: frozenset[str] = frozenset()
    """Zones in which VM high availability is off."""
    mib_per_s: float = 1024.0
    """Assumed speed of a migration while none has been measured."""


POLICIES = ("concurrent_per_cluster", "local_storage", "allow_down", "attempts", "retry_s", "watch_s", "silence_s")
"""What of a policy can be set as text."""


def policy_of(text: str) -> Policy:
    """A policy from ``name=value,…``; what is not named keeps its default.

    Raises:
        UsageError: a name or a value is not understood.
    """
    told: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in POLICIES:
            raise UsageError(f"there is no maintenance setting {name!r}", hint=f"known: {', '.join(POLICIES)}")
        told[name] = _setting(name, value)
    return Policy(**told)


def _setting(name: str, value: str) -> Any:
    try:
        if name == "local_storage":
            return {"error": "error", "migrate": "migrate", "stop": "stop"}[value]
        if name == "allow_down":
            return {"true": True, "false": False}[value]
        number = float(value)
        if not (number >= (1 if name.endswith(("cluster", "attempts")) else 0.1)):
            raise ValueError
        return int(number) if name in ("concurrent_per_cluster", "attempts") else number
    except (KeyError, ValueError):
        raise UsageError(f"{value!r} is no value of maintenance setting {name}") from None


@dataclass(frozen=True, slots=True)
class Mail:
    """How mail leaves (``smtp.server``, ``mail.from``, ``mail.domain``)."""

    server: str = ""
    """``host`` or ``host:port``; empty when mail is off."""
    sender: str = ""
    domain: str = ""
    """Added to an owner's name that is no address."""
    timeout_s: float = 30.0


class Hands(Protocol):
    """Where moves run, several at once."""

    def start(self, key: str, work: Callable[[], None]) -> None:
        """Begin ``work`` under a name that is not busy. It must not raise."""
        ...

    def busy(self) -> frozenset[str]:
        """Names of what has not ended."""
        ...

    def rest(self, seconds: float, check: Callable[[], None]) -> None:
        """Until one of them ends, ``check`` raises, or the time is over."""
        ...


class Threads:
    """The real hands. Threads outlive a body that leaves because the daemon stops: the move goes on without us and is found again."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[str] = set()
        self._ended = 0

    def start(self, key: str, work: Callable[[], None]) -> None:
        with self._changed:
            self._busy.add(key)
        threading.Thread(target=self._run, args=(key, work), name=f"move-{key}", daemon=True).start()

    def busy(self) -> frozenset[str]:
        with self._changed:
            return frozenset(self._busy)

    def rest(self, seconds: float, check: Callable[[], None]) -> None:
        with self._changed:
            before = self._ended
            for _ in range(max(1, int(seconds / _GLANCE_S))):
                check()
                if self._changed.wait_for(lambda: self._ended != before, timeout=min(seconds, _GLANCE_S)):
                    return

    def _run(self, key: str, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            with self._changed:
                self._busy.discard(key)
                self._ended += 1
                self._changed.notify_all()


_GLANCE_S = 0.25


class Engine(Protocol):
    """What rolling maintenance asks of the operations engine."""

    def submit(self, kind_name: str, request: OperationRequest, user: str) -> Submitted: ...
    def show(self, operation_id: str) -> OperationRecord: ...


@dataclass(frozen=True, slots=True)
class Drivers:
    """Given to every step by type."""

    machines: Machines
    """What VMs are moved with: the same links, clock and rules of room as everybody's."""
    engine: Callable[[], Engine]
    """Asked for when it is needed: the engine knows the kinds, which know these."""
    policy: Policy = field(default_factory=Policy)
    mail: Mail = field(default_factory=Mail)
    hands: Callable[[], Hands] = Threads
    """New ones for each step that moves VMs."""
    restart_agent: Callable[[str], None] | None = None
    """``kvm.ssh.to.agent``: bring a host's hypervisor service up again over SSH, by host id; ``None`` where that is not allowed."""

    @property
    def clock(self) -> Clock:
        return self.machines.clock

    @property
    def links(self) -> Links:
        return self.machines.links

    @property
    def rules(self) -> Rules:
        """Of room, and of how many moves there may be out of one host and into one at once (ENG-9)."""
        return self.machines.rules

"""What stands on hosts, as this slice needs to know it: the slice above, which owns VMs, fills it in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.orm import Session

from fleet_tui.backend.operations.catalogue import StepContext


class Tenants(Protocol):
    """VMs by the host they are on. Every verb can be repeated."""

    def names(self, tx: Session, host_id: str) -> Sequence[str]:
        """VMs assigned to the host: that run or are held there, move to or away from it, or have no other place. Those that are merely
        stopped with it as their last host do not count."""
        ...

    def abandon(self, ctx: StepContext, host_id: str) -> Sequence[str]:
        """The host is given up for good, dead or alive: afterwards no VM is assigned to it. Says of each, in a sentence, what became of it.

        Where the host still answers its VMs are stopped there first, so that none can run twice; highly available ones are then restarted
        elsewhere, the others count as stopped.
        """
        ...

    def restart_elsewhere(self, ctx: StepContext, host_id: str) -> Sequence[str]:
        """The host is dead for now (``Degraded``): its highly available VMs are restarted elsewhere, the others stay assigned to it and
        unknown. Says of each what became of it."""
        ...

    def forget(self, tx: Session, host_id: str) -> None:
        """The host's row is about to go: nothing may refer to it any more."""
        ...


class Nobody:
    """Hosts on which nothing stands."""

    def names(self, tx: Session, host_id: str) -> Sequence[str]:
        return ()

    def abandon(self, ctx: StepContext, host_id: str) -> Sequence[str]:
        return ()

    def restart_elsewhere(self, ctx: StepContext, host_id: str) -> Sequence[str]:
        return ()

    def forget(self, tx: Session, host_id: str) -> None:
        pass

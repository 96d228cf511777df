"""What can go wrong with the fake provider: every verb of it, every phase and command of a simulated agent.

Beside the forms of :mod:`fleet_tui.backend.faults`::

    phase:certificate:*:1             fail an agent's phase; also ``command:restart-app`` and ``health``
    hang:phase:start:ci-*             the phase never ends
    agent-killed:db-1                 its agent dies as soon as it runs
    agent-killed:phase:install-or-upgrade:db-1   ... at that phase
"""

from __future__ import annotations

from fleet_tui.backend.errors import Busy, NoCapacity, Unreachable
from fleet_tui.backend.faults import Vocabulary

PHASES = (
    "hello", "data-disk", "internal-setup", "certificate", "actions:before_install", "install-or-upgrade",
    "actions:after_install", "start", "actions:after_startup", "ready",
)
"""What an agent goes through, in order (spec 4.7)."""
VERBS = (
    "ensure_disk", "grow_disk", "find_disk", "delete_disk", "create_machine", "find_machine", "attach_disk", "detach_disk", "boot", "shut_down",
    "terminate", "snapshot_disk", "restore_disk", "delete_snapshot", "machines", "measure_host",
)
COMMANDS = ("stop-app", "start-app", "restart-app", "replay-actions", "retry-startup", "freeze", "thaw", "grow-disk", "shutdown")

VOCABULARY = Vocabulary(
    points=(*VERBS, *(f"phase:{name}" for name in PHASES), *(f"command:{name}" for name in COMMANDS), "health", "agent"),
    reasons={
        "ensure_disk": (NoCapacity, "the storage pool has no room for the disk", "free some, or choose a smaller size"),
        "create_machine": (NoCapacity, "no host of the cluster has room for the machine", "free a host, or choose another cluster"),
        "attach_disk": (Busy, "the disk is being moved by the storage", "try again in a minute"),
        "boot": (Unreachable, "the host does not answer on its management address", "look at the host, then try again"),
        "snapshot_disk": (NoCapacity, "the snapshot pool is full", "delete old snapshots"),
    },
    effects={"agent-killed": ("kill", "agent")},
)

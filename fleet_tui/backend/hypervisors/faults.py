"""What can go wrong with the fake hypervisors: every verb, every phase of a move, the power and the links of either side.

Beside the forms of :mod:`fleet_tui.backend.faults`, by name of the guest or of a host it is about::

    guest:start:web-3                 a verb on a guest; ``host:facts:kvm-03`` is one on a host
    move:copy:db-7:2                  the copy fails half-way, twice; the guest runs on at the source
    move:switch:db-7                  the last part of the copy fails; the guest goes on at the source
    stuck:move:switch:db-7            ... but is left paused there, with its half copy at the destination
    after:move:switch:db-7            the guest runs at the destination, then the call fails: the source keeps its definition
    move:cleanup:db-7                 as that: what was to be removed at the source stays, switched off
    after:move:cleanup:db-7           everything is done, and then the answer is lost
    hang:move:copy:db-7               no progress any more, until it is aborted or its time is over
    source-off:db-7                   the source loses its power during the copy; ``source-off:move:switch:db-7`` at the switch
    destination-off:move:copy:db-7    ... the destination; at ``move:cleanup`` it is the guest's new home that goes
    link-lost:move:copy:db-7          the destination's management network breaks
"""

from __future__ import annotations

from fleet_tui.backend.errors import NoCapacity, Unreachable, WrongState
from fleet_tui.backend.faults import Vocabulary

GUEST_VERBS = (
    "find", "create", "start", "shut_down", "kill", "reboot", "resume", "resize", "remove", "console", "log_of", "abort", "drop_incoming",
    "migration", "fit", "copy_disk", "grow_disk",
)
HOST_VERBS = (
    "open", "ping", "facts", "figures", "guests", "log", "enter_maintenance", "leave_maintenance", "elect_master", "find_disk", "make_disk",
    "grow_disk", "copy_disk", "replace_disk", "erase_disk", "put_file",
)
MOVE_PHASES = ("check", "copy", "switch", "cleanup")

VOCABULARY = Vocabulary(
    points=(
        *(f"guest:{verb}" for verb in GUEST_VERBS), *(f"host:{verb}" for verb in HOST_VERBS), *(f"move:{phase}" for phase in MOVE_PHASES),
    ),
    reasons={
        "guest:create": (NoCapacity, "the storage pool has no room for the disk", "free some, or choose a smaller size"),
        "guest:start": (NoCapacity, "the hypervisor cannot get the memory", "free some on the host, or start it elsewhere"),
        "move:check": (WrongState, "the destination cannot run the guest: its CPU lacks avx2", "choose another host"),
        "move:copy": (Unreachable, "the connection to the destination broke during the copy", "try again, or choose another host"),
        "move:switch": (Unreachable, "the destination did not take over", "try again, or choose another host"),
        "move:cleanup": (Unreachable, "the source did not answer after the switch-over", "look at both hosts, then remove what is left"),
        "host:elect_master": (WrongState, "no other host of the pool was ready to be its master", "look at the pool's other hosts"),
    },
    effects={
        "stuck": ("stuck", "move:switch"), "source-off": ("source-off", "move:copy"), "destination-off": ("destination-off", "move:copy"),
        "link-lost": ("link-lost", "move:copy"),
    },
)

"""What a change of ratios would do, before it is made (CAP-4, CAP-5)."""

from __future__ import annotations

import pytest

from fleet_tui.backend.errors import InvalidInput
from fleet_tui.backend.hosts.rows import ClusterRow
from fleet_tui.backend.machines import PreviewRatio, RatioPreview
from fleet_tui.backend.machines.capacity import Rules
from fleet_tui.backend.machines.ratios import preview
from fleet_tui.backend.store import Store
from tests.backend.machines.yard import GIB, START, Fleet


@pytest.fixture
def fleet(sqlite_store: Store) -> Fleet:
    return Fleet(sqlite_store)


def asked(fleet: Fleet, rules: Rules | None = None, **ratios: float) -> RatioPreview:
    with fleet.store.read() as tx:
        return preview(tx, PreviewRatio("c", **ratios), rules or Rules(), START)


def test_raising_gives_no_room_until_vms_are_restarted(fleet: Fleet) -> None:
    fleet.host("h1", gib=8)
    for name, balloon in (("a", True), ("b", None)):
        fleet.vm(name, "h1", has_balloon=balloon)
    found = asked(fleet, ram=2.0)
    assert (found.before.ram.capacity, found.before.ram.used, found.before.ram.free) == (8 * GIB, 8 * GIB, 0)
    assert (found.after.ram.capacity, found.after.ram.used, found.after.ram.free) == (16 * GIB, 16 * GIB, 0)
    assert (found.room_after_restarts.ram.used, found.room_after_restarts.ram.free) == (8 * GIB, 8 * GIB)
    assert found.old_ratio_vms == ("a", "b") and not found.not_restartable and found.balloon_unknown == ("b",)
    assert found.after.cpu == found.before.cpu


def test_lowering_names_the_vms_that_could_not_be_restarted(fleet: Fleet) -> None:
    fleet.set(ClusterRow, "c", ram_hundredths=200)
    fleet.host("h1", gib=8)
    for name in ("a", "b", "c", "d"):  # 16 GiB of VMs on 8 GiB: fine at 2
        fleet.vm(name, "h1")
    found = asked(fleet, ram=1.0)
    assert (found.after.ram.capacity, found.after.ram.used, found.after.ram.free) == (8 * GIB, 8 * GIB, 0)
    assert found.room_after_restarts.ram.free == -8 * GIB and len(found.not_restartable) == 4 and not found.balloon_unknown
    fleet.host("h2", gib=8)
    assert not asked(fleet, ram=1.0).not_restartable, "two go over, and the others fit then"


def test_what_stays_and_what_is_inherited(fleet: Fleet) -> None:
    fleet.host("h1", gib=8)
    fleet.set(ClusterRow, "c", ram_hundredths=200, cpu_hundredths=300)
    found = asked(fleet, Rules(cpu_factor=150), cpu=0)
    assert (found.after.cpu_ratio, found.after.ram_ratio) == (1.5, 2.0)
    fleet.set(ClusterRow, "c", hypervisor="xenserver")
    with pytest.raises(InvalidInput, match="XenServer cannot exceed 4"):
        asked(fleet, Rules(cpu_factor=500), cpu=0)

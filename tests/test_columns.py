"""What the cells of the lists say."""

from __future__ import annotations

import pytest

from fleet_tui import columns
from fleet_tui.backend import instances as i
from tests.fleet_stub import GIB, host, instance


@pytest.mark.parametrize(
    ("where", "message", "said"),
    [
        ("start-up", "start-up failed at start: port 8080 is taken", "start-up failed at start: port 8080 is taken"),
        ("create-machine", "no host has room", "create-machine: no host has room"),
        ("stop", "", "stop"),
    ],
)
def test_the_place_of_a_failure_is_told_once(where: str, message: str, said: str) -> None:
    assert columns.because(where, message) == said


def test_a_disk_that_is_not_made_has_no_use_and_one_that_is_silent_is_asked_about() -> None:
    unknown = i.DataDisk(50, 50, None, "")
    assert columns.disk_use(instance("web", "new", data_disk=unknown)) == "-"
    assert columns.disk_use(instance("web", data_disk=unknown)) == "?"
    assert columns.disk_use(instance("web", data_disk=i.DataDisk(50, 50, 25 * GIB, "/d"))) == "50 %"


def test_a_host_without_a_link_says_so_in_its_state() -> None:
    assert columns.host_state(host("kvm-1")) == "enabled"
    assert columns.host_state(host("kvm-1", resource_state="Maintenance")) == "ready"
    assert columns.host_state(host("kvm-1", connection_state="Disconnected")) == "Disconnected"
    assert columns.host_state(host("kvm-1", connection_state="alert", reason="no-service")) == "no-service"
    assert columns.host_state(host("kvm-1", allocatable=False)) == "not used"

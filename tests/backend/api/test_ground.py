"""What of hosts and patches a person is told on the dashboard, and what not."""

from __future__ import annotations

from datetime import timedelta

from fleet_tui.backend.api.ground import Ground
from fleet_tui.backend.hosts.rows import HostRow, PatchRow
from fleet_tui.backend.store import Store
from tests.backend.machines.yard import START, Fleet


def told(fleet: Fleet) -> dict[str, tuple[str, str, float]]:
    with fleet.store.read() as tx:
        return {row.label: (row.severity, row.text, row.since) for row in Ground(fleet.clock).attention(tx)}


def test_a_critical_patch_is_told_once_it_is_missing_for_a_fortnight(store: Store) -> None:
    fleet = Fleet(store)
    fleet.hosts("h1", "h2", hypervisor_version="9.0")
    fleet.host("h3", hypervisor_version="9.0", patch_level="P1")
    with fleet.store.write() as tx:
        for patch, severity in (("P1", "critical"), ("P2", "important")):
            tx.add(PatchRow(id=patch, hypervisor="kvm", hypervisor_version="9", patch=patch, released="", severity=severity, note="", superseded_by="",
                            imported_at=START))  # fmt: skip
    assert "patches" not in told(fleet), "just taken in"
    fleet.clock.sleep(14 * 86400.0)
    assert "patches" not in told(fleet)
    fleet.clock.sleep(1.0)
    assert told(fleet)["patches"] == ("attention", "critical patches missing on 2 hosts for more than 14 days", START.timestamp())
    fleet.set(HostRow, "h1", patch_level="P1")
    assert "on 1 host for" in told(fleet)["patches"][1]
    fleet.set(HostRow, "h2", patch_level="P1")
    assert told(fleet) == {}


def test_a_link_that_was_closed_on_purpose_is_no_alarm(store: Store) -> None:
    fleet = Fleet(store)
    fleet.host("h1", connection_state="disconnected", reason="off", expected_off_until=START + timedelta(minutes=30))
    fleet.host("h2", connection_state="alert", reason="unreachable")
    fleet.host("h3", connection_state="down", reason="off")
    assert {label: severity for label, (severity, _, _) in told(fleet).items()} == {"h2": "failed", "h3": "failed"}

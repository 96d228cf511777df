"""Physical networks under the fleet of hosts, for pictures and for tests of the map."""

from __future__ import annotations

from fleet_tui.backend.identity import Role
from fleet_tui.backend.networks.states import PhysicalState
from tests.fleet_stub import StubSession
from tests.networks_stub import drift_of, guest_net, physical, vxlan
from tests.screens.infrastructure import hosts_fleet


def vlans_fleet(role: Role = Role.ROOT_ADMIN, *, problems: bool = True, overlay: bool = True) -> StubSession:
    """A network of VLANs with the usual scheme, an overlay of VXLANs, and one without a range."""
    stub = hosts_fleet(role)
    row, rows = guest_net(problems=problems)
    stub.put_physical(row, *rows)
    if problems:
        stub.put_presence(row.id, *drift_of(row.id))
    if overlay:
        row, rows = vxlan()
        stub.put_physical(row, *rows)
    stub.put_physical(physical("storage", "lyon", ranges=(), state=PhysicalState.DISABLED, nic_labels={}, checked_at=None))
    return stub

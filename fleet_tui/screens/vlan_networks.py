"""The list of physical networks beside the map: zone, name, how full it is, and whether something is wrong with it."""

from __future__ import annotations

from fleet_tui import columns
from fleet_tui.backend.networks import PhysicalNetworkRecord
from fleet_tui.backend.networks.states import PhysicalState
from fleet_tui.screens.tables import Table
from fleet_tui.screens.vlan_facts import used_share
from fleet_tui.widgets.column import Cell, Column
from fleet_tui.widgets.glyphs import Glyphs, bar

BAR = 6


def network_status(row: PhysicalNetworkRecord) -> str:
    if row.problems:
        return "failed"
    return "well" if row.state is PhysicalState.ENABLED else "off"


class NetworkTable(Table):
    """The list's table."""

    def __init__(self, glyphs: Glyphs, *, id: str) -> None:
        def name(row: PhysicalNetworkRecord) -> Cell:
            return f"{glyphs.status(network_status(row))} {row.zone}/{row.name}"

        def used(row: PhysicalNetworkRecord) -> Cell:
            share = used_share(row)
            if share is None:
                return "-", "muted"
            return f"{bar(share, BAR, glyphs)} {columns.percent(share):>5}", "attention" if share >= 0.9 else "muted"

        super().__init__(
            [
                Column("name", "NETWORK", 16, render=name, flexible=True, priority=1000),
                Column("used", "USED", BAR + 6, "right", render=used, priority=900),
                Column("kind", "KIND", 5, render=lambda r: (r.isolation.value, "muted"), priority=100),
                Column("ranges", "RANGES", 24, render=lambda r: (r.ranges_text, "muted"), priority=50),
            ],
            status_of=network_status, glyphs=glyphs, id=id, empty="none yet · :new-physnet",
        )  # fmt: skip

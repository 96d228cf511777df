"""The tree of zones, pods, clusters and hosts, as rows of a list: own allocation by glyph, what is inherited dimmed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleet_tui import columns
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import NotFound
from fleet_tui.backend.hosts import ClusterRecord, HostRecord, ListClusters, ListHosts, ListPods, ListZones, PodRecord, ZoneRecord
from fleet_tui.screens.tables import Table
from fleet_tui.widgets.column import Cell, Column
from fleet_tui.widgets.glyphs import Glyphs

if TYPE_CHECKING:
    from fleet_tui.session import Session

FLEET = "fleet"
"""Key of the first row, under which everything is."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One row of the tree, and what a verb on a place works on."""

    kind: str
    """``fleet``, ``zone``, ``pod``, ``cluster`` or ``host``."""
    id: str
    name: str
    key: str
    allocation: str
    """Its own; of a host its resource state."""
    place: tuple[str, ...] = ()
    """Names from the zone down to itself."""
    inherited: str = ""
    """What above it is disabled: ``zone paris is disabled``."""
    hosts: int = 0
    holds: str = ""
    """What is in it, in words; it can be deleted only when that is nothing."""
    folds: str = ""
    """``+`` when it can be unfolded, ``-`` when it can be folded."""
    record: Any = None


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Everything the tree is made of."""

    zones: Sequence[ZoneRecord]
    pods: Sequence[PodRecord]
    clusters: Sequence[ClusterRecord]

    @classmethod
    def fetched(cls, session: Session) -> Hierarchy:
        return cls(session.fetch(ListZones()), session.fetch(ListPods()), session.fetch(ListClusters()))


def rows_of(tree: Hierarchy, hosts: Iterable[HostRecord], unfolded: frozenset[str]) -> Iterator[Branch]:
    """The tree from the top; of clusters, only those unfolded show their hosts."""
    found = sorted(hosts, key=lambda h: h.name.lower())
    under: dict[str, list[HostRecord]] = {}
    for host in found:
        under.setdefault(host.location, []).append(host)
    yield Branch("fleet", "", "all", FLEET, "", hosts=len(found))
    for zone in tree.zones:
        pods = [p for p in tree.pods if p.zone == zone.name]
        yield Branch("zone", zone.id, zone.name, f"zone:{zone.id}", zone.allocation.value, (zone.name,), "",
                     _count(found, (zone.name,)), _words(pods, "pod"), record=zone)  # fmt: skip
        off = _off("zone", zone)
        for pod in pods:
            clusters = [c for c in tree.clusters if (c.zone, c.pod) == (zone.name, pod.name)]
            place = (zone.name, pod.name)
            yield Branch("pod", pod.id, pod.name, f"pod:{pod.id}", pod.allocation.value, place, off, _count(found, place),
                         _words(clusters, "cluster"), record=pod)  # fmt: skip
            for cluster in clusters:
                place = (zone.name, pod.name, cluster.name)
                key, mine = f"cluster:{cluster.id}", under.get("/".join(place), [])
                above = off or _off("pod", pod)
                folds = ("-" if key in unfolded else "+") if mine else ""
                yield Branch("cluster", cluster.id, cluster.name, key, cluster.allocation.value, place, above, len(mine),
                             _words(mine, "host"), folds, cluster)  # fmt: skip
                if key in unfolded:
                    yield from (branch_of(host, above or _off("cluster", cluster)) for host in mine)


def branch_of(host: HostRecord, inherited: str = "") -> Branch:
    """A host as a place of the tree."""
    return Branch("host", host.id, host.name, f"host:{host.id}", host.resource_state, (*host.location.split("/"), host.name), inherited, record=host)


def _off(kind: str, row: ZoneRecord | PodRecord | ClusterRecord) -> str:
    return "" if row.allocation.value == "Enabled" else f"{kind} {row.name} is disabled"


def _count(hosts: Iterable[HostRecord], place: tuple[str, ...]) -> int:
    lead = "/".join(place) + "/"
    return sum(f"{host.location}/".startswith(lead) for host in hosts)


def _words(parts: Sequence[Any], noun: str) -> str:
    return f"{len(parts)} {noun}{'s'[: len(parts) != 1]}" if parts else ""


def find(session: Session, name: str) -> Branch:
    """The place of that name: zone, pod, cluster, else host. Raises `NotFound`."""
    tree, hosts = Hierarchy.fetched(session), session.fetch(ListHosts())
    rows = list(rows_of(tree, hosts, frozenset(f"cluster:{c.id}" for c in tree.clusters)))
    for row in rows:
        if row.kind != "fleet" and name in (row.name, row.id, "/".join(row.place)):
            return row
    raise NotFound(f"there is no zone, pod, cluster or host {name!r}")


def branch_status(row: Branch) -> str:
    if row.kind == "host":
        return columns.host_status(row.record)
    if row.kind == "cluster" and row.record.mismatch:
        return "failed"
    return "" if row.kind == "fleet" else "well" if row.allocation == "Enabled" else "off"


class Tree(Table):
    """The tree's table."""

    def __init__(self, glyphs: Glyphs, clock: Clock, *, id: str) -> None:
        def name(row: Branch) -> Cell:
            depth = {"fleet": 0, "zone": 0, "pod": 1, "cluster": 2, "host": 3}[row.kind]
            text = f"{glyphs.status(branch_status(row))} {'  ' * depth}{row.folds or ' '} {row.name}"
            return (text, "muted") if row.inherited else text

        super().__init__(
            [
                Column("name", "PLACE", 16, render=name, flexible=True, priority=1000),
                Column("hosts", "HOSTS", 5, "right", render=lambda r: (f"{r.hosts:,}" if r.kind != "host" else "", "muted"), priority=900),
            ],
            status_of=branch_status, glyphs=glyphs, id=id, empty="no zone yet · :new-zone makes one",
        )  # fmt: skip

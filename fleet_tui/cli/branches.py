"""``fleet zone|pod|cluster …``: what hosts stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_tui.backend import hosts as h
from fleet_tui.backend import machines as m
from fleet_tui.backend.errors import InvalidInput, NotFound, UsageError
from fleet_tui.cli.asking import change, operate, password_of, report
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import CAPACITY, CLUSTERS, PODS, WEIGHTS, ZONES
from fleet_tui.columns import ColumnSpec


@dataclass(frozen=True, slots=True)
class _Kind:
    listing: type
    columns: Sequence[ColumnSpec]
    above: tuple[str, ...]
    """Fields that say what it stands in, outermost first."""


_KINDS: Mapping[str, _Kind] = {
    "zone": _Kind(h.ListZones, ZONES, ()), "pod": _Kind(h.ListPods, PODS, ("zone",)), "cluster": _Kind(h.ListClusters, CLUSTERS, ("zone", "pod")),
}


def find(context: Context) -> int:
    kind = context.given.branch
    context.out.rows(_KINDS[kind].columns, _all(context, kind), empty=f"there are no {kind}s; `fleet {kind} create NAME` makes one")
    return 0


def show(context: Context) -> int:
    context.out.record(_one(context, context.given.branch, context.given.name))
    return 0


def create_zone(context: Context) -> int:
    given = context.given
    return _created(context, h.CreateZone(given.name, given.network_type, tuple(given.dns), given.guest_cidr))


def create_pod(context: Context) -> int:
    given = context.given
    return _created(context, h.CreatePod(given.name, given.zone, given.gateway, given.netmask, given.start_ip, given.end_ip))


def create_cluster(context: Context) -> int:
    given = context.given
    return _created(context, h.CreateCluster(given.name, given.zone, given.pod, given.hypervisor, given.arch, given.dedicated_account))


def _created(context: Context, request: Any) -> int:
    made = change(context, request)
    kind = context.given.branch
    return report(context, made, f"{kind} {made.name} created, {made.allocation.value.lower()}; `fleet {kind} enable {made.name}` lets it take VMs")


def allocate(context: Context) -> int:
    """``enable`` and ``disable``, of a host too."""
    given = context.given
    return report(context, change(context, h.SetAllocation(given.branch, given.name, given.verb == "enable")))


def delete(context: Context) -> int:
    given = context.given
    named = (row.name for row in _all(context, given.branch) if given.name in (row.id, _path(given.branch, row)))
    name = next(named, given.name)  # what is to be typed where it was given by its id or path
    if context.flag("confirm") == given.name:
        given.confirm = name
    return report(context, change(context, h.DeleteBranch(given.branch, given.name), name), given.name)


def set_ratio(context: Context) -> int:
    given = context.given
    if given.cpu is None and given.ram is None:
        raise UsageError("nothing to set", hint="give --cpu X, --ram Y or both; 0 inherits the global one again")
    return operate(context, m.SetRatio, given.name, cpu=given.cpu, ram=given.ram)


def set_password(context: Context) -> int:
    given = context.given
    return operate(context, h.SetClusterPassword, given.name, password=password_of(f"New password of the hosts of {given.name}"), record=given.record)


def manage(context: Context) -> int:
    return operate(context, h.ManageCluster, context.given.name, managed=context.given.verb == "manage")


def capacity(context: Context) -> int:
    """Room of a zone, a cluster or a host; of every host when none is named. With ``--weights`` the shares of its CPU that its VMs get."""
    given = context.given
    if getattr(given, "weights", False):
        if not given.name:
            raise UsageError("the weights on which host?", hint="fleet host capacity HOST --weights")
        context.out.rows(WEIGHTS, context.session.fetch(m.ShowWeights(given.name)), empty="no VM runs on it")
        return 0
    found = context.session.fetch(m.ShowCapacity(given.name or "", given.branch))
    context.out.rows(CAPACITY, found, empty="there are no hosts")
    return 0


def _all(context: Context, kind: str) -> Sequence[Any]:
    zone = context.flag("zone") or ""
    request = _KINDS[kind].listing(zone=zone) if zone else _KINDS[kind].listing()
    found: Sequence[Any] = context.session.fetch(request)
    return found


def _one(context: Context, kind: str, target: str) -> Any:
    """By name, by path (``zone/pod/cluster``) or by id."""
    found = [row for row in _all(context, kind) if target in (row.id, row.name, _path(kind, row))]
    found = [row for row in found if row.id == target] or found
    if not found:
        raise NotFound(f"there is no {kind} {target!r}", hint=f"`fleet {kind} list` shows the {kind}s there are")
    if len(found) > 1:
        raise InvalidInput(f"several {kind}s are called {target!r}", hint=f"name it as one of {', '.join(_path(kind, row) for row in found)}")
    return found[0]


def _path(kind: str, row: Any) -> str:
    return "/".join((*(getattr(row, field) for field in _KINDS[kind].above), row.name))

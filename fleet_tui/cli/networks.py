"""``fleet physnet|vlan|network|network-offering …``: fabrics, their IDs, and the guest networks on them."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from typing import Any

from fleet_tui.backend import networks as n
from fleet_tui.backend.errors import UsageError
from fleet_tui.backend.networks.states import GuestType, Isolation, OwnerKind, Scope
from fleet_tui.cli.asking import change, operate, report
from fleet_tui.cli.confirm import confirmed
from fleet_tui.cli.context import Context
from fleet_tui.cli.tables import GUEST_NETWORKS, NETWORK_OFFERINGS, PHYSICAL_NETWORKS, VLANS
from fleet_tui.columns import plural

PAGE = 500
"""IDs asked for at once."""
SCOPES = tuple(scope.value for scope in Scope)
ISOLATIONS = tuple(kind.value for kind in Isolation)
GUEST_TYPES = tuple(kind.value for kind in GuestType)
OWNERS = tuple(kind.value for kind in OwnerKind)
_IDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?\Z", re.ASCII)
_HOW = {"set-ranges": "set", "add-ranges": "add", "remove-ranges": "remove"}


def ids(word: str) -> tuple[int, int]:
    """``600-649`` or ``640``. Raises :class:`ArgumentTypeError`."""
    found = _IDS.match(word)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise ArgumentTypeError(f"{word!r} is no range of IDs such as 600-649")
    return int(found[1]), int(found[2] or found[1])


def label(word: str) -> tuple[str, str]:
    """``kvm=eth1``. Raises :class:`ArgumentTypeError`."""
    hypervisor, equals, card = word.partition("=")
    if not (equals and hypervisor and card):
        raise ArgumentTypeError(f"{word!r} is no label such as kvm=eth1")
    return hypervisor, card


# --- physical networks -----------------------------------------------------------------------------------------------


def create_physical(context: Context) -> int:
    given = context.given
    made = change(context, n.CreatePhysicalNetwork(given.name, given.zone, Isolation(given.isolation), dict(given.nic_label), given.ranges))
    state = made.state.value.lower()
    return report(context, made, f"physical network {made.name} created, {state}; `fleet physnet enable {made.name}` lets it be used")


def find_physical(context: Context) -> int:
    found = context.session.fetch(n.ListPhysicalNetworks(context.given.zone))
    context.out.rows(PHYSICAL_NETWORKS, found, empty="there are no physical networks; `fleet physnet create NAME` makes one")
    return 0


def show_physical(context: Context) -> int:
    context.out.record(_physical(context))
    return 0


def edit_physical(context: Context) -> int:
    """``enable``, ``disable`` and ``edit``. Labels given are set, the others stay."""
    given = context.given
    labels = None
    if given.nic_label:
        labels = {**_physical(context).nic_labels, **dict(given.nic_label)}
    elif given.verb == "edit":
        raise UsageError("nothing to change", hint="give --nic-label HYPERVISOR=CARD")
    enabled = {"enable": True, "disable": False}.get(given.verb)
    saved = change(context, n.EditPhysicalNetwork(given.name, enabled, labels))
    return report(context, saved, f"{saved.name} is {saved.state.value.lower()}")


def delete_physical(context: Context) -> int:
    name = context.given.name
    return report(context, change(context, n.DeletePhysicalNetwork(name), name))


def _physical(context: Context) -> n.PhysicalNetworkRecord:
    found: n.MapRecord = context.session.fetch(n.ShowMap(context.given.name))
    return found.physical


# --- ranges ----------------------------------------------------------------------------------------------------------


def ranges(context: Context) -> int:
    """``set-ranges``, ``add-ranges`` and ``remove-ranges``: what would be removed is shown, and asked for."""
    given, how = context.given, _HOW[context.given.verb]
    diff: n.RangeDiff = context.session.fetch(n.PlanRanges(given.name, given.text, how))
    if context.flag("dry_run", False):
        if context.out.is_json:
            context.out.json(diff)
        else:
            context.out.lines(_said(diff))
        return 0
    request = n.SetRanges(given.name, given.text, how, expected=diff.before)
    if diff.removed_count:
        if context.can_ask and not context.flag("yes", False):
            for line in _said(diff):
                context.say(line)
        request = confirmed(context, request, given.name)
    saved = context.session.submit(request)
    return report(context, saved, f"{saved.name}: {'unchanged' if diff.is_unchanged else '; '.join(_said(diff)[:-1])}")


def _said(diff: n.RangeDiff) -> list[str]:
    """A line each for what is added, what is removed, and what is then there."""
    lines = [f"added   {plural(diff.added_count, 'ID')}: {diff.added}"] if diff.added_count else []
    lines += [f"removed {plural(diff.removed_count, 'ID')}: {diff.removed}"] if diff.removed_count else []
    return [*(lines or ["unchanged"]), f"ranges  {diff.after or 'none'}"]


def set_scope(context: Context) -> int:
    given = context.given
    first, last = given.ids
    saved = change(context, n.SetScope(given.name, first, last, Scope(given.scope)))
    return report(context, saved, f"{saved.name}: {_interval(first, last)} is {given.scope}")


def apply_template(context: Context) -> int:
    saved = change(context, n.ApplyTemplate(context.given.name))
    said = ", ".join(f"{_interval(one.first, one.last)} {one.scope.value}" for one in saved.ranges)
    return report(context, saved, f"{saved.name}: {said or 'no range'}")


def dedicate(context: Context) -> int:
    given = context.given
    first, last = given.ids
    kind, owner = _owner(context)
    if kind is None:
        raise UsageError("whose are they to be?", hint="give one of --account, --project and --domain")
    saved = change(context, n.Dedicate(given.name, first, last, kind, owner))
    return report(context, saved, f"{saved.name}: {_interval(first, last)} dedicated to {kind.value} {owner}")


def release(context: Context) -> int:
    given = context.given
    first, last = given.ids
    saved = change(context, n.ReleaseDedication(given.name, first, last))
    return report(context, saved, f"{saved.name}: {_interval(first, last)} is everybody's again; IDs in use stay with their networks")


def _owner(context: Context) -> tuple[OwnerKind | None, str]:
    """The one owner that was named. Raises :class:`UsageError` for several."""
    named = [(kind, context.flag(kind)) for kind in OWNERS if context.flag(kind)]
    if len(named) > 1:
        raise UsageError("an account, a project or a domain, not several")
    return (OwnerKind(named[0][0]), named[0][1]) if named else (None, "")


def _interval(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


# --- IDs -------------------------------------------------------------------------------------------------------------


def find_vlans(context: Context) -> int:
    """IDs that are taken, dedicated or in trouble; of a state, all of that state, page by page up to ``--limit``."""
    given = context.given
    found: list[n.VlanRecord] = []
    while len(found) < given.limit:
        wanted = min(PAGE, given.limit - len(found))
        page: Sequence[n.VlanRecord] = context.session.fetch(
            n.ListVlans(given.name, given.state, given.owner, found[-1].number if found else -1, wanted)
        )
        found += page
        if len(page) < wanted:
            break
    else:
        context.say(f"fleet: the first {given.limit:,}; --limit shows more")
    context.out.rows(VLANS, found, empty=f"no ID is {given.state}" if given.state else "no ID is taken or dedicated")
    return 0


def show_vlan(context: Context) -> int:
    context.out.record(context.session.fetch(n.ShowVlan(context.given.name, context.given.id)))
    return 0


def drift(context: Context) -> int:
    return operate(context, n.CheckDrift, context.given.name)


def repair(context: Context) -> int:
    given = context.given
    return operate(context, n.RepairDrift, given.name, remove_extra=given.remove_extra, host=given.host)


def sweep(context: Context) -> int:
    return operate(context, n.SweepVlans, context.given.name)


def export(context: Context) -> int:
    """The whole map on standard output: as it looks in the console, as CSV, or as JSON."""
    from fleet_tui.widgets.vlan_space import VlanSpace
    from fleet_tui.widgets.vlan_text import FORMS

    form = context.given.format or ("json" if context.wants_json else "text")
    text = FORMS[form](VlanSpace(context.session.fetch(n.ShowMap(context.given.name))))
    context.out.lines(text.splitlines())
    return 0


# --- guest networks --------------------------------------------------------------------------------------------------


def create(context: Context) -> int:
    given = context.given
    kind, owner = _owner(context)
    made = change(context, n.CreateNetwork(given.name, given.offering, given.physnet, given.vlan, given.cidr, given.gateway, kind, owner))
    return report(context, made, f"network {made.name} created, {made.state.value}")


def find(context: Context) -> int:
    found = context.session.fetch(n.ListNetworks(context.given.physnet))
    columns = [column for column in GUEST_NETWORKS if column.name != "vlan" or any(row.vlan is not None for row in found)]
    context.out.rows(columns, found, empty="there are no guest networks; `fleet network create NAME` makes one")
    return 0


def show(context: Context) -> int:
    context.out.record(context.session.fetch(n.ShowNetwork(context.given.name)))
    return 0


def restart(context: Context) -> int:
    return operate(context, n.RestartNetwork, context.given.name)


def delete(context: Context) -> int:
    name = context.given.name
    return report(context, change(context, n.DeleteNetwork(name), name))


def create_offering(context: Context) -> int:
    given = context.given
    made = change(context, n.CreateNetworkOffering(given.name, GuestType(given.guest_type), given.specify_vlan, given.persistent))
    return report(context, made, f"network offering {made.name} created")


def find_offerings(context: Context) -> int:
    found: Any = context.session.fetch(n.ListNetworkOfferings())
    context.out.rows(NETWORK_OFFERINGS, found, empty="there are no network offerings; `fleet network-offering create NAME` makes one")
    return 0


def delete_offering(context: Context) -> int:
    name = context.given.name
    return report(context, change(context, n.DeleteNetworkOffering(name), name))

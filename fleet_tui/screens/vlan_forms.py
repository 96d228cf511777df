"""The small forms of the map: ranges with what they would change as one types, scopes, owners, labels, a new network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fleet_tui.backend import networks as n
from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.hosts import ListZones, ZoneRecord
from fleet_tui.backend.networks.states import LIMITS, TEMPLATE, Isolation, OwnerKind, Scope
from fleet_tui.columns import plural
from fleet_tui.screens import dialogs
from fleet_tui.screens.ask import Form, Line, ask, entry
from fleet_tui.screens.vlan_facts import scheme_changes
from fleet_tui.widgets.vlan_space import Spot

if TYPE_CHECKING:
    from fleet_tui.screens.frame import FleetScreen
    from fleet_tui.session import Session

TITLES = {"set": "Ranges of {}", "add": "Add to the ranges of {}", "remove": "Remove from the ranges of {}"}
_IDS = re.compile(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", re.ASCII)


def edit_ranges(screen: FleetScreen, row: n.PhysicalNetworkRecord, how: str, begin: str = "") -> None:
    """Replace, extend or cut the ranges. Tells as one types what is added and removed; what removes something asks."""
    first = row.ranges_text if how == "set" else begin

    def make(v: Mapping[str, Any]) -> n.SetRanges:
        return n.SetRanges(row.id, v["ranges"], how, expected=row.ranges_text)

    def before(session: Session, request: n.SetRanges) -> tuple[dialogs.Question, n.SetRanges] | None:
        diff: n.RangeDiff = session.fetch(n.PlanRanges(row.id, request.text, how))
        if not diff.removed_count:
            return None
        said = [f"{plural(diff.removed_count, 'ID')} removed: {diff.removed}"]
        said += [f"{plural(diff.added_count, 'ID')} added: {diff.added}"] if diff.added_count else []
        said.append(f"the ranges are then: {diff.after or 'none'}")
        return dialogs.Question(f"Remove {plural(diff.removed_count, 'ID')} from {row.name}?", "Remove", said), replace(request, confirmed=True)

    def done(saved: n.PhysicalNetworkRecord) -> None:
        same = saved.ranges_text == row.ranges_text
        screen.say(f"{row.name}: unchanged" if same else f"{row.name}: ranges are {saved.ranges_text or 'none'} now")
        screen.load()

    form = Form(
        TITLES[how].format(row.name), (entry("ranges", "Ranges" if how == "set" else "IDs", default=first, help="600-799,820"),), make, done,
        preview=lambda v: n.PlanRanges(row.id, v["ranges"], how), shown=diffed, names={"text": "ranges"},
    )  # fmt: skip
    ask(screen, replace(form, before=before))


def diffed(diff: n.RangeDiff) -> list[Line]:
    """What an edit of ranges does: VLN-1."""
    if diff.is_unchanged:
        return [[(" unchanged", "muted"), (f"   {diff.after or 'no range'}", "")]]
    lines: list[Line] = []
    for sign, count, text, style in (("+", diff.added_count, diff.added, "moving"), ("-", diff.removed_count, diff.removed, "failed")):
        if count:
            lines.append([(f" {sign} {count:>8,}  ", style), (text, style)])
    return [*lines, [(" ranges then  ", "muted"), (diff.after or "none", "")]]


def _ids(text: str, isolation: Isolation | None = None) -> tuple[int, int]:
    """``600-649`` or ``640``. Raises `InvalidInput` beside the field."""
    found = _IDS.fullmatch(text)
    if found is None or int(found[2] or found[1]) < int(found[1]):
        low, high = LIMITS[isolation or Isolation.VLAN]
        raise InvalidInput("nothing was changed", problems=[Problem("ids", f"{text.strip()[:40]!r} is no range of IDs such as {low}-{high}")])
    return int(found[1]), int(found[2] or found[1])


def _saved(screen: FleetScreen, what: Callable[[], str]) -> Callable[[Any], None]:
    def done(_reply: Any) -> None:
        screen.say(what())
        screen.load()

    return done


def set_scope(screen: FleetScreen, spot: Spot, begin: str) -> None:
    chosen: dict[str, str] = {}

    def make(v: Mapping[str, Any]) -> n.SetScope:
        first, last = _ids(v["ids"])
        chosen.update(ids=v["ids"].strip(), scope=v["scope"])
        return n.SetScope(spot.id, first, last, Scope(v["scope"]))

    now = spot.scope.value if spot.scope is not None else Scope.GUEST_POOL.value
    fields = (entry("ids", "IDs", default=begin), entry("scope", "Scope", "choice", now, choices=tuple(scope.value for scope in Scope)))
    done = _saved(screen, lambda: f"{chosen['ids']}: {chosen['scope']}")
    ask(screen, Form(f"Scope in {spot.name}", fields, make, done, names={"first": "ids", "last": "ids"}))


def dedicate(screen: FleetScreen, spot: Spot) -> None:
    chosen: dict[str, str] = {}

    def make(v: Mapping[str, Any]) -> n.Dedicate:
        first, last = _ids(v["ids"])
        if not v["owner"]:
            raise InvalidInput("nothing was dedicated", problems=[Problem("owner", "whose are they to be?")])
        chosen.update(ids=v["ids"].strip(), owner=f"{v['owner_kind']} {v['owner']}")
        return n.Dedicate(spot.id, first, last, OwnerKind(v["owner_kind"]), v["owner"])

    fields = (
        entry("ids", "IDs", default=spot.text), entry("owner_kind", "For", "choice", "account", choices=tuple(kind.value for kind in OwnerKind)),
        entry("owner", "Name"),
    )  # fmt: skip
    done = _saved(screen, lambda: f"{chosen['ids']} dedicated to {chosen['owner']} · a releases them")
    ask(screen, Form(f"Dedicate IDs of {spot.name}", fields, make, done, "Dedicate", names={"first": "ids", "last": "ids"}))


def apply_scheme(screen: FleetScreen, row: n.PhysicalNetworkRecord) -> None:
    """The scopes of the usual scheme, stated first: nobody knows them by heart."""
    changes = scheme_changes(row, TEMPLATE)
    if not changes:
        screen.say(f"{row.name}: the scopes are those of the usual scheme already")
        return
    said = [*changes[:10], *([f"and {len(changes) - 10} more"] if len(changes) > 10 else []), "No ID is added or removed."]

    def decided(answer: dialogs.Answer) -> None:
        if answer.yes:
            screen.ask(lambda session: session.submit(n.ApplyTemplate(row.id)), _saved(screen, lambda: f"{row.name}: has the usual scheme"))

    dialogs.confirm(screen.app, dialogs.Question(f"Give {row.name} the usual scheme?", "Apply", said), decided)


def labels_of(text: str) -> dict[str, str]:
    """``kvm=eth1, vsphere=vSwitch 1``. Raises `InvalidInput` beside the field."""
    found: dict[str, str] = {}
    for part in filter(None, (word.strip() for word in text.split(","))):
        hypervisor, equals, label = (word.strip() for word in part.partition("="))
        if not equals or not hypervisor or not label:
            raise InvalidInput("nothing was saved", problems=[Problem("nic_labels", f"{part[:40]!r} is no label such as kvm=eth1")])
        found[hypervisor] = label
    return found


def edit_labels(screen: FleetScreen, row: n.PhysicalNetworkRecord) -> None:
    def make(v: Mapping[str, Any]) -> n.EditPhysicalNetwork:
        return n.EditPhysicalNetwork(row.id, nic_labels=labels_of(v["nic_labels"]))

    now = ", ".join(f"{hypervisor}={label}" for hypervisor, label in row.nic_labels.items())
    fields = (entry("nic_labels", "NIC labels", default=now, help="kvm=eth1, xenserver=xenbr1"),)
    ask(screen, Form(f"NIC labels of {row.name}", fields, make, _saved(screen, lambda: f"{row.name}: saved")))


def new_network(screen: FleetScreen) -> None:
    def opened(zones: Sequence[ZoneRecord]) -> None:
        if not zones:
            screen.say("a physical network stands in a zone, and there is none · :new-zone makes one", "warning")
            return
        names = tuple(zone.name for zone in zones)

        def make(v: Mapping[str, Any]) -> n.CreatePhysicalNetwork:
            return n.CreatePhysicalNetwork(v["name"], v["zone"], Isolation(v["isolation"]), labels_of(v["nic_labels"]), v["ranges"])

        fields = (
            entry("name", "Name"), entry("zone", "Zone", "choice", names[0], choices=names),
            entry("isolation", "Isolation", "choice", "VLAN", choices=tuple(kind.value for kind in Isolation)),
            entry("nic_labels", "NIC labels", help="kvm=eth1"), entry("ranges", "Ranges", help="600-799,820"),
        )  # fmt: skip
        done = _saved(screen, lambda: "saved, disabled · :enable-physnet lets guest networks use it")
        ask(screen, Form("New physical network", fields, make, done, "Create"))

    screen.fetch(ListZones(), opened, "new")

"""Physical networks and their IDs in memory, for the session without a daemon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from fleet_tui.backend import networks as n
from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem
from fleet_tui.backend.networks.states import TEMPLATE, DriftKind, Isolation, OwnerKind, PhysicalState, Scope, VlanState
from fleet_tui.widgets.vlan_space import VlanSpace

NOW = datetime(2026, 11, 20, 14, 2, 11, tzinfo=timezone.utc)
SCHEME = tuple(n.RangeRecord(first, last, scope) for first, last, scope in TEMPLATE)


def taken(number: int, state: str = "allocated", network: str = "", owner: str = "account shop") -> n.TakenRecord:
    return n.TakenRecord(number, VlanState(state), network or f"net-{number}", owner)


def physical(name: str = "guest-net-1", zone: str = "paris", **fields: Any) -> n.PhysicalNetworkRecord:
    values: dict[str, Any] = {
        "id": f"pn-{name}", "name": name, "zone": zone, "isolation": Isolation.VLAN, "state": PhysicalState.ENABLED,
        "nic_labels": {"kvm": "eth1"}, "ranges": (n.RangeRecord(600, 799, Scope.GUEST_POOL),), "dedications": (), "counts": {}, "networks": 0,
        "problems": 0, "checked_at": NOW - timedelta(minutes=3),
    }  # fmt: skip
    return n.PhysicalNetworkRecord(**{**values, **fields})


def dedication(first: int, last: int, owner: str, kind: OwnerKind = OwnerKind.ACCOUNT, used: int = 0) -> n.DedicationRecord:
    return n.DedicationRecord(f"de-{first}", first, last, kind, owner, used)


def presence(host: str, number: int, expected: bool = True, actual: bool | None = True, problem: str = "", detail: str = "") -> n.PresenceRecord:
    return n.PresenceRecord(host, f"h-{host}", number, expected, actual, DriftKind(problem) if problem else None, detail)


def spans(text: str) -> list[tuple[int, int]]:
    """Ranges as typed. Raises `InvalidInput`."""
    found = []
    for token in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = token.partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or not 1 <= int(first) <= int(last or first) <= 4094:
            said = f"{token!r} is neither an ID nor two with a dash between them; IDs go from 1 to 4094"
            raise InvalidInput(f"the ranges cannot be read: {said}", problems=[Problem("ranges", said)])
        found.append((int(first), int(last or first)))
    return found


def text_of(numbers: set[int]) -> str:
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


class NetworksStub:
    """Answers about physical networks and IDs."""

    physicals: dict[str, n.PhysicalNetworkRecord]
    takings: dict[str, dict[int, n.TakenRecord]]
    presences: dict[str, list[n.PresenceRecord]]
    touch: Callable[..., None]
    """Of the session that it is part of: an event about an object."""

    def begin_networks(self) -> None:
        self.physicals, self.takings, self.presences = {}, {}, {}

    def put_physical(self, row: n.PhysicalNetworkRecord, *takings: n.TakenRecord) -> None:
        """Put a network, and more that is taken of it; counts and problems follow."""
        held = self.takings.setdefault(row.id, {})
        held.update((one.number, one) for one in takings)
        space = VlanSpace(n.MapRecord(row, tuple(held.values())))
        drift = sum(one.problem in (DriftKind.MISSING, DriftKind.WRONG_BRIDGE) for one in self.presences.get(row.id, ()))
        counts = {state.value: count for state, count in space.counts.items()}
        self.physicals[row.id] = replace(row, counts=counts, problems=drift + len(space.problems), networks=len(held))
        self.touch(f"physnet:{row.id}")

    def put_presence(self, physical_id: str, *rows: n.PresenceRecord) -> None:
        self.presences.setdefault(physical_id, []).extend(rows)
        self.put_physical(self.physicals[physical_id])

    def _physical(self, target: str) -> n.PhysicalNetworkRecord:
        for row in self.physicals.values():
            if target in (row.id, row.name, f"{row.zone}/{row.name}", f"physnet:{row.id}"):
                return row
        raise NotFound(f"there is no physical network {target!r}")

    def _ListPhysicalNetworks(self, request: n.ListPhysicalNetworks) -> tuple[n.PhysicalNetworkRecord, ...]:
        return tuple(sorted((r for r in self.physicals.values() if request.zone in ("", r.zone)), key=lambda r: (r.zone, r.name)))

    def _ShowMap(self, request: n.ShowMap) -> n.MapRecord:
        row = self._physical(request.target)
        return n.MapRecord(row, tuple(self.takings.get(row.id, {}).values()))

    def _ShowVlan(self, request: n.ShowVlan) -> n.VlanRecord:
        row = self._physical(request.target)
        space = VlanSpace(self._ShowMap(n.ShowMap(row.id)))
        one, span, given = space.at(request.number), space.range_at(request.number), space.dedication_at(request.number)
        held = self.takings.get(row.id, {}).get(request.number)
        return n.VlanRecord(
            request.number, row.name, one.state if one else VlanState.FREE, span.scope if span else None, f"{span.first}-{span.last}" if span else "",
            held.network if held else "", f"n-{request.number}" if held else "", "Implemented" if held else "", held.owner if held else "",
            f"{given.owner_kind.value} {given.owner}" if given else "", datetime(2026, 8, 2, 11, 40, tzinfo=timezone.utc) if held else None,
            f"r-{request.number}" if held else "", (f"10.1.{request.number % 250}.0/24",) if held else (), ("web-3", "web-4", "r-114-VM") if held else (),
            tuple(one for one in self.presences.get(row.id, ()) if one.number == request.number),
        )  # fmt: skip

    def _ListVlans(self, request: n.ListVlans) -> tuple[n.VlanRecord, ...]:
        row = self._physical(request.target)
        space = VlanSpace(self._ShowMap(n.ShowMap(row.id)))
        wanted = [
            number for one in space.stretches for number in range(one.first, one.last + 1)
            if number > request.after and (one.state.value == request.state if request.state else one.network or one.state is VlanState.DEDICATED_FREE)
        ]  # fmt: skip
        return tuple(self._ShowVlan(n.ShowVlan(row.id, number)) for number in wanted[: request.limit])

    def _ShowPresence(self, request: n.ShowPresence) -> tuple[n.PresenceRecord, ...]:
        rows = self.presences.get(self._physical(request.target).id, ())
        return tuple(r for r in rows if request.first <= r.number <= request.last and (r.problem or not request.problems_only))

    def _PlanRanges(self, request: n.PlanRanges) -> n.RangeDiff:
        row = self._physical(request.target)
        now = {number for one in row.ranges for number in range(one.first, one.last + 1)}
        typed = {number for first, last in spans(request.text) for number in range(first, last + 1)}
        after = {"set": typed, "add": now | typed, "remove": now - typed}[request.how]
        gone = sorted(number for number in now - after if number in self.takings.get(row.id, {}))
        if gone:
            held = self.takings[row.id][gone[0]]
            raise InUse(f"{gone[0]} is allocated to network {held.network} of {held.owner}", hint="shut the network down first", users=gone)
        return n.RangeDiff(row.ranges_text, text_of(after), text_of(after - now), text_of(now - after), len(after - now), len(now - after), after == now)

    def _SetRanges(self, request: n.SetRanges) -> n.PhysicalNetworkRecord:
        row = self._physical(request.target)
        diff = self._PlanRanges(n.PlanRanges(request.target, request.text, request.how))
        if diff.removed_count and not request.confirmed:
            raise ConfirmationRequired(f"{diff.removed_count} IDs are removed")
        scope_of = {number: one.scope for one in row.ranges for number in range(one.first, one.last + 1)}
        made: list[n.RangeRecord] = []
        for first, last in spans(diff.after):
            for number in range(first, last + 1):
                scope = scope_of.get(number, Scope.GUEST_POOL)
                if made and made[-1].last == number - 1 and made[-1].scope is scope:
                    made[-1] = replace(made[-1], last=number)
                else:
                    made.append(n.RangeRecord(number, number, scope))
        self.put_physical(replace(row, ranges=tuple(made)))
        return self.physicals[row.id]

    def _SetScope(self, request: n.SetScope) -> n.PhysicalNetworkRecord:
        row = self._physical(request.target)
        kept = [
            replace(one, first=max(one.first, a), last=min(one.last, b))
            for one in row.ranges for a, b in ((0, request.first - 1), (request.last + 1, 2**32)) if max(one.first, a) <= min(one.last, b)
        ]  # fmt: skip
        self.put_physical(replace(row, ranges=tuple(sorted([*kept, n.RangeRecord(request.first, request.last, request.scope)], key=lambda r: r.first))))
        return self.physicals[row.id]

    def _ApplyTemplate(self, request: n.ApplyTemplate) -> n.PhysicalNetworkRecord:
        row = self._physical(request.target)
        cut = [
            n.RangeRecord(max(first, one.first), min(last, one.last), scope)
            for one in row.ranges for first, last, scope in TEMPLATE if max(first, one.first) <= min(last, one.last)
        ]  # fmt: skip
        self.put_physical(replace(row, ranges=tuple(cut)))
        return self.physicals[row.id]

    def _Dedicate(self, request: n.Dedicate) -> n.PhysicalNetworkRecord:
        row = self._physical(request.target)
        if any(one.first <= request.last and request.first <= one.last for one in row.dedications):
            raise InvalidInput("nothing was dedicated", problems=[Problem("first", "some of them are dedicated already")])
        made = dedication(request.first, request.last, request.owner, request.owner_kind)
        self.put_physical(replace(row, dedications=(*row.dedications, made)))
        return self.physicals[row.id]

    def _ReleaseDedication(self, request: n.ReleaseDedication) -> n.PhysicalNetworkRecord:
        row = self._physical(request.target)
        self.put_physical(replace(row, dedications=tuple(one for one in row.dedications if one.first != request.first)))
        return self.physicals[row.id]

    def _CreatePhysicalNetwork(self, request: n.CreatePhysicalNetwork) -> n.PhysicalNetworkRecord:
        if any(row.name == request.name for row in self.physicals.values()):
            raise InvalidInput("the network was not made", problems=[Problem("name", f"{request.name!r} is taken")])
        ranges = tuple(n.RangeRecord(first, last, Scope.GUEST_POOL) for first, last in spans(request.ranges))
        self.put_physical(physical(request.name, request.zone, isolation=request.isolation, nic_labels=request.nic_labels, ranges=ranges,
                                   state=PhysicalState.DISABLED, checked_at=None))  # fmt: skip
        return self._physical(request.name)

    def _EditPhysicalNetwork(self, request: n.EditPhysicalNetwork) -> n.PhysicalNetworkRecord:
        row = self._physical(request.target)
        state = row.state if request.enabled is None else PhysicalState.ENABLED if request.enabled else PhysicalState.DISABLED
        self.put_physical(replace(row, state=state, nic_labels=row.nic_labels if request.nic_labels is None else request.nic_labels))
        return self.physicals[row.id]

    def _DeletePhysicalNetwork(self, request: n.DeletePhysicalNetwork) -> Any:
        from fleet_tui.backend.api import Done

        row = self._physical(request.target)
        del self.physicals[row.id]
        self.touch(f"physnet:{row.id}")
        return Done(f"{row.name} deleted")


def guest_net(name: str = "guest-net-1", *, problems: bool = True) -> tuple[n.PhysicalNetworkRecord, list[n.TakenRecord]]:
    """The usual scheme, a pool nearly used up, two owners with IDs of their own; a conflict and an orphan."""
    free = {739, 756, 757, 758, 759, 760, 761, 762, 763}
    rows = [taken(number, network="shop-front" if number == 640 else "") for number in range(600, 800) if number not in free]
    rows = [one for one in rows if not 700 <= one.number <= 709]
    rows += [taken(number, "dedicated-allocated", owner="account bank") for number in (700, 701, 702, 703)]
    rows += [taken(number, "specified", owner="project mail") for number in range(800, 804)]
    if problems:
        rows = [one for one in rows if one.number not in (660, 712)]
        rows += [taken(660, "conflict", "-", ""), taken(712, "orphan", "old-shop", "account gone")]
    given = (dedication(700, 709, "bank", used=4), dedication(850, 879, "mail", OwnerKind.PROJECT))
    return physical(name, ranges=SCHEME, dedications=given), rows


def vxlan(name: str = "overlay") -> tuple[n.PhysicalNetworkRecord, list[n.TakenRecord]]:
    ranges = (n.RangeRecord(5000, 9999, Scope.GUEST_POOL), n.RangeRecord(1_000_000, 16_777_214, Scope.GUEST_ASSIGNED))
    rows = [taken(number) for number in range(5000, 6500, 3)] + [taken(2_000_000, "orphan", "old", "account gone")]
    return physical(name, isolation=Isolation.VXLAN, ranges=ranges, nic_labels={"kvm": "eth2"}, checked_at=None), rows


def drift_of(physical_id: str) -> list[n.PresenceRecord]:
    """Three hosts that have most of the pool, with an ID missing, one unexpected and one in a wrong bridge."""
    hosts = ("kvm-03", "kvm-11", "kvm-17")
    rows = [presence(host, number) for at, host in enumerate(hosts) for number in range(600, 700) if (number + at) % 3 and number not in (660, 655)]
    rows += [presence("kvm-03", 655, True, False, "missing", "br-655 is not there"), presence("kvm-11", 655, True, True)]
    rows += [presence("kvm-11", 660, False, True, "extra", "eth1.660"), presence("kvm-17", 645, True, True, "wrong-bridge", "eth1.645 is in br-644")]
    seen = Counter((row.host, row.number) for row in rows)
    return [row for row in rows if seen[row.host, row.number] == 1 or row.problem]

"""What is said beside the map: what is wrong with the network first, then its counts, which are the legend too; its facts; one ID, whole."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime

from fleet_tui import columns
from fleet_tui.backend.networks import PhysicalNetworkRecord, VlanRecord
from fleet_tui.backend.networks.states import PROBLEMS, DriftKind, Isolation, PhysicalState, Scope, VlanState
from fleet_tui.widgets.glyphs import Glyphs, bar
from fleet_tui.widgets.paint import Span, width_of
from fleet_tui.widgets.safety import plain
from fleet_tui.widgets.vlan_cells import DRIFT, LETTERS, STYLES, word
from fleet_tui.widgets.vlan_space import FREE, VlanSpace, interval

Line = list[Span]
SHORT: dict[VlanState, str] = {VlanState.DEDICATED_FREE: "dedicated free", VlanState.DEDICATED_ALLOCATED: "dedicated taken"}
NEARLY_NONE = 0.1
"""Part of a pool that is free, from which on it is said (spec VLN-5)."""


def summary(space: VlanSpace, glyphs: Glyphs, now: datetime, width: int, zoom: int, named: bool = False) -> list[Line]:
    """What needs a person, or that nothing does; then how many IDs are what, with their letters. Two lines, three where it is narrow."""
    wrong = _wrong(space, glyphs, now)
    if named:
        wrong[:1] = [(f" {space.physical.name} ", "strong"), (" ", "")]
    return [wrong, *legend(space, width, zoom)]


def _wrong(space: VlanSpace, glyphs: Glyphs, now: datetime) -> Line:
    physical = space.physical
    counts = space.count(space.first, space.last)
    line: Line = []
    for state, noun in ((VlanState.CONFLICT, "conflict"), (VlanState.ORPHAN, "orphan")):
        if many := counts.get(state, 0):
            line += [("  ", ""), (f"{LETTERS[state]} {columns.plural(many, noun)}", STYLES[state])]
    drift = len(space.drifted)
    if drift:
        line += [("  ", ""), (f"{DRIFT} {drift:,} drifted", "failed")]
    elif physical.problems > sum(counts.get(state, 0) for state in PROBLEMS):
        line += [("  ", ""), (f"{glyphs.attention} {columns.plural(physical.problems, 'problem')} at the last check", "failed")]
    free, total = space.pool()
    if total and free <= NEARLY_NONE * total:
        line += [("  ", ""), (f"{glyphs.attention} pool {free:,} of {total:,} free", "attention")]
    if physical.state is PhysicalState.DISABLED:
        line += [("  ", ""), (f"{glyphs.off} disabled", "attention"), ("  :enable-physnet", "key")]
    if not line:
        line = [("  ", ""), (f"{glyphs.well} nothing is wrong", "well")]
        if total:
            line.append((f"   pool {free:,} of {total:,} free", "muted"))
    checked = "never checked on hosts" if physical.checked_at is None else f"checked {_ago(physical.checked_at, now)}"
    return [(" ", ""), *line[1:], (f"  {checked}", "muted")]


def legend(space: VlanSpace, width: int, zoom: int) -> list[Line]:
    """Each state that there is, with its letter and count."""
    counts = space.counts
    parts: list[tuple[Span, Span]] = [
        ((LETTERS[state], STYLES[state] or "strong"), (f" {counts[state]:,} {SHORT.get(state, state.value)}", "muted"))
        for state in VlanState if counts.get(state) and state not in PROBLEMS
    ]  # fmt: skip
    if zoom > 1:
        parts.append((("1-9", "strong"), (" tenths taken", "muted")))
    lines: list[Line] = [[]]
    room = width
    for mark, said in parts:
        cells = width_of(mark[0]) + width_of(said[0]) + 2
        if cells > room - 1 and lines[-1]:
            lines.append([])
            room = width
        lines[-1] += [(" " if not lines[-1] else "  ", ""), mark, said]
        room -= cells
    return lines if parts else [[(" no ID is in a range yet", "muted"), ("   +", "key"), (" adds some", "muted")]]


def network(row: PhysicalNetworkRecord, space: VlanSpace | None, glyphs: Glyphs, width: int) -> list[Line]:
    """What there is to say of the network chosen on the left."""
    lines: list[Line] = [[(f" {row.name}", "strong"), (f"  {row.isolation.value} {row.state.value.lower()}", "muted")], []]
    labels = [f"{hypervisor} {label}" for hypervisor, label in row.nic_labels.items()] or ["none"]
    lines += [[(" cards     " if not n else " " * 11, "muted"), (said, "")] for n, said in enumerate(labels)]
    lines.append([(" networks  ", "muted"), (f"{row.networks:,}", "")])
    free, total = _pool(row, space)
    if total:
        part = (total - free) / total
        cells = max(4, min(width - 22, 20))
        lines += [[], [(" POOL", "title")], [(f" {bar(part, cells, glyphs)} ", "attention" if free <= NEARLY_NONE * total else "muted"),
                                             (f"{columns.percent(part)} taken", "")], [(f" {free:,} of {total:,} free", "muted")]]  # fmt: skip
    if row.ranges:
        lines += [[], [(" RANGES", "title")]]
        wide = max(len(interval(one.first, one.last)) for one in row.ranges)
        lines += [[(f" {interval(one.first, one.last):<{wide}}  ", ""), (one.scope.value, "muted")] for one in row.ranges]
    if row.dedications:
        lines += [[], [(" DEDICATED", "title")]]
        lines += [
            [(f" {interval(one.first, one.last):<10}", ""), (f"{one.owner_kind.value} {one.owner}", ""), (f"  {one.used:,} taken", "muted")]
            for one in row.dedications
        ]
    return lines


def _pool(row: PhysicalNetworkRecord, space: VlanSpace | None) -> tuple[int, int]:
    if space is not None and space.physical.id == row.id:
        return space.pool()
    return 0, 0


def used_share(row: PhysicalNetworkRecord) -> float | None:
    """How much of what can be taken is; ``None`` where nothing can be."""
    able = ("free", "allocated", "specified", "dedicated-free", "dedicated-allocated", "conflict", "orphan")
    total = sum(row.counts.get(name, 0) for name in able)
    return 1 - sum(row.counts.get(state.value, 0) for state in FREE) / total if total else None


def _counted(space: VlanSpace, first: int, last: int) -> list[tuple[VlanState, int]]:
    """Problems first, then what there is most of."""
    return sorted(space.count(first, last).items(), key=lambda item: (item[0] not in PROBLEMS, -item[1]))


def cells(space: VlanSpace, first: int, last: int) -> list[Line]:
    """Of IDs that share a cell, or are marked: how many are what."""
    rows = _counted(space, first, last)
    lines: list[Line] = [[(f" IDs {interval(first, last)}", "strong"), (f"   {last - first + 1:,}", "muted")], []]
    lines += [[(f" {LETTERS[state]}", STYLES[state] or "strong"), (f" {many:>10,}  ", ""), (word(state), "muted")] for state, many in rows]
    drifted = sum(first <= number <= last for number in space.drifted)
    lines += [[(f" {DRIFT}", "failed"), (f" {drifted:>10,}  ", ""), ("drifted", "muted")]] if drifted else []
    outside = last - first + 1 - sum(many for _, many in rows)
    if outside:
        lines.append([(f"   {outside:>10,}  ", "muted"), ("in no range", "muted")])
    return lines


def brief_of(space: VlanSpace, first: int, last: int) -> list[Line]:
    """The same in two lines."""
    second: Line = []
    for state, many in _counted(space, first, last):
        said = f" {many:,} {SHORT.get(state, state.value)}"
        second += [("  " if second else " ", ""), (LETTERS[state], STYLES[state] or "strong"), (said, "muted")]
    return [[(f" IDs {interval(first, last)}", "strong"), (f"   {last - first + 1:,}", "muted")], second]


def detail(space: VlanSpace, number: int, record: VlanRecord | None, now: datetime, glyphs: Glyphs, width: int) -> list[Line]:
    """One ID: what it is, what is wrong and what to press, then all that is known. ``record`` once the daemon has told it."""
    lines: list[Line] = [[(f" ID {number}", "strong")], *state_lines(space, number, record)]
    for at, (name, value, style) in enumerate(facts(space, number, record, now)):
        lines += [[]] if not at else []
        wrapped = textwrap.wrap(plain(value), max(12, width - 12)) or [""]
        lines += [[(f" {'' if n else name:<10}", "muted"), (part, style)] for n, part in enumerate(wrapped)]
    if record is not None and record.number == number and record.presence:
        lines += [[], *presence(record, glyphs)]
    return lines


def state_lines(space: VlanSpace, number: int, record: VlanRecord | None) -> list[Line]:
    """State in words; for a problem what it means and what to press."""
    one = space.at(number)
    if one is None:
        return [[(" in no range", "muted"), ("   +", "key"), (" adds it", "muted")]]
    scope = one.scope.value if one.scope is not None else "outside every range"
    drifted = space.has_drift(number, number)
    lines: list[Line] = [[(f" {LETTERS[one.state]} {word(one.state)}", STYLES[one.state] or "strong")]]
    if scope != one.state.value:
        lines[0].append((f"   {scope}", "muted"))
    if one.state is VlanState.CONFLICT:
        lines += [[("   on a host where nothing expects it", "failed")], [("   :repair-extra", "key"), (" removes it there", "muted")]]
    elif one.state is VlanState.ORPHAN:
        lines += [[("   taken, and its network is gone", "attention")], [("   R", "key"), (" gives it back", "muted")]]
    elif drifted:
        lines += [[(f" {DRIFT} not on every host as it should be", "failed")], [("   R", "key"), (" repairs it", "muted")]]
    return lines


def facts(space: VlanSpace, number: int, record: VlanRecord | None, now: datetime) -> list[tuple[str, str, str]]:
    """(name, value, style) of what is known of one ID: from the map at once, the rest when it was asked for."""
    one, span, given = space.at(number), space.range_at(number), space.dedication_at(number)
    known = record if record is not None and record.number == number else None
    found: list[tuple[str, str, str]] = []
    if span is not None:
        found.append(("range", interval(span.first, span.last), ""))
    if one is not None and one.network:
        found.append(("network", one.network + (f"   {known.network_state}" if known and known.network_state else ""), "strong"))
    if one is not None and one.owner and one.state is not VlanState.DEDICATED_FREE:
        found.append(("owner", one.owner, ""))
    if given is not None:
        found.append(("dedicated", f"{interval(given.first, given.last)} to {given.owner_kind.value} {given.owner}", ""))
    if known is not None:
        if known.since is not None:
            found.append(("since", f"{known.since:%Y-%m-%d %H:%M} ({columns.ago(known.since, now)})", ""))
        if known.subnets:
            found.append(("subnets", " ".join(known.subnets), ""))
        if known.vms:
            found.append(("VMs", " ".join(known.vms), ""))
    return found


_DRIFT = {DriftKind.MISSING: "missing", DriftKind.EXTRA: "there, not expected", DriftKind.WRONG_BRIDGE: "in a wrong bridge"}


def presence(record: VlanRecord, glyphs: Glyphs) -> list[Line]:
    """Where its interface is: one line when that is as expected, else a line for each host that is not."""
    rows = record.presence
    wrong = [row for row in rows if row.problem is not None]
    well = [row.host for row in rows if row.problem is None and row.actual]
    unknown = [row.host for row in rows if row.problem is None and row.actual is None]
    lines: list[Line] = [[(" HOSTS", "title"), ("   expected = actual" if not wrong and not unknown else "", "muted")]]
    for row in wrong:
        said = _DRIFT[row.problem or DriftKind.EXTRA]
        lines.append([(f" {glyphs.failed} {row.host}  {said}", "failed")])
        lines += [[(f"   {row.detail}", "muted")]] if row.detail else []
    if well:
        lines.append([(f" {glyphs.well} ", "well"), (" ".join(well), "")])
    if unknown:
        lines.append([(f" {glyphs.attention} not asked: {' '.join(unknown)}", "attention")])
    return lines


def brief(space: VlanSpace, number: int, record: VlanRecord | None, now: datetime) -> list[Line]:
    """One ID in two lines, for a narrow terminal."""
    head, *more = state_lines(space, number, record)
    first: Line = [(f" ID {number}", "strong"), *((f"  {text.lstrip()}", style) for text, style in head)]
    if more:
        return [first, [(text if n else f"  {text.strip()}", style) for line in more for n, (text, style) in enumerate(line)]]
    pairs = facts(space, number, record, now)
    second: Line = []
    for name, value, style in sorted(pairs, key=lambda pair: _BRIEFLY.index(pair[0])):
        second += [(f" {name} " if not second else f"   {name} ", "muted"), (value, style)]
    if record is not None and record.number == number and record.presence:
        second += [("   hosts ", "muted"), (" ".join(row.host for row in record.presence if row.actual), "")]
    return [first, second]


_BRIEFLY = ("network", "owner", "dedicated", "VMs", "range", "subnets", "since")
"""What is told first where there is little room."""


def scheme_changes(row: PhysicalNetworkRecord, template: Sequence[tuple[int, int, Scope]]) -> list[str]:
    """What the usual scheme changes: IDs whose scope becomes another one."""
    said = []
    for one in row.ranges:
        for first, last, scope in template:
            a, b = max(first, one.first), min(last, one.last)
            if a <= b and scope is not one.scope:
                said.append(f"{interval(a, b)}: {one.scope.value} becomes {scope.value}")
    return said


def isolation_words(kind: Isolation) -> str:
    return {Isolation.VLAN: "IDs 1-4094", Isolation.VXLAN: "IDs 1-16777214", Isolation.GRE: "keys 0-4294967295"}[kind]


def _ago(then: datetime, now: datetime) -> str:
    age = columns.ago(then, now)
    return "now" if age == "now" else f"{age} ago"

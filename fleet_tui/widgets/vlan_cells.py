"""How IDs are drawn: a letter and a style for each state, and for a cell that stands for many IDs what matters most of them.

Letters are the same in every terminal: they are ASCII. Colour only repeats them, and is kept for what a person should look at.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleet_tui.backend.networks import PresenceRecord
from fleet_tui.backend.networks.states import DriftKind, VlanState
from fleet_tui.widgets.vlan_space import ALLOCATABLE, FREE, VlanSpace

S = VlanState
LETTERS: Mapping[VlanState, str] = {
    S.FREE: ".", S.ALLOCATED: "#", S.SPECIFIED: "S", S.DEDICATED_FREE: "d", S.DEDICATED_ALLOCATED: "D", S.MANAGEMENT: "m", S.PUBLIC: "p",
    S.RESERVED: "r", S.CONFLICT: "!", S.ORPHAN: "o",
}  # fmt: skip
STYLES: Mapping[VlanState, str] = {
    S.FREE: "muted", S.ALLOCATED: "", S.SPECIFIED: "maintenance", S.DEDICATED_FREE: "moving", S.DEDICATED_ALLOCATED: "maintenance",
    S.MANAGEMENT: "faint", S.PUBLIC: "faint", S.RESERVED: "faint", S.CONFLICT: "failed", S.ORPHAN: "attention",
}  # fmt: skip
WORDS: Mapping[VlanState, str] = {
    S.DEDICATED_FREE: "dedicated, free", S.DEDICATED_ALLOCATED: "dedicated, taken",
}  # fmt: skip
"""States in words where the value itself is not a phrase."""
DRIFT = "~"
"""An ID whose interface is missing on a host, or hangs in a wrong bridge there."""
NOTHING = (" ", "")


def word(state: VlanState) -> str:
    return WORDS.get(state, state.value)


def cell(space: VlanSpace, first: int, last: int) -> tuple[str, str]:
    """Letter and style of the IDs ``first``..``last``.

    Of many IDs the worst problem counts; else how many tenths of those that can be taken are: ``.`` none, ``1`` to ``9``, ``#`` all.
    """
    if first == last:
        if space.has_drift(first, first):
            return DRIFT, "failed"
        one = space.at(first)
        return NOTHING if one is None else (LETTERS[one.state], STYLES[one.state])
    counts = space.count(first, last)
    if not counts:
        return NOTHING
    for state in (S.CONFLICT, S.ORPHAN):
        if state in counts:
            return LETTERS[state], STYLES[state]
    if space.has_drift(first, last):
        return DRIFT, "failed"
    able = sum(many for state, many in counts.items() if state in ALLOCATABLE)
    if len(counts) == 1 or not able:
        most = max(counts, key=lambda state: counts[state])
        return LETTERS[most], STYLES[most]
    taken = able - sum(counts.get(state, 0) for state in FREE)
    if not taken or taken == able:
        return (LETTERS[S.ALLOCATED], STYLES[S.ALLOCATED]) if taken else (LETTERS[S.FREE], STYLES[S.FREE])
    return str(min(9, max(1, round(10 * taken / able)))), "attention" if taken > 0.9 * able else ""


def row(space: VlanSpace, first: int, count: int, zoom: int) -> list[tuple[str, str]]:
    """The cells of a row. Cells of one ID are drawn a stretch at a time: looking each of them up would be most of what a repaint costs."""
    if zoom > 1:
        starts = range(first, first + count * zoom, zoom)
        return [cell(space, max(a, space.first), b) if (b := min(a + zoom - 1, space.last)) >= max(a, space.first) else NOTHING for a in starts]
    cells = [NOTHING] * count
    for one in space.between(max(first, space.first), min(first + count - 1, space.last)):
        cells[one.first - first : one.last - first + 1] = [(LETTERS[one.state], STYLES[one.state])] * one.count
    for number in space.drifted_in(first, first + count - 1):
        cells[number - first] = DRIFT, "failed"
    return cells


ON_HOST = ("+", "-", "~", "!", "?")
"""Interface there and expected; missing; in a wrong bridge; there and not expected; expected and not yet asked."""


def host_cell(row: PresenceRecord) -> tuple[str, str]:
    """Letter and style of one ID on one host."""
    if row.problem is DriftKind.WRONG_BRIDGE:
        return "~", "failed"
    if row.actual is None:
        return ("?", "attention") if row.expected else NOTHING
    if row.expected != row.actual:
        return ("-", "failed") if row.expected else ("!", "failed")
    return ("+", "") if row.actual else NOTHING

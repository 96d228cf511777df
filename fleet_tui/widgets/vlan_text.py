"""The map of a physical network as a file: as it looks, as CSV, as JSON. Stretches of like IDs, never single ones."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping

from fleet_tui.backend.text import clean
from fleet_tui.widgets.vlan_cells import LETTERS, cell, word
from fleet_tui.widgets.vlan_space import VlanSpace, interval

ROW, GROUP = 50, 10
MOST_ROWS = 5000
"""Rows of letters in a text; of a larger network only the stretches are listed."""


def as_text(space: VlanSpace) -> str:
    """Rows of 50 IDs as on the screen, those with nothing in them left out; below, what the letters mean and who has what."""
    physical = space.physical
    lines = [f"{physical.zone}/{physical.name}  {physical.isolation.value}  {physical.ranges_text or 'no range'}", ""]
    lines += list(_rows(space))
    counts = space.count(space.first, space.last)
    lines += ["", *(f"{LETTERS[state]} {counts[state]:>10,}  {word(state)}" for state in LETTERS if state in counts)]
    held = [one for one in space.stretches if one.owner or one.network]
    if held:
        lines += ["", *(f"{interval(one.first, one.last)}\t{word(one.state)}\t{one.network}\t{one.owner}" for one in held)]
    return "".join(f"{clean_line(line)}\n" for line in lines)


def _rows(space: VlanSpace) -> Iterator[str]:
    width, told = len(str(space.last)), 0
    yield " " * (width + 1) + " ".join(f"{add:<{GROUP}}" for add in range(0, ROW, GROUP)).rstrip()
    last_row = -1
    for one in space.stretches:
        for row in range(max(last_row + 1, one.first // ROW), one.last // ROW + 1):
            last_row = row
            if (told := told + 1) > MOST_ROWS:
                yield f"and more: {space.physical.name} is too large to be drawn"
                return
            letters = [cell(space, n, n)[0] if space.first <= n <= space.last else " " for n in range(row * ROW, row * ROW + ROW)]
            yield f"{row * ROW:>{width}} " + " ".join("".join(letters[at : at + GROUP]) for at in range(0, ROW, GROUP)).rstrip()


def clean_line(line: str) -> str:
    return "\t".join(clean(part) for part in line.split("\t"))


def as_csv(space: VlanSpace) -> str:
    """A line a stretch, under headings. A text that a spreadsheet would compute is kept from that by a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("first", "last", "state", "scope", "network", "owner", "drift"))
    for one in space.stretches:
        drift = "yes" if space.has_drift(one.first, one.last) else ""
        writer.writerow((one.first, one.last, one.state.value, one.scope.value if one.scope else "", _inert(one.network), _inert(one.owner), drift))
    return out.getvalue()


def _inert(text: str) -> str:
    text = clean(text)
    return f"'{text}" if text[:1] in "=+-@" and text else text


def as_json(space: VlanSpace) -> str:
    physical = space.physical
    whole = {
        "network": physical.name, "zone": physical.zone, "isolation": physical.isolation.value, "ranges": physical.ranges_text,
        "counts": {state.value: count for state, count in space.counts.items()},
        "stretches": [
            {"first": one.first, "last": one.last, "state": one.state.value, "scope": one.scope.value if one.scope else None,
             "network": one.network, "owner": one.owner, "drift": space.has_drift(one.first, one.last)}
            for one in space.stretches
        ],
    }  # fmt: skip
    return json.dumps(whole, indent=2) + "\n"


FORMS: Mapping[str, Callable[[VlanSpace], str]] = {"text": as_text, "csv": as_csv, "json": as_json}
ENDINGS: Mapping[str, str] = {"text": ".txt", "csv": ".csv", "json": ".json"}

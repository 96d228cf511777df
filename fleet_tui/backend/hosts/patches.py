"""The ledger of patches (spec 7.7): what hypervisors should have, taken in from a file, and what each host lacks of it.

The product does not fetch vendors' announcements by itself: what nobody entered here, nobody is told of.

A host reports the patches it has (``patch_level``, ids apart by commas or spaces). A patch that supersedes others counts for all of
them, along the whole chain; one that is superseded is not asked for once its successor stands in the ledger.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import InvalidInput, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.hosts import ImportPatches, PatchRecord
from fleet_tui.backend.hosts.hierarchy import HYPERVISORS
from fleet_tui.backend.hosts.rows import ClusterRow, HostRow, PatchRow
from fleet_tui.backend.store import new_id
from fleet_tui.backend.text import clean

SEVERITIES = ("critical", "important", "normal")
CRITICAL_DAYS = 14
"""``patch.critical.days``: a critical patch may be missing for so long before it is an alert."""

_FIELDS: Mapping[str, tuple[int, bool]] = {
    "hypervisor": (20, True), "version": (60, True), "patch": (120, True), "released": (10, False), "severity": (20, False),
    "note": (2000, False), "superseded_by": (120, False),
}
"""Columns of a ledger file: most characters, and whether it must be given."""
_MOST_LINES = 20_000
_EVERY_VERSION = "*"


@dataclass(frozen=True, slots=True)
class Overdue:
    """A host that lacks a critical patch for too long."""

    host_id: str
    host: str
    patches: tuple[str, ...]
    since: datetime
    """Since when the oldest of them should have been there."""


class Ledger:
    """The ledger in memory, asked about many hosts."""

    def __init__(self, rows: Iterable[PatchRow]) -> None:
        self._by_hypervisor: dict[str, list[PatchRow]] = {}
        for row in rows:
            self._by_hypervisor.setdefault(row.hypervisor, []).append(row)
        self._known: dict[tuple[str, str, str], tuple[PatchRow, ...]] = {}

    @property
    def has_critical(self) -> bool:
        return any(row.severity == "critical" for rows in self._by_hypervisor.values() for row in rows)

    @classmethod
    def read(cls, tx: Session) -> Ledger:
        return cls(tx.scalars(select(PatchRow)))

    def missing(self, hypervisor: str, version: str, patch_level: str) -> tuple[PatchRow, ...]:
        """What a host of that version should have and has not. Nothing is missing of a version nobody knows yet."""
        rows = self._by_hypervisor.get(hypervisor)
        if not rows or not version:
            return ()
        key = (hypervisor, version, patch_level)
        if key not in self._known:  # most hosts of a fleet are alike
            self._known[key] = tuple(_missing([row for row in rows if _applies(row.hypervisor_version, version)], patch_level))
        return self._known[key]


def _missing(rows: Sequence[PatchRow], patch_level: str) -> Iterator[PatchRow]:
    by_name = {row.patch: row for row in rows}
    installed = set(re.split(r"[,;\s]+", patch_level)) - {""}
    for row in rows:
        if row.superseded_by in by_name or row.patch in installed:
            continue
        if not any(name in installed for name in _successors(row, by_name)):
            yield row


def _successors(row: PatchRow, by_name: Mapping[str, PatchRow]) -> Iterator[str]:
    seen = {row.patch}
    name = row.superseded_by
    while name and name not in seen:  # a circle in the ledger ends here
        seen.add(name)
        yield name
        name = by_name[name].superseded_by if name in by_name else ""


def _applies(ledger_version: str, version: str) -> bool:
    """``8.2`` is meant for 8.2 and 8.2.1, not for 8.20."""
    return ledger_version == _EVERY_VERSION or version == ledger_version or version.startswith((f"{ledger_version}.", f"{ledger_version}-"))


# --- reading ---------------------------------------------------------------------------------------------------------


def list_patches(tx: Session, hypervisor: str = "") -> tuple[PatchRecord, ...]:
    """The ledger, newest first, each with how many hosts lack it."""
    ledger = Ledger.read(tx)
    lacking: dict[str, int] = {}
    hosts = tx.execute(
        select(ClusterRow.hypervisor, HostRow.hypervisor_version, HostRow.patch_level).join(ClusterRow, HostRow.cluster_id == ClusterRow.id)
    )
    for kind, version, level in hosts:
        for row in ledger.missing(kind, version, level):
            lacking[row.id] = lacking.get(row.id, 0) + 1
    query = select(PatchRow).order_by(PatchRow.released.desc(), PatchRow.patch)
    if hypervisor:
        query = query.where(PatchRow.hypervisor == hypervisor)
    return tuple(
        PatchRecord(
            hypervisor=row.hypervisor, version=row.hypervisor_version, patch=row.patch, released=row.released, severity=row.severity,
            note=row.note, superseded_by=row.superseded_by, missing_on=lacking.get(row.id, 0),
        )
        for row in tx.scalars(query)
    )


def overdue(tx: Session, now: datetime, days: int = CRITICAL_DAYS) -> tuple[Overdue, ...]:
    """Hosts that lack a critical patch for longer than ``days``, counted from its release, or from its import when that is not known.

    The dashboard asks once a second: no host's row is loaded whole.
    """
    ledger = Ledger.read(tx)
    if not ledger.has_critical:
        return ()
    columns = (HostRow.id, HostRow.name, HostRow.hypervisor_version, HostRow.patch_level, ClusterRow.hypervisor)
    found, late = [], dict[tuple[str, str, str], list[tuple[datetime, str]]]()
    for id_, name, version, level, kind in tx.execute(select(*columns).join(ClusterRow, HostRow.cluster_id == ClusterRow.id).order_by(HostRow.name)):
        key = (kind, version, level)
        if key not in late:
            lacking = [(_since(row), row.patch) for row in ledger.missing(*key) if row.severity == "critical"]
            late[key] = sorted((since, patch) for since, patch in lacking if now - since > timedelta(days=days))
        if late[key]:
            found.append(Overdue(id_, name, tuple(patch for _, patch in late[key]), late[key][0][0]))
    return tuple(found)


def _since(row: PatchRow) -> datetime:
    if not row.released:
        return row.imported_at
    return datetime.combine(date.fromisoformat(row.released), datetime.min.time(), row.imported_at.tzinfo)


# --- taking in -------------------------------------------------------------------------------------------------------


def import_patches(tx: Session, request: ImportPatches, user: str, now: datetime) -> str:
    """Take a ledger in, whole or not at all; says what came of it.

    Raises:
        InvalidInput: names every line that is wrong, and what is wrong with it; nothing was taken in.
    """
    lines = list(_csv(request.text) if request.format == "csv" else _json(request.text) if request.format == "json" else _no(request.format))
    if len(lines) > _MOST_LINES:
        raise InvalidInput(f"the ledger has {len(lines)} lines; {_MOST_LINES} are the most", problems=[Problem("text", "is too long")])
    problems: list[Problem] = []
    entries: dict[tuple[str, str, str], dict[str, str]] = {}
    for place, line in lines:
        entry, complaints = _entry(line)
        key = (entry["hypervisor"], entry["version"], entry["patch"])
        if not complaints and key in entries:
            complaints = [f"{entry['patch']} for {entry['hypervisor']} {entry['version']} stands there twice"]
        problems += [Problem(place, complaint) for complaint in complaints]
        entries[key] = entry
    problems += [Problem(patch, "supersedes itself, by way of others") for patch in _circles(entries.values())]
    if problems:
        shown = "; ".join(f"{problem.field}: {problem.message}" for problem in problems[:5])
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InvalidInput(f"the ledger was not taken in: {shown}{more}", hint="correct these lines and import it again", problems=problems)
    if not entries and not request.replace:
        raise InvalidInput("the ledger is empty", problems=[Problem("text", "has no lines")])
    if request.replace:
        tx.execute(delete(PatchRow))
    fresh = sum(_put(tx, entry, now) for entry in entries.values())
    text = f"patch ledger: {fresh} new, {len(entries) - fresh} updated" + (", the old ones removed" if request.replace else "")
    append(tx, type="patches.imported", ref="patches:ledger", text=text, user=user)
    return text


def _circles(entries: Iterable[Mapping[str, str]]) -> list[str]:
    """Patches whose successors lead back to them: each would hide the others, and none would be asked for."""
    successor = {(e["hypervisor"], e["version"], e["patch"]): (e["hypervisor"], e["version"], e["superseded_by"]) for e in entries}
    found = []
    for start in successor:
        seen, at = {start}, successor[start]
        while at in successor and at not in seen:
            seen.add(at)
            at = successor[at]
        if at == start and len(seen) > 1:
            found.append(start[2])
    return found


def _put(tx: Session, entry: Mapping[str, str], now: datetime) -> bool:
    """True when it is new."""
    row = tx.scalar(select(PatchRow).where(
        PatchRow.hypervisor == entry["hypervisor"], PatchRow.hypervisor_version == entry["version"], PatchRow.patch == entry["patch"],
    ))
    is_new = row is None
    if row is None:
        row = PatchRow(
            id=new_id("pt"), hypervisor=entry["hypervisor"], hypervisor_version=entry["version"], patch=entry["patch"], imported_at=now,
        )
        tx.add(row)
    row.released, row.severity = entry["released"], entry["severity"] or "normal"
    row.note, row.superseded_by = entry["note"], entry["superseded_by"]
    return is_new


def _entry(line: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """One entry as texts, and everything that is wrong with it."""
    complaints = [f"there is no column {clean(str(name), 40)!r}" for name in line if name not in _FIELDS]
    entry: dict[str, str] = {}
    for name, (longest, needed) in _FIELDS.items():
        given = line.get(name)
        text = clean("" if given is None else str(given), 5000).strip()
        entry[name] = text
        if needed and not text:
            complaints.append(f"{name} is needed")
        elif len(text) > longest:
            complaints.append(f"{name} has {len(text)} characters; {longest} are allowed")
    if entry["hypervisor"] and entry["hypervisor"] not in HYPERVISORS:
        complaints.append(f"hypervisor {entry['hypervisor']!r} is none of {', '.join(HYPERVISORS)}")
    if entry["severity"] not in ("", *SEVERITIES):
        complaints.append(f"severity {entry['severity']!r} is none of {', '.join(SEVERITIES)}")
    if entry["released"] and not _is_date(entry["released"]):
        complaints.append(f"released {entry['released']!r} is not a date such as 2026-02-28")
    if re.search(r"[,;\s]", entry["patch"]):
        complaints.append("a patch id holds no spaces, commas or semicolons: hosts report theirs apart by these")
    if entry["superseded_by"] and entry["superseded_by"] == entry["patch"]:
        complaints.append("a patch cannot supersede itself")
    return entry, complaints


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _csv(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each entry with its line in the file. The first line names the columns."""
    reader = csv.DictReader(text.splitlines(), restkey="", strict=True)
    try:
        named = [name.strip() for name in reader.fieldnames or ()]
        missing = [name for name, (_, needed) in _FIELDS.items() if needed and name not in named]
        if missing:
            complaint = f"the first line must name the columns {', '.join(_FIELDS)}; not there: {', '.join(missing)}"
            raise InvalidInput(complaint, problems=[Problem("line 1", complaint)])
        reader.fieldnames = named
        for row in reader:
            yield f"line {reader.line_num}", row
    except csv.Error as problem:
        raise InvalidInput(f"line {reader.line_num} is not CSV: {problem}", problems=[Problem(f"line {reader.line_num}", str(problem))]) from None


def _json(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A list of objects; entries are counted from 1."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InvalidInput(f"the ledger is not JSON: {problem}", problems=[Problem("text", str(problem))]) from None
    if not isinstance(found, list):
        raise InvalidInput("the ledger must be a list of objects", problems=[Problem("text", "must be a list of objects")])
    for number, entry in enumerate(found, 1):
        yield f"entry {number}", entry if isinstance(entry, dict) else {"": entry}


def _no(form: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    raise InvalidInput(f"there is no format {form!r}", problems=[Problem("format", "must be csv or json")])

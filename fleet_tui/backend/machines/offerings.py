"""Sizes that VMs are made in (spec 9.4)."""

from __future__ import annotations

import re
import shlex

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fleet_tui.backend.errors import ConfirmationRequired, InUse, InvalidInput, NotFound, Problem
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.machines import CreateOffering
from fleet_tui.backend.machines.editing import word_problems
from fleet_tui.backend.machines.rows import OfferingRow, VmRow
from fleet_tui.backend.store import new_id

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
KINDS = ("guest", "console-proxy", "router", "storage-vm")
_MOST_CORES, _MHZ, _LEAST_MIB, _MOST_MIB = 1024, range(100, 10_001), 64, 2**24


def create_offering(tx: Session, request: CreateOffering, user: str) -> OfferingRow:
    """Raises InvalidInput with every field that is wrong. The same request again finds what it made."""
    problems: list[Problem] = []
    if not NAME.fullmatch(request.name):
        problems.append(Problem("name", "1 to 63 letters, digits, dots, dashes or underscores, beginning with a letter or digit"))
    if not 1 <= request.cores <= _MOST_CORES:
        problems.append(Problem("cores", f"must be from 1 to {_MOST_CORES}"))
    if request.mhz not in _MHZ:
        problems.append(Problem("mhz", "must be from 100 to 10,000"))
    if not _LEAST_MIB <= request.memory_mib <= _MOST_MIB:
        problems.append(Problem("memory_mib", f"must be at least {_LEAST_MIB}, and no more than {_MOST_MIB:,}"))
    if request.system_kind and request.system_kind not in KINDS[1:]:
        problems.append(Problem("system_kind", f"must be empty or one of {', '.join(KINDS[1:])}"))
    problems += word_problems(tags=request.tags)
    there = tx.scalar(select(OfferingRow).where(OfferingRow.name == request.name))
    wanted = (request.cores, request.mhz, request.memory_mib, request.limit_cpu, request.ha, list(request.tags), request.system_kind)
    if there is not None:
        if request.request_id and (there.cores, there.mhz, there.memory_mib, there.limit_cpu, there.ha, there.tags, there.system_kind) == wanted:
            return there
        problems.append(Problem("name", "there is an offering of that name already"))
    if problems:
        raise InvalidInput(f"offering {request.name!r} was refused: {problems[0].field}: {problems[0].message}", problems=problems)
    row = OfferingRow(
        id=new_id("of"), name=request.name, cores=request.cores, mhz=request.mhz, memory_mib=request.memory_mib, limit_cpu=request.limit_cpu,
        ha=request.ha, tags=list(request.tags), system_kind=request.system_kind,
    )
    tx.add(row)
    append(tx, type="offering.created", ref=f"offering:{row.id}", text=f"offering {row.name} was created by {user}", user=user)
    return row


def delete_offering(tx: Session, target: str, confirm: str, user: str) -> str:
    """Raises InUse with the VMs of that size, ConfirmationRequired without its name."""
    row = find_offering(tx, target)
    used = tx.scalars(select(VmRow.name).where(VmRow.offering_id == row.id).order_by(VmRow.name).limit(20)).all()
    if used:
        number = tx.scalar(select(func.count()).select_from(VmRow).where(VmRow.offering_id == row.id))
        raise InUse(f"offering {row.name} is used by {number} VMs", hint="resize or destroy them first", users=list(used))
    if confirm != row.name:
        raise ConfirmationRequired(f"deleting offering {row.name} cannot be undone", hint=f"type its name: --confirm {shlex.quote(row.name)}")
    tx.delete(row)
    append(tx, type="offering.deleted", ref=f"offering:{row.id}", text=f"offering {row.name} was deleted by {user}", user=user)
    return row.name


def find_offering(tx: Session, target: str) -> OfferingRow:
    bare = target.removeprefix("offering:")
    row = tx.scalar(select(OfferingRow).where((OfferingRow.id == bare) | (OfferingRow.name == bare)).limit(1))
    if row is None:
        raise NotFound(f"there is no offering {target!r}", hint="`fleet offering list` shows them")
    return row

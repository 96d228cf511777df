"""Columns of certificates, of cloud images, and of orphans."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from fleet_tui.columns.spec import ColumnSpec, ago, size, span

if TYPE_CHECKING:
    from fleet_tui.backend.certificates import BoardEntry

_URGENT_FIRST = ("failed", "attention", "moving", "well")
_CERTIFICATE_STATUS = {"expired": "failed", "critical": "failed", "soon": "attention"}


def certificate_status(row: BoardEntry) -> str:
    """``due`` is nothing to look at where it is being renewed."""
    if (status := _CERTIFICATE_STATUS.get(row.state)) is not None:
        return status
    if row.mismatch or row.problem or row.untrusted:
        return "attention"
    return "well" if row.state == "well" else "moving" if row.renew_at is not None else "attention"


def certificate_says(row: BoardEntry, now: datetime) -> str:
    """What one wants to know first: what is wrong with it, else when it is renewed."""
    said = ["serves another than is on record"] if row.mismatch else []
    if row.problem:
        said.append(f"not renewed: {row.problem}" + (f"; again {until(row.renew_at, now)}" if row.renew_at else ""))
    said += ["staging: trusted by nobody"] if row.untrusted else []
    if not row.problem and row.renew_at is not None:
        said.append(f"renewed {until(row.renew_at, now)}")
    if row.kind == "self_signed" and row.state != "well":
        said.append("at its next start-up")
    return " · ".join(said) or _BY_HAND.get(row.kind) or row.renewal or "by hand"


_BY_HAND = {
    "self_signed": "at a reprovision with other names", "per_instance": "by hand: a new one goes into its settings",
    "authority": "signs what fleetd serves with",
}  # fmt: skip
"""How a certificate becomes a new one that nothing renews by itself."""


def until(then: datetime, now: datetime) -> str:
    """``in 6d``; ``now`` for what is due."""
    return f"in {span((then - now).total_seconds())}" if (then - now).total_seconds() >= 5 else "now"


def days_left(row: BoardEntry, now: datetime) -> str:
    """Whole days; hours on the last one; of one that has ended, how long ago."""
    seconds = (row.not_after - now).total_seconds()
    return f"{span(-seconds)} ago" if seconds <= 0 else span(seconds)


STRATEGIES: Mapping[str, str] = {
    "self_signed": "self-signed", "per_instance": "own", "letsencrypt": "let's encrypt", "authority": "fleet's own", "agent_door": "fleet's own",
}
"""Where certificates come from, in a word or two."""

CERTIFICATES: tuple[ColumnSpec, ...] = (
    ColumnSpec("owner", "CERTIFICATE", 11, lambda r, _: r.owner, lambda r: r.owner.lower(), roomy=20),
    ColumnSpec("state", "STATE", 8, lambda r, _: r.state, lambda r: (_URGENT_FIRST.index(certificate_status(r)), r.not_after)),
    ColumnSpec("left", "LEFT", 7, days_left, lambda r: r.not_after, right=True),
    ColumnSpec("says", "RENEWAL", 22, certificate_says, lambda r: (r.problem == "", r.renew_at.timestamp() if r.renew_at else float("inf")),
               grow=True, priority=1, roomy=60),
    ColumnSpec("kind", "FROM", 21, lambda r, _: STRATEGIES.get(r.kind, r.kind), lambda r: r.kind, priority=2),
    ColumnSpec("ends", "ENDS", 10, lambda r, _: f"{r.not_after:%Y-%m-%d}", lambda r: r.not_after, priority=3),
    ColumnSpec("names", "NAMES", 34, lambda r, _: " ".join(r.sans) or "-", lambda r: r.sans or None, priority=4),
    ColumnSpec("issuer", "ISSUER", 18, lambda r, _: r.issuer or "-", lambda r: r.issuer, priority=5),
    ColumnSpec("subject", "SUBJECT", 18, lambda r, _: r.subject, lambda r: r.subject, wide=True),
    ColumnSpec("fingerprint", "FINGERPRINT", 24, lambda r, _: r.fingerprint or "-", wide=True),
)

CLOUD_IMAGES: tuple[ColumnSpec, ...] = (
    ColumnSpec("name", "IMAGE", 18, lambda r, _: r.name, lambda r: r.name.lower(), roomy=30),
    ColumnSpec("zone", "ZONE", 12, lambda r, _: r.zone, lambda r: r.zone.lower()),
    ColumnSpec("path", "FILE", 30, lambda r, _: r.path, lambda r: r.path, grow=True),
    ColumnSpec("age", "AGE", 5, lambda r, now: ago(r.created_at, now), lambda r: -r.created_at.timestamp(), right=True, priority=1),
    ColumnSpec("id", "ID", 14, lambda r, _: r.id, wide=True),
)

ORPHANS: tuple[ColumnSpec, ...] = (
    ColumnSpec("id", "ORPHAN", 19, lambda r, _: r.id, lambda r: r.id, roomy=30),
    ColumnSpec("kind", "KIND", 8, lambda r, _: r.kind, lambda r: r.kind),
    ColumnSpec("provider", "AT", 9, lambda r, _: r.provider, lambda r: r.provider),
    ColumnSpec("size", "SIZE", 8, lambda r, _: "-" if r.size_bytes is None else size(r.size_bytes), lambda r: r.size_bytes or 0, right=True),
    ColumnSpec("detail", "STATE", 20, lambda r, _: r.detail, lambda r: r.detail, roomy=34),
    ColumnSpec("place", "PLACE", 20, lambda r, _: r.place or "-", lambda r: r.place, grow=True, priority=1),
)

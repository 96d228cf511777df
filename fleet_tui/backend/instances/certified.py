"""Certificates of instances: as their agents told them, as they are served, and when each ends."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates import SOON, BoardEntry, CertificateFacts, ListBoard, Served
from fleet_tui.backend.certificates.rows import CertificateRow
from fleet_tui.backend.clock import Clock
from fleet_tui.backend.errors import Problem
from fleet_tui.backend.instances import SslRecord, ssl_settings
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.instances.settings import find_row
from fleet_tui.backend.instances.states import InstanceState

_MOST_CERTIFICATES, _MOST_PIECES = 10, 40
_DAY_S = 86400.0
_SHOWN = 50
_SHOWS = "enter opens it · :certificates shows all"
_RENEWS = ":certificates, R tries again"
URGENT_SHARE = 2
"""From this part of the days of an alert on it is urgent: 14 and 7 (SSL-3)."""


def certificate_of(tx: Session, ref: str) -> CertificateRow:
    """The row of an object, made when there is none."""
    row = tx.get(CertificateRow, ref)
    if row is None:
        row = CertificateRow(
            ref=ref, kind="", pem="", untrusted=False, served_pem="", served_problem="", mismatch=False, renewal_problem="", order_url="",
            order_for="",
        )
        tx.add(row)
    return row


def note(tx: Session, instance: InstanceRow, facts: Mapping[str, Any]) -> None:
    """Take over what an agent says it serves with."""
    pem = _pem_of(facts.get("certificate_chain"))
    row = tx.get(CertificateRow, f"instance:{instance.id}")
    if not pem and row is None:
        return
    row = row or certificate_of(tx, f"instance:{instance.id}")
    strategy = tx.scalar(select(NetworkRow.https_strategy).where(NetworkRow.id == instance.network_id)) or "none"
    if pem == row.pem and row.kind == strategy:
        return
    before, is_new = row.not_after, pem != row.pem
    row.kind, row.pem, row.not_after = strategy, pem, instance.certificate_not_after if pem else None
    row.served_at, row.mismatch = None, False  # look again soon
    if strategy != "letsencrypt" or not pem or row.not_after is None:
        row.renew_at = row.retry_at = None
        row.renewal_problem = ""
        return
    if is_new and (before is None or row.not_after > before):  # however it was come by, it is what the renewal that failed was for
        row.renewal_problem, row.retry_at = "", None
    begins = facts.get("certificate_not_before")
    life = row.not_after.timestamp() - float(begins) if isinstance(begins, int | float) else 3 * SOON.total_seconds()
    row.renew_at = renewal_moment(row.ref, row.not_after, life)


def renewal_moment(ref: str, not_after: datetime, life_s: float) -> datetime:
    """When a certificate is renewed first: from 30 days before its end, or a third of its life where that is shorter; each object at its own hour."""
    margin_s = min(SOON.total_seconds(), max(0.0, life_s) / 3)
    return not_after - timedelta(seconds=margin_s) + timedelta(seconds=_share(ref) * min(_DAY_S, margin_s / 10))


def next_attempt(ref: str, now: datetime, every_s: float, earliest: datetime | None) -> datetime:
    """The attempt after one at ``now``: a day later, less or more two hours, and not before the directory wants to be asked."""
    spread = (_share(f"{ref}{now:%Y%m%d}") - 0.5) * every_s / 6
    return max(now + timedelta(seconds=every_s + spread), earliest or now)


def _share(text: str) -> float:
    """A number from 0 to 1 that is always the same for a text: jitter that a test and a second daemon can foretell."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def _pem_of(told: Any) -> str:
    """Certificates in pieces, as an agent tells them, as PEM; empty when it is anything else."""
    if not isinstance(told, list) or len(told) > _MOST_CERTIFICATES:
        return ""
    found = []
    for pieces in told:
        if not isinstance(pieces, list) or len(pieces) > _MOST_PIECES or not all(isinstance(piece, str) for piece in pieces):
            return ""
        try:
            der = base64.b64decode("".join(pieces), validate=True)
        except (binascii.Error, ValueError):
            return ""
        text = base64.b64encode(der).decode()
        lines = [text[n : n + 64] for n in range(0, len(text), 64)]
        found.append("\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", "")))
    return "".join(found)


# --- records ---------------------------------------------------------------------------------------------------------


def show(tx: Session, target: str, drivers: Drivers) -> SslRecord:
    """Everything of one instance's certificate (SSL-5); what is wrong with the settings is judged anew."""
    instance = find_row(tx, target)
    network = tx.get_one(NetworkRow, instance.network_id)
    row = tx.get(CertificateRow, f"instance:{instance.id}")
    settings: Mapping[str, Any] = instance.settings
    now = drivers.clock.now()
    strategy = network.https_strategy
    saved, warnings = _saved(instance, strategy, now)
    warnings += ssl_settings.doubts(tx, instance)
    in_use = _facts(row.pem) if row is not None else None
    not_after = in_use.not_after if in_use else instance.certificate_not_after
    served = None
    if row is not None and row.served_at is not None:
        served = Served(row.served_at, row.served_problem, _facts(row.served_pem))
    storage = str(settings.get(ssl_settings.STORAGE) or "inline_encrypted") if strategy == "per_instance" else ""
    pem = (row.pem if row is not None else "") or (str(settings.get(ssl_settings.CERTIFICATE) or "") if strategy == "per_instance" else "")
    return SslRecord(
        instance=instance.label, strategy=strategy, network=network.label, http_mode=network.http_mode if strategy != "none" else "",
        key_storage=storage, key=str(settings.get(ssl_settings.KEY) or "") if strategy == "per_instance" else "",
        secret_id=str(settings.get("ssl.secret_id") or "") if storage in ssl_settings.IN_VAULT else "",
        domains=tuple(settings.get("domains") or ()) if strategy == "letsencrypt" else (),
        directory=drivers.certificates.directory(network.acme_directory) if strategy == "letsencrypt" else "",
        saved=saved, in_use=in_use, served=served, mismatch=row is not None and row.mismatch, days_left=_days(not_after, now),
        untrusted=row is not None and row.untrusted, certificate_pem=pem, renew_at=row.renew_at if row is not None else None,
        renewal_problem=row.renewal_problem if row is not None else "", retry_at=row.retry_at if row is not None else None,
        refusals=tuple(ssl_settings.missing(tx, instance, now)), warnings=tuple(warnings),
    )


def _saved(instance: InstanceRow, strategy: str, now: datetime) -> tuple[CertificateFacts | None, list[Problem]]:
    """What the settings have, which a running machine may not have yet, with its warnings."""
    pem = str(instance.settings.get(ssl_settings.CERTIFICATE) or "")
    if strategy != "per_instance" or not pem:
        return None, []
    from fleet_tui.backend.certificates import material

    verdict = material.judge(pem, now, names=[instance.host_name] if instance.host_name else [])
    warnings = list(verdict.warnings)
    if instance.settings.get("ssl.region"):
        warnings.append(Problem("ssl.region", "is deprecated and ignored: the secret is read in the instance's own region"))
    return verdict.facts, warnings


def _facts(pem: str) -> CertificateFacts | None:
    if not pem:
        return None
    from fleet_tui.backend.certificates import material

    try:
        return material.describe(pem)
    except ValueError:
        return None


def _days(not_after: datetime | None, now: datetime) -> int | None:
    return None if not_after is None else int((not_after - now) // timedelta(days=1))


def board(tx: Session, request: ListBoard, drivers: Drivers) -> tuple[BoardEntry, ...]:
    """Every certificate of the fleet, the one that ends first at the top."""
    now = drivers.clock.now()
    query = (
        select(InstanceRow.id, InstanceRow.label, InstanceRow.host_name, InstanceRow.certificate_not_after, InstanceRow.certificate_fingerprint,
               NetworkRow.https_strategy, CertificateRow)
        .join(NetworkRow, InstanceRow.network_id == NetworkRow.id).outerjoin(CertificateRow, CertificateRow.ref == "instance:" + InstanceRow.id)
        .where(InstanceRow.certificate_not_after.is_not(None), NetworkRow.https_strategy != "none")
        .order_by(InstanceRow.certificate_not_after, InstanceRow.label)
    )  # fmt: skip
    if request.within_days > 0:
        query = query.where(InstanceRow.certificate_not_after <= now + timedelta(days=request.within_days))
    found = []
    for id_, label, host_name, not_after, fingerprint, strategy, row in tx.execute(query.limit(max(1, min(request.limit, 10_000)))):
        if not_after is None:
            continue
        facts = _facts(row.pem) if row is not None else None
        days = _days(not_after, now) or 0
        found.append(BoardEntry(
            owner=label, ref=f"instance:{id_}", kind=strategy, subject=facts.subject if facts else label, issuer=facts.issuer if facts else "",
            sans=facts.sans if facts else tuple(filter(None, (host_name,))), fingerprint=fingerprint or "", not_after=not_after, days_left=days,
            state=state_of(not_after, now, drivers.certificates.alert_days), renewal=_renewal(strategy, row), untrusted=bool(row and row.untrusted),
            mismatch=bool(row and row.mismatch), renew_at=row.renew_at if row else None, problem=row.renewal_problem if row else "",
        ))  # fmt: skip
    return tuple(found)


def state_of(not_after: datetime, now: datetime, alert_days: int) -> str:
    """As :attr:`BoardEntry.state` has it."""
    left = not_after - now
    if left <= timedelta(0):
        return "expired"
    steps = ((alert_days / URGENT_SHARE, "critical"), (alert_days, "soon"), (SOON.days, "due"))
    return next((word for days, word in steps if left <= timedelta(days=days)), "well")


def _renewal(strategy: str, row: CertificateRow | None) -> str:
    if strategy == "self_signed":
        return "made anew by a start-up once it ends within 30 days, or by a reprovision with other names"
    if strategy != "letsencrypt" or row is None or row.renew_at is None:
        return ""
    return f"failed, again {row.renew_at:%Y-%m-%d %H:%M}" if row.renewal_problem else f"{row.renew_at:%Y-%m-%d}"


def wanting_attention(tx: Session, clock: Clock, alert_days: int) -> Iterator[tuple[str, str, str, str, bool, datetime]]:
    """(ref, label, words, hint, whether it is urgent, since) of running instances.

    Those whose certificate ends soon, is not what they serve, or could not be renewed when it was time.
    """
    now = clock.now()
    soon = now + timedelta(days=alert_days)
    runs = InstanceRow.state == InstanceState.RUNNING.value
    named = (InstanceRow.id, InstanceRow.label)
    ending = (
        select(*named, InstanceRow.certificate_not_after, CertificateRow.renewal_problem)
        .outerjoin(CertificateRow, CertificateRow.ref == "instance:" + InstanceRow.id)
        .where(InstanceRow.certificate_not_after <= soon, runs).order_by(InstanceRow.certificate_not_after, InstanceRow.label).limit(_SHOWN)
    )  # fmt: skip
    for id_, label, not_after, problem in tx.execute(ending):
        if not_after is not None:
            left = not_after - now
            words = f"certificate ended {_ago(-left)} ago" if left <= timedelta(0) else f"certificate ends in {_ago(left)}"
            hint = f"renewal fails: {problem} · {_RENEWS}" if problem else _SHOWS
            yield f"instance:{id_}", label, words, hint, left <= timedelta(days=alert_days / URGENT_SHARE), not_after - timedelta(days=alert_days)
    other = (
        select(*named, CertificateRow.served_at).join(CertificateRow, CertificateRow.ref == "instance:" + InstanceRow.id)
        .where(CertificateRow.mismatch, runs).order_by(InstanceRow.label).limit(_SHOWN)
    )  # fmt: skip
    for id_, label, served_at in tx.execute(other):
        yield f"instance:{id_}", label, "serves another certificate than is on record", _SHOWS, False, served_at or now
    failing = (
        select(*named, CertificateRow.renewal_problem, InstanceRow.certificate_not_after)
        .join(CertificateRow, CertificateRow.ref == "instance:" + InstanceRow.id)
        .where(CertificateRow.renewal_problem != "", InstanceRow.certificate_not_after > soon, runs).order_by(InstanceRow.label).limit(_SHOWN)
    )  # fmt: skip
    for id_, label, problem, not_after in tx.execute(failing):
        if not_after is not None:
            words = f"certificate is not renewed, {_ago(not_after - now)} left"
            yield f"instance:{id_}", label, words, f"{problem} · {_RENEWS}", False, not_after - SOON


def _ago(span: timedelta) -> str:
    days, hours = span.days, span.seconds // 3600
    return f"{days} day{'s'[: days != 1]}" if days else f"{hours} h"

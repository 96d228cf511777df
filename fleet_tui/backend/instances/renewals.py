"""Certificates of the strategy ``letsencrypt`` are renewed by themselves: from 30 days before their end, tried once a day (SSL-3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fleet_tui.backend.certificates.rows import CertificateRow
from fleet_tui.backend.errors import FleetError, TimedOut, WrongState
from fleet_tui.backend.instances import RenewCertificate, hooks
from fleet_tui.backend.instances.certified import certificate_of, next_attempt
from fleet_tui.backend.instances.drivers import Drivers
from fleet_tui.backend.instances.looks import Looks, place_of
from fleet_tui.backend.instances.rows import InstanceRow, NetworkRow
from fleet_tui.backend.instances.states import InstanceState
from fleet_tui.backend.instances.steps import Result, changed, instance_of
from fleet_tui.backend.operations import ErrorRecord, OperationRequest, Submitted
from fleet_tui.backend.operations.catalogue import OperationFacts, Prepared, StepContext
from fleet_tui.backend.store import Store

log = logging.getLogger("fleetd.certificates")

KIND = "instance.renew-certificate"
_SEEN_S = 60.0
"""How long an application may take to serve what it was given."""
_AT_ONCE = 20


class Renewals:
    """Submits what is due. The next attempt is on record before this one is made, so nothing is ever asked for in a circle."""

    def __init__(self, store: Store, drivers: Drivers, submit: Callable[[str, OperationRequest, str], Submitted]) -> None:
        self._store, self._drivers, self._submit = store, drivers, submit

    def sweep(self) -> None:
        now = self._drivers.clock.now()
        with self._store.read() as tx:
            query = (
                select(InstanceRow.id, CertificateRow.renew_at).join(CertificateRow, CertificateRow.ref == "instance:" + InstanceRow.id)
                .where(InstanceRow.state == InstanceState.RUNNING.value, CertificateRow.renew_at <= now)
                .order_by(CertificateRow.renew_at).limit(_AT_ONCE)
            )  # fmt: skip
            due = tx.execute(query).all()
        for instance_id, moment in due:
            if moment is None:
                continue
            ref = f"instance:{instance_id}"
            try:
                self._submit(KIND, RenewCertificate(target=ref, request_id=f"renew:{instance_id}:{moment.isoformat(timespec='seconds')}"), "schedule")
            except FleetError as refusal:
                log.info("%s is not renewed now: %s", ref, refusal.message)
            with self._store.write() as tx:
                row = tx.get(CertificateRow, ref)
                if row is not None and row.renew_at == moment:
                    row.renew_at = next_attempt(ref, now, self._drivers.certificates.retry_s, row.retry_at)


def refusals(tx: Session, row: InstanceRow, request: Any) -> Iterable[FleetError]:
    strategy = tx.scalar(select(NetworkRow.https_strategy).where(NetworkRow.id == row.network_id))
    if strategy != "letsencrypt":
        yield WrongState(
            f"the certificate of {row.label} is not one that is renewed (HTTPS strategy {strategy})",
            hint="a reprovision makes a self-signed one anew; one of your own is replaced in the settings", state=row.state,
        )


def remembering(prepare: Callable[[Session, Any, str], Prepared]) -> Callable[[Session, Any, str], Prepared]:
    """Has the operation know which certificate it replaces, so that its failure can tell whether that was done."""

    def prepared(tx: Session, request: Any, user: str) -> Prepared:
        found = prepare(tx, request, user)
        instance = tx.get_one(InstanceRow, found.target_ref.removeprefix("instance:"))
        return replace(found, parameters={**found.parameters, "replaces": instance.certificate_fingerprint or ""})

    return prepared


def look_for_it(ctx: StepContext) -> Result:
    """Whether the application serves the new certificate; if not, that is told, and the look goes on by itself later."""
    looks = ctx.use(Looks)
    with ctx.read() as tx:
        row = instance_of(tx, ctx.operation.target_ref)
        place = place_of(tx, row)
    if place is None:
        return None

    def is_served() -> bool:
        fingerprint = looks.look_at(place)
        with ctx.read() as tx:
            return bool(fingerprint) and fingerprint == instance_of(tx, ctx.operation.target_ref).certificate_fingerprint

    try:
        ctx.wait(is_served, _SEEN_S, 1.0)
    except TimedOut:
        ctx.say("the application does not serve the new certificate yet; restart it if it does not take it up", "warn")
        return None
    ctx.say("the new certificate is served")
    return None


def renewed(tx: Session, row: InstanceRow, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    certificate = certificate_of(tx, f"instance:{row.id}")
    certificate.renewal_problem, certificate.retry_at = "", None


def failed(tx: Session, op: OperationFacts, error: ErrorRecord, failed_step: str) -> None:
    """The present certificate goes on serving; why there is no new one is on record, and in the attention list once it matters.

    Where there is a new one and the application failed to take it up, the renewal is done: the look at what it serves tells the rest.
    """
    instance = tx.get(InstanceRow, op.target_ref.removeprefix("instance:"))
    if instance is not None and (instance.certificate_fingerprint or "") != op.parameters.get("replaces", instance.certificate_fingerprint or ""):
        changed(tx, instance, f"the new certificate of {instance.label} is in place, but not taken up: {error.message}", "warn", op.id)
    elif instance is not None:
        row = certificate_of(tx, op.target_ref)
        row.renewal_problem = error.message
        if row.renew_at is not None and row.retry_at is not None:
            row.renew_at = max(row.renew_at, row.retry_at)
    hooks.fail("renew-certificate")(tx, op, error, failed_step)

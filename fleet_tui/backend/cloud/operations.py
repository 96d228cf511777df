"""``kms.rewrap``: every stored secret moves to the key that is set up now (spec 5.4).

Each secret is moved by itself and replaced in one transaction, so that it is valid at every moment, under the old key or the new one; what
was moved stays moved, and a repeat goes on with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from fleet_tui.backend.cloud import RewrapKeys
from fleet_tui.backend.cloud import sealed as secrets_kept
from fleet_tui.backend.cloud.account import AWS, REF, Account
from fleet_tui.backend.cloud.rows import CloudAccountRow
from fleet_tui.backend.errors import Busy, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.operations.catalogue import Lease, OperationFacts, OperationKind, Prepared, Step, StepContext, planned

AT_ONCE = 50
"""Secrets looked for at a time."""
_ROUNDS = 3
"""Times a secret may be saved anew under our hands before the rest is left to another attempt."""


def _prepare(tx: Session, request: RewrapKeys, user: str) -> Prepared:
    row = tx.get(CloudAccountRow, AWS)
    if row is None or not row.cmk_arn:
        raise WrongState("this site has no cloud's key to move secrets to", hint="`fleet cloud setup --cmk KEY` chooses one")
    return Prepared(
        target="cloud", target_ref=REF, leases=(Lease("fleet", "secrets"),), parameters={"key": row.cmk_arn},
        plan=planned("cloud", changes=(f"every stored secret moves to {row.cmk_arn}",), consequences=("old ones stay valid until each is moved",)),
    )


def _check(ctx: StepContext) -> Mapping[str, Any]:
    """The key still does, before anything is moved to it."""
    verdict = ctx.use(Account).test_key(ctx.operation.parameters["key"])
    if not verdict.passed:
        raise WrongState(f"the key cannot be used: {verdict.checks[0].text}", hint=verdict.checks[0].hint or "choose another key")
    ctx.say(f"{verdict.key} encrypts and decrypts")
    return {"key": verdict.key}


def _move(ctx: StepContext) -> Mapping[str, Any]:
    account, key, moved, lost = ctx.use(Account), str(ctx.operation.parameters["key"]), 0, 0
    with ctx.read() as tx:
        row = tx.get(CloudAccountRow, AWS)
        counted = secrets_kept.count(tx, account.columns)
    if row is None or row.cmk_arn != key:
        raise WrongState("another key was chosen meanwhile", hint="the operation that was begun then moves everything to that one")
    total = sum(number for under, number in counted.items() if under != key)
    while True:
        with ctx.read() as tx:
            left = secrets_kept.behind(tx, account.columns, key, AT_ONCE)
        if not left:
            break
        for secret in left:
            ctx.check()
            fresh = account.vault.move(secret.text)
            with ctx.write() as tx:
                done = secrets_kept.replace(tx, secret, fresh)
            moved, lost = moved + done, lost + (not done)
            ctx.progress(f"{moved} of {max(total, moved)}")
        if lost > _ROUNDS * max(total, 1):
            raise Busy("secrets are saved anew while they are moved", hint="try again", holders=[])
    return {"moved": moved}


def _told(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    append(tx, type="cloud.changed", ref=REF, operation_id=op.id, text=f"every stored secret is under {op.parameters['key']}")


OPERATIONS: tuple[OperationKind, ...] = (
    OperationKind(
        kind="kms.rewrap", title="re-wrap secrets", prepare=_prepare, steps=(Step("check-key", _check), Step("move-secrets", _move, attempts=3)),
        succeeded=_told, request=RewrapKeys,
    ),
)

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
from fleet_tui.backend.cloud.account import AWS, REF, REWRAP, Account
from fleet_tui.backend.cloud.rows import CloudAccountRow
from fleet_tui.backend.errors import Busy, WrongState
from fleet_tui.backend.events.feed import append
from fleet_tui.backend.operations.catalogue import Lease, OperationFacts, OperationKind, Prepared, Step, StepContext, planned

_ROUNDS = 4
"""Looks for what is left: some may be saved anew under our hands."""


def _prepare(tx: Session, request: RewrapKeys, user: str) -> Prepared:
    row = tx.get(CloudAccountRow, AWS)
    if row is None or not row.cmk_arn:
        raise WrongState("this site has no cloud's key to move secrets to", hint="`fleet cloud setup --cmk KEY` chooses one")
    return Prepared(
        target="cloud", target_ref=REF, leases=(Lease("fleet", "secrets"),),
        plan=planned("cloud", changes=(f"every stored secret moves to {row.cmk_arn}",), consequences=("old ones stay valid until each is moved",)),
    )


def _key(ctx: StepContext) -> str:
    """The one that is set up now: who chooses another while secrets move finds them under that one in the end."""
    with ctx.read() as tx:
        row = tx.get(CloudAccountRow, AWS)
    if row is None or not row.cmk_arn:
        raise WrongState("no key is chosen any more", hint="`fleet cloud setup --cmk KEY` chooses one")
    return row.cmk_arn


def _check(ctx: StepContext) -> Mapping[str, Any]:
    """The key still does, before anything is moved to it."""
    verdict = ctx.use(Account).test_key(_key(ctx))
    if not verdict.passed:
        raise WrongState(f"the key cannot be used: {verdict.checks[0].text}", hint=verdict.checks[0].hint or "choose another key")
    ctx.say(f"{verdict.key} encrypts and decrypts")
    return {"key": verdict.key}


def _move(ctx: StepContext) -> Mapping[str, Any]:
    account, moved = ctx.use(Account), 0
    for _ in range(_ROUNDS):
        key = _key(ctx)
        with ctx.read() as tx:
            places = list(secrets_kept.behind(tx, account.columns, key))
        if not places:
            return {"moved": moved, "key": key}
        for number, place in enumerate(places, 1):
            ctx.check()
            with ctx.read() as tx:
                value = secrets_kept.read(tx, place)
            fresh = secrets_kept.moved(value, account.vault.move, key)
            with ctx.write() as tx:
                if value is not None and secrets_kept.replace(tx, place, value, fresh):
                    moved += sum(1 for _ in secrets_kept.texts(fresh))
            ctx.progress(f"{number} of {len(places)}")
    raise Busy("secrets are saved anew while they are moved", hint="try again", holders=[])


def _told(tx: Session, op: OperationFacts, results: Mapping[str, Mapping[str, Any]]) -> None:
    append(tx, type="cloud.changed", ref=REF, operation_id=op.id, text=f"every stored secret is under {results['move-secrets']['key']}")


OPERATIONS: tuple[OperationKind, ...] = (
    OperationKind(
        kind=REWRAP, title="re-wrap secrets", prepare=_prepare, steps=(Step("check-key", _check), Step("move-secrets", _move, attempts=3)),
        succeeded=_told, request=RewrapKeys,
    ),
)

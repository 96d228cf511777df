from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.identity import ListAudit, Role
from fleet_tui.backend.identity.audit import Audit
from fleet_tui.backend.identity.caller import Caller
from fleet_tui.backend.identity.rows import AuditRow
from fleet_tui.backend.store import Store

ROOT = Caller(user="root", role=Role.ROOT_ADMIN, uid=0, source="uid 0 pid 1")


@pytest.fixture
def audit(store: Store) -> Audit:
    return Audit(store, SystemClock())


def write(audit: Audit, count: int, caller: Caller = ROOT) -> list[int]:
    return [audit.record(caller, "instances.create", f"web-{n}", {"label": f"web-{n}", "size": 1.5}, "allowed") for n in range(count)]


def test_an_empty_chain_is_intact(audit: Audit) -> None:
    assert audit.verify().intact


def test_records_are_numbered_without_gaps_and_the_chain_holds(audit: Audit) -> None:
    assert write(audit, 5) == [1, 2, 3, 4, 5]
    verdict = audit.verify()
    assert (verdict.intact, verdict.records, verdict.first_broken) == (True, 5, None)


def test_foreign_text_is_cleaned_and_kept_as_it_was_hashed(audit: Audit) -> None:
    audit.record(ROOT, "a", "bad\x00\x1b[31mname", {"k": "\x00nul", "é": [1, {"b": None}]}, "allowed")
    assert audit.verify().intact
    [record] = audit.find(ListAudit(), ROOT)
    assert record.object == "bad··[31mname"


@pytest.mark.parametrize("column", ["user", "action", "object", "parameters", "decision", "result", "role", "source"])
def test_a_changed_record_is_named(audit: Audit, store: Store, column: str) -> None:
    write(audit, 4)
    with store.write() as tx:
        tx.execute(update(AuditRow).where(AuditRow.seq == 3).values({column: "x"}))
    verdict = audit.verify()
    assert (verdict.intact, verdict.first_broken) == (False, 3)
    assert "record 3 was changed" in verdict.message


@pytest.mark.parametrize(("gone", "named"), [(1, 1), (3, 3), (5, 5)], ids=["first", "middle", "last"])
def test_a_removed_record_is_named(audit: Audit, store: Store, gone: int, named: int) -> None:
    write(audit, 5)
    with store.write() as tx:
        tx.execute(delete(AuditRow).where(AuditRow.seq == gone))
    assert audit.verify().first_broken == named


def test_many_writers_grow_one_chain(store: Store) -> None:
    audits = [Audit(store, SystemClock()) for _ in range(4)]
    threads = [threading.Thread(target=write, args=(audit, 10)) for audit in audits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    verdict = audits[0].verify()
    assert (verdict.intact, verdict.records) == (True, 40)


def test_retention_keeps_the_rest_provable(audit: Audit, store: Store) -> None:
    write(audit, 6)
    past = SystemClock().now() - timedelta(days=500)
    now = SystemClock().now() - timedelta(hours=1)
    old = Audit(store, SystemClock())
    with store.write() as tx:
        rows = tx.query(AuditRow).order_by(AuditRow.seq).all()
        from fleet_tui.backend.identity.audit import GENESIS, link
        from fleet_tui.backend.identity.rows import AuditChainRow

        before = GENESIS
        for row in rows:  # the same chain, as if its first half were old
            row.time = past if row.seq <= 3 else SystemClock().now()
            row.hash = before = link(before, row)
        chain = tx.get(AuditChainRow, 1)
        assert chain is not None
        chain.head_hash = before
    assert audit.verify().intact
    assert old.forget(now) == 3
    assert old.forget(now) == 0
    verdict = audit.verify()
    assert (verdict.intact, verdict.records) == (True, 3)
    with store.write() as tx:
        tx.execute(update(AuditRow).where(AuditRow.seq == 4).values(user="x"))
    assert audit.verify().first_broken == 4


def test_everything_may_be_forgotten_and_the_chain_goes_on(audit: Audit) -> None:
    write(audit, 3)
    assert audit.forget(SystemClock().now() + timedelta(days=1)) == 3
    assert write(audit, 1) == [4]
    assert audit.verify().intact


def test_records_are_found_newest_first(audit: Audit) -> None:
    write(audit, 5)
    assert [record.seq for record in audit.find(ListAudit(limit=2), ROOT)] == [5, 4]
    assert [record.seq for record in audit.find(ListAudit(before=3), ROOT)] == [2, 1]
    assert [record.seq for record in audit.find(ListAudit(object="web-2"), ROOT)] == [3]


def test_who_may_not_see_all_sees_their_own(audit: Audit) -> None:
    write(audit, 2)
    admin = Caller(user="ann", role=Role.ADMIN, uid=7)
    write(audit, 1, admin)
    assert [record.seq for record in audit.find(ListAudit(user="root"), admin)] == [3]
    auditor = Caller(user="aud", role=Role.AUDITOR, uid=8)
    assert len(audit.find(ListAudit(), auditor)) == 3

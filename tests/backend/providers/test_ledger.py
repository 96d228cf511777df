"""What was promised is there after any crash; what was not written whole is not."""

from __future__ import annotations

from pathlib import Path

from fleet_tui.backend.providers.ledger import Disk, Ledger, Machine, Snapshot


def test_entries_come_back_and_dropped_ones_do_not(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.put(Machine("vm-1", "i-1", "web"), Disk("d-1", 50, facts={"a": 1}), Snapshot("s-1", "d-1", 7), Disk("d-2", 10))
    ledger.drop(ledger.disks["d-2"])
    ledger.close()
    again = Ledger(tmp_path)
    assert again.machines == {"vm-1": Machine("vm-1", "i-1", "web")}
    assert again.disks == {"d-1": Disk("d-1", 50, facts={"a": 1})}
    assert again.snapshots == {"s-1": Snapshot("s-1", "d-1", 7)}
    again.close()


def test_a_torn_last_line_is_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.put(Disk("d-1", 50))
    ledger.put(Disk("d-2", 50))
    ledger.close()
    journal = tmp_path / "journal.ndjson"
    written = journal.read_bytes()
    last = len(written.splitlines(keepends=True)[-1])
    for cut in range(1, last + 1):
        journal.write_bytes(written[:-cut])
        again = Ledger(tmp_path)
        assert list(again.disks) == ["d-1"]
        again.close()


def test_the_journal_is_private(tmp_path: Path) -> None:
    Ledger(tmp_path / "fake").close()
    assert (tmp_path / "fake").stat().st_mode & 0o077 == 0
    assert (tmp_path / "fake" / "journal.ndjson").stat().st_mode & 0o077 == 0

"""The spool: nothing lost, nothing twice, nothing unbounded."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from fleet_tui.agent.spool import Spool


def seqs(spool: Spool, lines: int = 500, size: int = 256 * 1024) -> list[int]:
    return [line["seq"] for line in spool.read(lines, size)]


def fill(spool: Spool, count: int, text: str = "x") -> None:
    for _ in range(count):
        spool.append(1.0, "phase", "info", text)


def test_lines_come_in_order_until_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    fill(spool, 5)
    assert seqs(spool) == [1, 2, 3, 4, 5] == seqs(spool)
    assert seqs(spool, lines=2) == [1, 2]
    spool.acknowledge(3)
    assert seqs(spool) == [4, 5]
    spool.acknowledge(2)
    assert seqs(spool) == [4, 5]
    spool.acknowledge(5)
    assert seqs(spool) == [] and not spool.has_unsent()


def test_one_line_larger_than_the_batch_still_goes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    fill(spool, 2, "y" * 1000)
    assert seqs(spool, size=10) == [1]


def test_numbering_goes_on_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", segment_size=100)
    fill(spool, 20)
    spool.acknowledge(20)
    del spool  # killed: nothing was closed
    spool = Spool(tmp_path / "s", segment_size=100)
    fill(spool, 1)
    assert seqs(spool)[-1] == 21 == spool.last


def test_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    fill(spool, 3)
    path = next((tmp_path / "s").glob("*.lines"))
    os.truncate(path, path.stat().st_size - 4)
    spool = Spool(tmp_path / "s")
    assert seqs(spool) == [1, 2]
    fill(spool, 1)
    assert seqs(spool) == [1, 2, 3]


def test_full_spool_drops_the_oldest_and_says_how_many(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", limit=2000, segment_size=200)
    fill(spool, 1000, "z" * 20)
    left = seqs(spool, lines=10_000)
    assert left[-1] == 1000 and spool.dropped == 1000 - len(left) and left == list(range(left[0], 1001))
    assert sum(path.stat().st_size for path in (tmp_path / "s").glob("*.lines")) < 2500
    told = spool.dropped
    spool.told_of_dropped(told)
    assert spool.dropped == 0
    assert Spool(tmp_path / "s").dropped == 0


def test_a_full_disk_costs_no_line_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool(tmp_path / "s", segment_size=100)
    fill(spool, 20)
    with monkeypatch.context() as patched:
        patched.setattr("fleet_tui.agent.spool.write_json", full)
        patched.setattr("fleet_tui.agent.spool.os.write", full)
        fill(spool, 3)
        assert spool.dropped == 3
        spool.acknowledge(18)
        assert seqs(spool) == [19, 20]
    fill(spool, 1)
    assert seqs(spool) == [19, 20, 21]
    spool.told_of_dropped(3)
    again = Spool(tmp_path / "s", segment_size=100)
    assert again.last == 21 and seqs(again)[-2:] == [20, 21]


def test_hostile_text_comes_back_as_it_was(tmp_path: Path) -> None:
    texts = ["a\tb", "\x00\x1b[31m", "\u2028\u2029\x85", '"\\', "\udcff", "\r"]
    spool = Spool(tmp_path / "s")
    for text in texts:
        spool.append(1.0, "p", "info", text)
    read = [line["text"] for line in Spool(tmp_path / "s").read()]
    assert read[:4] == texts[:4] and read[5] == "\r" and len(read) == 6


def test_door_that_knows_more_moves_the_numbering_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    fill(spool, 2)
    spool.acknowledge(10)
    fill(spool, 1)
    assert seqs(spool) == [11]


@settings(max_examples=40, deadline=None)
@given(some.lists(some.tuples(some.sampled_from(["write", "acknowledge", "restart"]), some.integers(1, 30)), max_size=40))
def test_whatever_happens_every_line_is_read_once(tmp_path_factory: object, steps: list[tuple[str, int]]) -> None:
    folder = tmp_path_factory.mktemp("spool") / "s"  # type: ignore[attr-defined]
    spool, written, done = Spool(folder, segment_size=300), 0, 0
    for step, count in steps:
        if step == "write":
            fill(spool, count)
            written += count
        elif step == "acknowledge":
            batch = seqs(spool, lines=count)
            if batch:
                spool.acknowledge(batch[-1])
                done = batch[-1]
        else:
            spool = Spool(folder, segment_size=300)
        unsent = [seq for seq in seqs(spool, lines=10**6, size=10**9) if seq > done]
        assert unsent == list(range(done + 1, written + 1))

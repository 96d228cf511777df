"""Lines are numbered without gaps, cleaned and masked when stored, and readable from any number."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

import pytest

from fleet_tui.backend.events.feed import Feed
from fleet_tui.backend.store import Store
from fleet_tui.backend.telemetry import ReadLines
from fleet_tui.backend.telemetry import lines as of_lines
from fleet_tui.backend.telemetry.lines import Lines, NewLine


@pytest.fixture
def lines(store: Store) -> Lines:
    return Lines(store, Feed(store))


def say(lines: Lines, store: Store, *texts: str, stream: str = "instance:i-1", operation: str | None = None) -> None:
    now = datetime.now(timezone.utc)
    with store.write() as tx:
        lines.add(tx, stream, "worker", [NewLine(now, "start", "info", text) for text in texts], operation)


def test_numbers_have_no_gaps_whoever_writes(lines: Lines, store: Store) -> None:
    def writer(name: str) -> None:
        for n in range(20):
            say(lines, store, f"{name} {n} a", f"{name} {n} b")

    threads = [threading.Thread(target=writer, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = lines.read(ReadLines(target="instance:i-1", limit=1000)).lines
    assert [line.seq for line in found] == list(range(1, 121))
    for name in "xyz":
        mine = [line.text for line in found if line.text.startswith(name)]
        assert mine == [f"{name} {n} {part}" for n in range(20) for part in "ab"]


def test_any_reader_joins_anywhere_and_misses_nothing(lines: Lines, store: Store) -> None:
    say(lines, store, *[str(n) for n in range(1, 51)])
    seen: list[int] = []
    cursor = 17
    while batch := lines.read(ReadLines(target="instance:i-1", after=cursor, limit=7)).lines:
        seen += [line.seq for line in batch]
        cursor = batch[-1].seq
    assert seen == list(range(18, 51))
    assert [line.seq for line in lines.read(ReadLines(target="instance:i-1", tail=3)).lines] == [48, 49, 50]
    assert [line.seq for line in lines.read(ReadLines(target="instance:i-1", before=10, limit=3)).lines] == [7, 8, 9]
    assert lines.read(ReadLines(target="instance:i-1", after=40, limit=4)).behind == 6


def test_a_waiting_reader_wakes_for_its_stream(lines: Lines, store: Store) -> None:
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(li.text for li in lines.read(ReadLines(target="instance:i-1", wait_s=10.0)).lines))
    reader.start()
    say(lines, store, "elsewhere", stream="instance:i-2")
    say(lines, store, "here")
    reader.join(15)
    assert got == ["here"]


def test_an_operations_log_is_its_targets_stream_filtered(lines: Lines, store: Store) -> None:
    say(lines, store, "before")
    say(lines, store, "mine", operation="o-1")
    say(lines, store, "other", stream="instance:i-2", operation="o-2")
    assert [line.text for line in lines.read(ReadLines(operation="o-1")).lines] == ["mine"]
    assert [line.text for line in lines.read(ReadLines()).lines] == ["before", "mine", "other"]


def test_foreign_text_is_harmless_once_stored(lines: Lines, store: Store) -> None:
    say(lines, store, "\x1b[2Jgone\x1b]52;c;aGk=\x07\x00\x9b31m\u202eevil", "x" * 1_000_000)
    stored = [line.text for line in lines.read(ReadLines(target="instance:i-1")).lines]
    assert all(ch.isprintable() for ch in stored[0]) and "gone" in stored[0]
    assert len(stored[1]) < 5000 and stored[1].endswith("more characters cut]")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("DB_PASSWORD=hunter2hunter2 go", "hunter2hunter2"),
        ('api-key: "abc def"', "abc def"),
        ("postgresql://u:s3cr3t!@db/x", "s3cr3t!"),
        ("the token is learnt-value-123", "learnt-value-123"),
    ],
)
def test_secrets_are_masked_when_stored(lines: Lines, store: Store, text: str, secret: str) -> None:
    lines.masker.learn("learnt-value-123")
    say(lines, store, text)
    stored = lines.read(ReadLines(target="instance:i-1")).lines[0].text
    assert secret not in stored and "••••" in stored


def test_retention_tells_readers_what_it_removed(lines: Lines, store: Store) -> None:
    with store.write() as tx:
        old = datetime.now(timezone.utc) - timedelta(days=40)
        lines.add(tx, "instance:i-1", "worker", [NewLine(old, "", "info", str(n)) for n in range(5)])
    say(lines, store, "new")
    assert lines.prune(30) == 5
    batch = lines.read(ReadLines(target="instance:i-1", after=2))
    assert [line.seq for line in batch.lines] == [6] and batch.dropped == 3


def test_one_line_dated_in_the_past_takes_none_with_it(lines: Lines, store: Store) -> None:
    say(lines, store, "young", "young too")
    with store.write() as tx:
        lines.add(tx, "instance:i-1", "instance-agent", [NewLine(datetime(1970, 1, 1, tzinfo=timezone.utc), "", "info", "no clock")])
    assert lines.prune(30) == 0
    assert [line.seq for line in lines.read(ReadLines(target="instance:i-1")).lines] == [1, 2, 3]


def test_one_line_dated_ahead_keeps_none_that_follow(lines: Lines, store: Store) -> None:
    old = datetime.now(timezone.utc) - timedelta(days=40)
    with store.write() as tx:
        times = [datetime(9999, 1, 1, tzinfo=timezone.utc), old, old]
        lines.add(tx, "instance:i-1", "instance-agent", [NewLine(at, "", "info", "x") for at in times])
    say(lines, store, "young")
    assert lines.prune(30) == 3
    assert [line.text for line in lines.read(ReadLines(target="instance:i-1")).lines] == ["young"]


def test_retention_lets_others_write_and_may_be_broken_off(lines: Lines, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_lines, "PRUNED_AT_ONCE", 10)
    old = datetime.now(timezone.utc) - timedelta(days=40)
    with store.write() as tx:
        lines.add(tx, "instance:i-1", "worker", [NewLine(old, "", "info", str(n)) for n in range(25)])
    looks: list[int] = []

    def broken_off() -> None:
        say(lines, store, "written meanwhile", stream="instance:i-2")
        if len(looks) == 1:
            raise InterruptedError
        looks.append(lines.read(ReadLines(target="instance:i-1")).dropped)

    with pytest.raises(InterruptedError):
        lines.prune(30, broken_off)
    assert looks == [10] and lines.read(ReadLines(target="instance:i-1")).dropped == 20
    assert lines.prune(30) == 5
    assert lines.read(ReadLines(target="instance:i-1")).dropped == 25


def test_what_is_named_once_is_kept_once_whoever_says_it(lines: Lines, store: Store) -> None:
    def say_it() -> None:
        for n in range(5):
            lines.append("instance:i-1", "o-1", "boot", "info", f"said {n}", once=f"o-1:boot:{n}")

    threads = [threading.Thread(target=say_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines.append("instance:i-1", "o-1", "boot", "info", "said 0")
    found = lines.read(ReadLines(target="instance:i-1")).lines
    assert [line.seq for line in found] == list(range(1, 7))
    assert sorted(line.text for line in found) == sorted([*(f"said {n}" for n in range(5)), "said 0"])

"""The feed is in commit order, wakes its readers, and loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from fleet_tui.backend.clock import SystemClock
from fleet_tui.backend.events import Event, EventsAfter, ListEvents
from fleet_tui.backend.events import feed as of_feed
from fleet_tui.backend.events.feed import Feed, append
from fleet_tui.backend.store import Store
from tests.waiting import until


@pytest.fixture
def feed(store: Store) -> Iterator[Feed]:
    found = Feed(store)
    yield found
    found.close()


def say(store: Store, *refs: str, text: str = "") -> None:
    with store.write() as tx:
        for ref in refs:
            append(tx, type="thing.changed", ref=ref, text=text)


def refs(events: tuple[Event, ...]) -> list[str]:
    return [event.ref for event in events]


def test_a_reader_gets_each_event_once_and_in_order(store: Store, feed: Feed) -> None:
    say(store, "a:1", "a:2")
    first = feed.after(EventsAfter(cursor=0))
    say(store, "a:3")
    second = feed.after(EventsAfter(cursor=first.cursor))
    assert (refs(first.events), refs(second.events)) == (["a:1", "a:2"], ["a:3"])
    assert feed.after(EventsAfter(cursor=second.cursor)).events == ()


def test_a_reader_can_start_from_now(store: Store, feed: Feed) -> None:
    say(store, "a:1")
    start = feed.after(EventsAfter(cursor=-1, wait_s=5))
    assert start.events == ()
    say(store, "a:2")
    assert refs(feed.after(EventsAfter(cursor=start.cursor)).events) == ["a:2"]


def test_an_event_of_a_transaction_that_fails_is_never_seen(store: Store, feed: Feed) -> None:
    with pytest.raises(KeyError), store.write() as tx:
        append(tx, type="thing.changed", ref="a:1")
        raise KeyError
    assert feed.after(EventsAfter(cursor=0)).events == ()


def test_batches_are_bounded_and_go_on_where_they_ended(store: Store, feed: Feed) -> None:
    say(store, *(f"a:{n}" for n in range(7)))
    cursor, seen = 0, []
    while batch := feed.after(EventsAfter(cursor=cursor, limit=3)).events:
        seen += refs(batch)
        cursor = batch[-1].seq
    assert seen == [f"a:{n}" for n in range(7)]


def test_a_waiting_reader_is_woken_by_a_commit(store: Store, feed: Feed) -> None:
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(refs(feed.after(EventsAfter(cursor=0, wait_s=30)).events)))
    reader.start()
    say(store, "a:1")
    reader.join(timeout=20)
    assert got == ["a:1"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # on SQLite there is one daemon only
def test_a_waiting_reader_is_woken_by_another_daemon(store: Store, feed: Feed) -> None:
    other = Store(store.url)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(refs(feed.after(EventsAfter(cursor=0, wait_s=30)).events)))
    reader.start()
    say(other, "a:1")
    reader.join(timeout=20)
    other.close()
    assert got == ["a:1"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_watch_outlives_a_database_that_went_away(store: Store, feed: Feed) -> None:
    other = Store(store.url)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(refs(feed.after(EventsAfter(cursor=0, wait_s=30)).events)))
    reader.start()
    until(lambda: feed._watcher is not None, what="the reader to have read, and to wait")
    lose_database(store)
    say(other, "a:1")
    reader.join(timeout=20)
    other.close()
    assert got == ["a:1"]


def lose_database(store: Store) -> None:
    """It refuses whoever asks, until somebody has."""
    asked = threading.Event()

    def refuse(*_arguments: object) -> None:
        asked.set()
        raise OperationalError("select", {}, Exception("the server is gone"), connection_invalidated=True)

    event.listen(store.engine, "before_cursor_execute", refuse)
    try:
        assert asked.wait(20)
    finally:
        event.remove(store.engine, "before_cursor_execute", refuse)


def test_closing_ends_every_wait(store: Store, feed: Feed) -> None:
    reader = threading.Thread(target=lambda: feed.after(EventsAfter(cursor=0, wait_s=60)))
    reader.start()
    feed.close()
    reader.join(timeout=20)
    assert not reader.is_alive()


def test_listeners_hear_of_commits_until_they_stop(store: Store, feed: Feed) -> None:
    heard: list[int] = []
    stop = feed.listen(heard.append)
    say(store, "a:1")
    until(lambda: heard == [1], what="the listener heard")
    stop()
    say(store, "a:2")
    assert feed.head() == 2
    assert heard == [1]


def test_only_events_with_a_sentence_are_listed_or_audible(store: Store, feed: Feed) -> None:
    say(store, "a:1", text="one")
    say(store, "a:2")
    say(store, "b:3", text="three")
    say(store, "a:4")
    assert refs(feed.list(ListEvents())) == ["b:3", "a:1"]
    assert refs(feed.list(ListEvents(before=3))) == ["a:1"]
    assert refs(feed.list(ListEvents(ref="a:1"))) == ["a:1"]
    batch = feed.after(EventsAfter(cursor=0, audible=True))
    assert (refs(batch.events), batch.cursor) == (["a:1", "b:3"], 4)


def test_foreign_text_is_harmless_when_stored(store: Store, feed: Feed) -> None:
    say(store, "a:1", text="\x1b[31mred\x07")
    (event,) = feed.list(ListEvents())
    assert "\x1b" not in event.text and "\x07" not in event.text


def test_pruning_keeps_the_newest_so_that_cursors_stay_valid(store: Store, feed: Feed) -> None:
    say(store, "a:1", "a:2", "a:3")
    assert feed.prune(SystemClock().now() + timedelta(hours=1)) == 2
    assert feed.head() == 3
    say(store, "a:4")
    assert refs(feed.after(EventsAfter(cursor=3)).events) == ["a:4"]


def test_pruning_lets_others_write_and_may_be_broken_off(store: Store, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_feed, "PRUNED_AT_ONCE", 3)
    say(store, *(f"a:{n}" for n in range(8)))
    later = SystemClock().now() + timedelta(hours=1)

    def broken_off() -> None:
        say(store, "b:1")
        raise InterruptedError

    with pytest.raises(InterruptedError):
        feed.prune(later, broken_off)
    assert refs(feed.after(EventsAfter(cursor=0)).events) == ["a:3", "a:4", "a:5", "a:6", "a:7", "b:1"]
    assert feed.prune(later) == 5
    assert refs(feed.after(EventsAfter(cursor=0)).events) == ["b:1"]


def test_concurrent_writers_never_show_a_smaller_number_later(store: Store, feed: Feed) -> None:
    """Numbers must become visible in order, also when transactions that took them end in another order."""
    writers, each = 6, 25
    done = threading.Event()
    seen: list[int] = []

    def write(name: int) -> None:
        for n in range(each):
            with store.write() as tx:
                append(tx, type="thing.changed", ref=f"w:{name}-{n}")
                append(tx, type="thing.changed", ref=f"w:{name}-{n}b")

    def read() -> None:
        cursor = 0
        while len(seen) < writers * each * 2 and not done.is_set():
            batch = feed.after(EventsAfter(cursor=cursor, wait_s=0.2))
            seen.extend(event.seq for event in batch.events)
            cursor = batch.cursor

    reader = threading.Thread(target=read)
    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    reader.join(timeout=30)
    done.set()
    assert len(seen) == writers * each * 2
    assert seen == sorted(set(seen))

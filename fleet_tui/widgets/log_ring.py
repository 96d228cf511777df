"""The last lines of a log in little memory: what a line is, and the ring that holds them.

A line costs its text and some thirty bytes: numbers and times are packed in arrays, and the words that
repeat (source, phase, level, label) are stored once for all lines that share them. Lines are known by a
number of their own that never changes, so that marks, matches and the reader's place survive the ring
dropping its oldest line.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fleet_tui.backend.text import LINE_LIMIT

LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}
"""Levels and their rank; what is not listed (a gap, a mark) is always shown."""

KINDS_LIMIT = 8192
"""Combinations of source, phase, level and label kept before unused ones are swept out."""


class Entry(NamedTuple):
    """One line of a log, as a view takes it."""

    seq: int
    time: float
    """Seconds since 1970, UTC."""
    source: str
    phase: str
    level: str
    text: str
    label: str = ""
    """What a person calls the object that the line is about."""


class Kind(NamedTuple):
    """What many lines share."""

    source: str
    phase: str
    level: str
    label: str


def _cut(text: str) -> str:
    over = len(text) - LINE_LIMIT
    return text if over <= 0 else f"{text[:LINE_LIMIT]} [{over} more characters cut]"


class LogRing:
    """At most ``capacity`` lines, numbered from 0 by arrival; a page put before the oldest counts down."""

    def __init__(self, capacity: int) -> None:
        self.capacity = max(1, capacity)
        self.clear()

    def clear(self) -> None:
        self.first = self.end = 0
        self._texts: list[str] = []
        self._times = array("d")
        self._seqs = array("q")
        self._kinds = array("i")
        self._known: dict[tuple[str, str, str, str], int] = {}
        self._kinds_limit = KINDS_LIMIT
        self._kind_list: list[Kind] = []
        self._kind_ranks: list[int] = []

    def __len__(self) -> int:
        return self.end - self.first

    def append(self, entries: Iterable[Entry]) -> None:
        """Put lines at the end, dropping as many of the oldest as do not fit.

        Whole columns are copied at once: a flood of lines costs a third of a microsecond each.
        """
        batch = entries if isinstance(entries, list) else list(entries)
        over = len(batch) - self.capacity
        if over > 0:
            batch = batch[over:]
            self.end += over
            self._grow()
            self.first = max(self.first, self.end - self.capacity)
        while batch:
            slot = self.end % self.capacity
            room = self.capacity - slot
            self._write(slot, batch[:room])
            self.end += len(batch[:room])
            self.first = max(self.first, self.end - self.capacity)
            batch = batch[room:]

    def _write(self, slot: int, batch: list[Entry]) -> None:
        """Put lines into consecutive slots, which exist all or none."""
        seqs, times, sources, phases, levels, texts, labels = zip(*batch, strict=True)
        try:
            kinds = list(map(self._known.__getitem__, zip(sources, phases, levels, labels, strict=True)))
        except KeyError:
            if len(self._kind_list) + len(batch) > self._kinds_limit:
                self._sweep_kinds()
            kinds = [self._kind(*kind) for kind in zip(sources, phases, levels, labels, strict=True)]
        if max(map(len, texts)) > LINE_LIMIT:
            texts = tuple(map(_cut, texts))
        end = slot + len(batch)
        self._texts[slot:end] = texts
        self._times[slot:end] = array("d", times)
        self._seqs[slot:end] = array("q", seqs)
        self._kinds[slot:end] = array("i", kinds)

    def prepend(self, entries: Iterable[Entry]) -> int:
        """Put older lines before the first, as many of the newest of them as there is room for."""
        room = self.capacity - len(self)
        older = list(entries)[-room:] if room else []
        if older:
            self._grow()
        for entry in reversed(older):
            self.first -= 1
            self._write(self.first % self.capacity, [entry])
        return len(older)

    def _grow(self) -> None:
        """Give the ring all its slots, so that numbers below zero have theirs too."""
        missing = self.capacity - len(self._texts)
        self._texts.extend([""] * missing)
        for column in (self._times, self._seqs, self._kinds):
            column.extend([0] * missing)

    def _kind(self, source: str, phase: str, level: str, label: str) -> int:
        number = self._known.get((source, phase, level, label))
        return self._new_kind(source, phase, level, label) if number is None else number

    def _new_kind(self, source: str, phase: str, level: str, label: str) -> int:
        kind = Kind(source[:64], phase[:64], level[:16], label[:64])
        number = self._known.get(kind)
        if number is None:
            number = self._known[kind] = len(self._kind_list)
            self._kind_list.append(kind)
            self._kind_ranks.append(LEVELS.get(level, len(LEVELS)))
        return number

    def _sweep_kinds(self) -> None:
        """Keep only the kinds that lines in the ring have; labels that never repeat must not pile up."""
        used = sorted({self._kinds[number % self.capacity] for number in range(self.first, self.end)})
        renumbered = {was: now for now, was in enumerate(used)}
        self._kind_list = [self._kind_list[was] for was in used]
        self._known = {kind: number for number, kind in enumerate(self._kind_list)}
        self._kind_ranks = [LEVELS.get(kind.level, len(LEVELS)) for kind in self._kind_list]
        self._kinds_limit = max(KINDS_LIMIT, 2 * len(used))
        for number in range(self.first, self.end):
            slot = number % self.capacity
            self._kinds[slot] = renumbered[self._kinds[slot]]

    @property
    def kinds(self) -> list[Kind]:
        """The combinations seen, for whoever needs their longest words."""
        return self._kind_list

    # Reading

    def text(self, number: int) -> str:
        return self._texts[number % self.capacity]

    def time(self, number: int) -> float:
        return self._times[number % self.capacity]

    def seq(self, number: int) -> int:
        return self._seqs[number % self.capacity]

    def kind(self, number: int) -> Kind:
        return self._kind_list[self._kinds[number % self.capacity]]

    def select(self, numbers: range, *, rank: int, since: float, words: tuple[tuple[str, bool], ...]) -> Iterator[int]:
        """The numbers of lines at or above a level's rank, not older than a time, holding all words.

        Words are pairs of lower-case text and whether it must be absent.
        """
        capacity, texts, times, kinds, ranks = self.capacity, self._texts, self._times, self._kinds, self._kind_ranks
        for number in numbers:
            slot = number % capacity
            if ranks[kinds[slot]] < rank or times[slot] < since:
                continue
            if words:
                kind = self._kind_list[kinds[slot]]
                line = f"{kind.label} {kind.phase} {texts[slot]}".lower()
                if not all((word in line) is not absent for word, absent in words):
                    continue
            yield number

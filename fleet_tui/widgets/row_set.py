"""The rows behind a table: what is there, what is shown, in which order. Knows nothing of the screen."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fleet_tui.widgets.column import Column
from fleet_tui.widgets.glyphs import PROBLEMS

Key = str


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a filter: ``web``, ``!web``, ``state:running`` or ``!state:running``."""

    text: str
    negated: bool
    field: bool


def parse_filter(text: str) -> tuple[Term, ...]:
    """The words of a filter; all must hold. A lone ``!`` or ``state:`` is a word still being typed."""
    terms = []
    for word in text.split():
        negated, word = word.startswith("!"), word.removeprefix("!")
        field = ":" in word[1:]
        if word and not word.endswith(":"):
            terms.append(Term(word if field else word.lower(), negated, field))
    return tuple(terms)


class RowSet:
    """Keyed rows, filtered and sorted. ``shown`` is the list of keys a table draws.

    Ten thousand rows are ordered in some milliseconds, but not at every one of two hundred changes a
    second: a change only notes what it did, and `settle` brings ``shown`` up to date once a frame.
    """

    def __init__(self) -> None:
        self.rows: dict[Key, Any] = {}
        self.shown: list[Key] = []
        self.columns: Sequence[Column] = ()
        self.matches: Callable[[Any, str], bool] | None = None
        self.status_of: Callable[[Any], str] | None = None
        self.search_of: Callable[[Any], str] | None = None
        self.terms: tuple[Term, ...] = ()
        self.problems_only = False
        self.sort_column: Column | None = None
        self.sort_reverse = False
        self._texts: dict[Key, str] = {}
        self._sort_values: dict[Key, Any] = {}
        self._places: dict[Key, int] | None = None
        self._stale = False

    # What changes the rows

    def replace(self, rows: Iterable[tuple[Key, Any]]) -> set[Key] | None:
        """Take a whole new list. Returns the keys whose row differs; None when keys or their order did."""
        before, after = self.rows, dict(rows)
        changed = {key for key, row in after.items() if key in before and not same(before[key], row)}
        self.rows = after
        moved = len(before) != len(after) or not all(map(operator.eq, before, after))
        if moved:
            self._stale = True
            for cache in (self._texts, self._sort_values):
                for key in cache.keys() - after.keys():
                    del cache[key]
        for key in changed:
            self._forget(key)
        return None if moved else changed

    def update(self, key: Key, row: Any) -> bool:
        """Put one row. True when it is new or differs from what was there."""
        if key in self.rows:
            if same(self.rows[key], row):
                return False
            self.rows[key] = row
            self._forget(key)
        else:
            self.rows[key] = row
            self._stale = True
        return True

    def remove(self, key: Key) -> bool:
        """Take one row out. False when it was not there."""
        if self.rows.pop(key, None) is None:
            return False
        self._texts.pop(key, None)
        self._sort_values.pop(key, None)
        self._stale = True
        return True

    def _forget(self, key: Key) -> None:
        """A row changed: what was derived from it is void, and maybe its place."""
        self._texts.pop(key, None)
        if self.terms or self.problems_only:
            self._stale = True
        if self.sort_column is not None and not self._stale:
            self._stale = self._sort_values.get(key) != self.sort_column.sort_value(self.rows[key])
        self._sort_values.pop(key, None)

    def disturb(self, *, sort: bool = False, texts: bool = False) -> None:
        """Filter, sort or columns were changed from outside."""
        self._stale = True
        if sort:
            self._sort_values.clear()
        if texts:
            self._texts.clear()

    # What reads them

    @property
    def is_stale(self) -> bool:
        """Whether ``shown`` no longer agrees with the rows."""
        return self._stale

    def settle(self) -> bool:
        """Bring ``shown`` up to date. True when it was not."""
        if not self._stale:
            return False
        keys: list[Key] = list(self.rows)
        if self.problems_only and self.status_of is not None:
            status_of, rows = self.status_of, self.rows
            keys = [key for key in keys if status_of(rows[key]) in PROBLEMS]
        for term in self.terms:
            keys = self._holding(term, keys)
        if self.sort_column is not None:
            keys = self._sorted(keys, self.sort_column)
        self.shown, self._places, self._stale = keys, None, False
        return True

    def place(self, key: Key | None) -> int | None:
        """Where a key is shown, or None."""
        if self._places is None:
            self._places = {key: at for at, key in enumerate(self.shown)}
        return self._places.get(key) if key is not None else None

    def _holding(self, term: Term, keys: list[Key]) -> list[Key]:
        rows, wanted = self.rows, not term.negated
        if term.field and self.matches is not None:
            matches, text = self.matches, term.text
            return [key for key in keys if bool(matches(rows[key], text)) is wanted]
        needle, texts = term.text.lower(), self._texts
        if len(texts) < len(rows):
            for key in keys:
                if key not in texts:
                    texts[key] = self._search_text(rows[key])
        return [key for key in keys if (needle in texts[key]) is wanted]

    def prepare_search(self, count: int) -> bool:
        """Make the search text of so many more rows. True while some lack it."""
        texts = self._texts
        missing = [key for key in self.rows if key not in texts] if len(texts) < len(self.rows) else []
        for key in missing[:count]:
            texts[key] = self._search_text(self.rows[key])
        return len(missing) > count

    def _search_text(self, row: Any) -> str:
        if self.search_of is not None:
            return self.search_of(row).lower()
        return "\n".join([column.cell(row)[0] for column in self.columns]).lower()

    def _sorted(self, keys: list[Key], column: Column) -> list[Key]:
        rows, values = self.rows, self._sort_values
        if len(values) < len(rows):
            value_of = column.sort_value
            for key in keys:
                if key not in values:
                    values[key] = value_of(rows[key])
        # What has no value comes last both ways round.
        absent = [key for key in keys if values[key] is None]
        present = [key for key in keys if values[key] is not None] if absent else keys
        try:
            present = sorted(present, key=values.__getitem__, reverse=self.sort_reverse)
        except TypeError:
            present = sorted(present, key=lambda key: str(values[key]), reverse=self.sort_reverse)
        return present + absent


def same(a: Any, b: Any) -> bool:
    """Whether two rows are the same to a reader."""
    return a is b or bool(a == b)

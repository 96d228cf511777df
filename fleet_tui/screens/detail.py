"""Everything about one record, in words (``d``) or as JSON (``y``); searchable, copied whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from textual.app import ComposeResult
from textual.widget import Widget

from fleet_tui.backend.api import wire
from fleet_tui.columns import ago, size
from fleet_tui.screens.frame import bindings
from fleet_tui.screens.list_keys import MovingScreen
from fleet_tui.widgets.log_view import Entry, LogView
from fleet_tui.widgets.prompt import Prompt


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A text that is ready as it is."""

    lines: tuple[str, ...]


class DetailScreen(MovingScreen):
    KIND = "detail"
    BINDINGS = bindings("detail")

    def __init__(self) -> None:
        super().__init__()
        self._record: Any = None
        self._title = ""
        self._raw = False

    def body(self) -> ComposeResult:
        view = LogView(id="text", glyphs=self.console.glyphs, max_lines=20000)
        view.timestamps = view.labels = False
        yield view

    def home(self) -> Widget | None:
        return self.text

    @property
    def text(self) -> LogView:
        return self.query_one("#text", LogView)

    def aim(self, ref: str, *, record: Any = None, title: str = "", raw: bool = False) -> None:
        """Show this record from the next time the screen comes up."""
        self.ref = ref
        if record is not None:
            self._record, self._title, self._raw = record, title, raw
        self.is_loaded = False

    def crumbs(self) -> list[str]:
        return [self._title or self.ref, "text" if isinstance(self._record, Page) else "raw" if self._raw else "describe"]

    def load(self) -> None:
        lines = self._lines()
        self.text.clear()
        self.text.feed([Entry(n, 0.0, "", "", "", line) for n, line in enumerate(lines)])
        self.text.top()
        self.text.focus()

    def _lines(self) -> list[str]:
        if isinstance(self._record, Page):
            return list(self._record.lines)
        return raw(self._record) if self._raw else describe(self._record, self.console.clock.now())

    def idle(self) -> frozenset[str]:
        return frozenset() if self.text.is_searching else frozenset({"text.match-next"})

    def filtered(self, text: str, done: bool) -> None:
        if not self.text.search(text) and text and done:
            self.say(f"{text}: not in it")
        self.chrome()

    def act_text_search(self) -> None:
        self.query_one(Prompt).open("/")

    def act_text_match_next(self) -> None:
        self.text.next_match()

    def act_text_match_previous(self) -> None:
        self.text.previous_match()

    def act_text_copy(self) -> None:
        self.copy("\n".join(self._lines()), "text")


def raw(record: Any) -> list[str]:
    """The record as it travels: JSON, indented."""
    return json.dumps(wire.encode(record), indent=2, ensure_ascii=False).splitlines()


def describe(record: Any, now: datetime) -> list[str]:
    """The record as ``Title   value`` lines, parts of parts indented under their own title."""
    return list(_described(record, now, 0))


def _described(record: Any, now: datetime, depth: int) -> Iterator[str]:
    pairs = list(_pairs(record))
    width = max((len(_title(name)) for name, _ in pairs), default=0) + 2
    for name, value in pairs:
        lead = f"{'  ' * depth}{_title(name):<{width}}"
        if _is_part(value):
            yield lead.rstrip()
            yield from _described(value, now, depth + 1)
        elif isinstance(value, list | tuple) and any(_is_part(item) for item in value):
            yield lead.rstrip()
            for number, item in enumerate(value, 1):
                yield f"{'  ' * (depth + 1)}{number}."
                yield from _described(item, now, depth + 2)
        else:
            yield f"{lead}{_said(name, value, now)}"


def _pairs(record: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        yield from ((f.name, getattr(record, f.name)) for f in dataclasses.fields(record))
    elif isinstance(record, Mapping):
        yield from ((str(key), value) for key, value in record.items())


def _is_part(value: Any) -> bool:
    return (dataclasses.is_dataclass(value) and not isinstance(value, type)) or (isinstance(value, Mapping) and bool(value))


def _title(name: str) -> str:
    for ending in ("_bytes", "_at", "_gb"):
        name = name.removesuffix(ending)
    words = [_SPELT.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


_SPELT = {"url": "URL", "ip": "IP", "id": "ID", "https": "HTTPS", "pid": "PID"}


def _said(name: str, value: Any, now: datetime) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC ({ago(value, now)})"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{size(value)} ({value:,} bytes)"
    if name.endswith("_gb"):
        return f"{value} GiB"
    if isinstance(value, list | tuple):
        return ", ".join("/".join(map(str, item)) if isinstance(item, tuple) else str(item) for item in value) or "none"
    return str(value) or "-"

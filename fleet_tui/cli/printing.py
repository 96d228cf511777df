"""Records on stdout: aligned tables for people, JSON for programs, tab-separated text for shells.

Foreign text is cleaned here once more before it can reach a terminal. JSON is pure ASCII with every control character escaped, which
is harmless by itself.
"""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from fleet_tui.backend.api.wire import encode
from fleet_tui.backend.errors import FleetError
from fleet_tui.backend.text import LINE_LIMIT, clean
from fleet_tui.cli.streams import tell, written
from fleet_tui.columns import ColumnSpec

_CONTROLS = {code: "·" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r\x85"}


class Printer:
    """Prints in one of the forms ``table``, ``json`` and ``text``."""

    def __init__(self, form: str, *, ascii_only: bool = False) -> None:
        self.form = form
        self._ascii = ascii_only

    @property
    def is_json(self) -> bool:
        return self.form == "json"

    def rows(self, columns: Sequence[ColumnSpec], records: Sequence[Any], *, empty: str = "nothing to show") -> None:
        """Many records. As text one line each, tab-separated, first the name or id; without a heading."""
        if self.is_json:
            self.json(records)
            return
        now = datetime.now(timezone.utc)
        cells = [[self.cell(column.text(record, now)) for column in columns] for record in records]
        if self.form == "text":
            self.lines("\t".join(row) for row in cells)
        elif cells:
            self._table([column.title for column in columns], cells, [column.right for column in columns])
        else:
            print(empty, file=sys.stderr)

    def record(self, record: Any) -> None:
        """One record: every field on a line, lists of records as tables below."""
        encoded = encode(record)
        if self.is_json:
            self.json(record)
            return
        flat = [(self.cell(name), value) for name, value in _flat("", encoded)]
        width = max((len(name) for name, value in flat if not _is_table(value)), default=0)
        separator = "\t" if self.form == "text" else " " * 2
        for name, value in flat:
            if not _is_table(value):
                self.line(f"{name if self.form == 'text' else name.ljust(width)}{separator}{self.cell(_word(value))}")
        for name, value in flat:
            if _is_table(value):
                self.line("")
                self._records(name, value)

    def json(self, value: Any) -> None:
        """One value, indented, for programs and for people who look at what programs get."""
        self.line(_escaped(json.dumps(encode(value), indent=2)))

    def json_line(self, value: Any) -> None:
        """One value on one line, out at once: streams."""
        self.line(_escaped(json.dumps(encode(value), separators=(",", ":"))))
        with written():
            sys.stdout.flush()

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.line(line)

    def line(self, text: str) -> None:
        """A finished line; what is foreign in it was cleaned by :meth:`cell`."""
        with written():
            sys.stdout.write(text + "\n")

    def file(self, text: str) -> None:
        """A text of YAML to be kept in a file: to the letter, in UTF-8, but for control characters, which YAML has none of; on a terminal cleaned."""
        if sys.stdout.isatty():
            self.lines(self.cell(line, max(len(line), 1)) for line in text.splitlines())
            return
        text = text.translate(_CONTROLS)
        with written():
            sys.stdout.flush()
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.buffer.write(text.encode())
                sys.stdout.buffer.flush()
            else:
                sys.stdout.write(text)

    def cell(self, value: str, limit: int = LINE_LIMIT) -> str:
        """Foreign text as it may stand in a table: one line, nothing in it but characters this terminal can show."""
        text = clean(value, limit)
        if self._ascii:
            return text.replace("⟳", "*").encode("ascii", "replace").decode("ascii")
        encoding = sys.stdout.encoding or "utf-8"
        return text.encode(encoding, "replace").decode(encoding)

    def _table(self, titles: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
        widths = [max(_width(text) for text in column) for column in zip(titles, *cells, strict=True)]
        for row in (titles, *cells):
            padded = [_pad(text, width, to_right) for text, width, to_right in zip(row, widths, right, strict=True)]
            self.line("  ".join(padded).rstrip())

    def _records(self, name: str, values: Sequence[Mapping[str, Any]]) -> None:
        titles = list(values[0])
        cells = [[self.cell(_word(value.get(title))) for title in titles] for value in values]
        kept = [index for index, _ in enumerate(titles) if any(row[index] not in ("", "-") for row in cells)]
        self.line(f"{name}:")
        self._table([self.cell(titles[i].upper()) for i in kept], [[row[i] for i in kept] for row in cells], [False] * len(kept))


def complain(refusal: FleetError, *, as_json: bool) -> None:
    """An error on stderr: one line and what to do next, or one JSON object."""
    if as_json:
        tell(_escaped(json.dumps({"error": encode(refusal.as_json())})))
        return
    tell(f"fleet: {_to_terminal(refusal.message)}")
    problems = refusal.details.get("problems") or []
    for problem in problems:
        tell(f"  {_to_terminal(str(problem['field']))}: {_to_terminal(str(problem['message']))}")
    for line in refusal.details.get("log") or ():
        tell(f"  | {_to_terminal(str(line))}")
    if refusal.hint:
        tell(f"  {_to_terminal(refusal.hint)}")


def _to_terminal(text: str) -> str:
    encoding = sys.stderr.encoding or "utf-8"
    return clean(text).encode(encoding, "replace").decode(encoding)


def _escaped(text: str) -> str:
    """``json`` escapes every control character but this one."""
    return text.replace("\x7f", "\\u007f")


def _flat(prefix: str, value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            yield from _flat(f"{name}.", item)
        else:
            yield name, item


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _word(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_word(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_word(item) for item in value)
    return str(value)


def _width(text: str) -> int:
    """Cells a text takes on a terminal."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _pad(text: str, width: int, to_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if to_right else text + space

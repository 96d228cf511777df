"""``--set`` and ``--set-file``: fields of an instance, a template or a virtual network, as a command line gives them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from fleet_tui.backend.errors import UsageError

_FILE_LIMIT = 1024 * 1024


def values_given(given: Any, table: str) -> dict[str, Any]:
    """Values by field. They stay text: the daemon reads them by the field's own kind.

    A secret is taken from a file only: what stands in a command line is seen by everybody who lists processes.

    Args:
        table: module of the fields.
    """
    by_name = importlib.import_module(f"fleet_tui.backend.instances.{table}").BY_NAME  # made of many patterns, which `--help` can do without
    found: dict[str, Any] = {}
    for name, value in _pairs(given.set, "--set", "value"):
        if value and name in by_name and by_name[name].kind == "secret":
            raise UsageError(
                f"--set {name}: a secret in the command line is seen by everybody who lists processes, take it as known",
                hint=f"give it as --set-file {name}=FILE, or - for standard input",
            )
        found[name] = value
    for name, place in _pairs(given.set_file, "--set-file", "FILE"):
        text = _content(place)
        found[name] = text.rstrip("\n") if name in by_name and by_name[name].kind == "secret" else text
    return found


def _pairs(words: Sequence[str], flag: str, what: str) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip() or (what == "FILE" and not value):
            raise UsageError(f"{flag} {word}: field={what} is needed")
        yield name.strip(), value


def _content(place: str) -> str:
    """What is in a file, ``-`` for standard input. One that is no text is given as it is, for the daemon to say what it would have to be."""
    try:
        with nullcontext(sys.stdin.buffer) if place == "-" else Path(place).expanduser().open("rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except (OSError, RuntimeError) as problem:
        raise UsageError(f"{place} cannot be read: {getattr(problem, 'strerror', None) or problem}") from problem
    if len(data) > _FILE_LIMIT:
        raise UsageError(f"{place} has more than {_FILE_LIMIT:,} bytes, which is the most that is taken")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")

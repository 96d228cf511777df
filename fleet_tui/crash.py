"""What is left of a program that ended by a fault of its own: where it happened, and no value that it held.

An exception's own words are left out like local variables: they quote what somebody typed, which may have been a key or a password. The kinds of
the exceptions and the lines they passed are what finds the fault.
"""

from __future__ import annotations

import contextlib
import os
import platform
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fleet_tui import __version__

KEPT = 20
"""Reports kept; a pane that somebody restarts for weeks does not fill a disk."""
_PACKAGE = Path(__file__).parent


def report(error: BaseException, folder: Path) -> Path | None:
    """Write a report into ``folder``, readable by its owner alone; None when that could not be done."""
    now = datetime.now(timezone.utc)
    path = folder / f"{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    head = [f"fleet {__version__}, Python {platform.python_version()}, {_toolkit()}, {platform.system()}", f"{now:%Y-%m-%d %H:%M:%S} UTC", ""]
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write("\n".join([*head, *_story(error)]) + "\n")
        for old in sorted(folder.glob("*.txt"))[:-KEPT]:
            old.unlink(missing_ok=True)
        return path
    return None


def words(error: BaseException, path: Path | None, what: str = "fleet", then: str = "What was asked for may have been done: look first") -> str:
    """Two lines for the person whose program ended; ``then`` is what to make of it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if Path(frame.filename).is_relative_to(_PACKAGE)), frames[-1] if frames else None)
    place = f" in {_short(own.filename)}, line {own.lineno}" if own is not None else ""
    told = f"where it happened is written, without any value, in {path}" if path is not None else "no report of it could be written"
    return (
        f"{what} ended by a fault of its own: {type(error).__name__}{place}\n"
        f"  {then}; {told}"
    )


def _story(error: BaseException) -> Iterator[str]:
    """Each exception that led to this one, oldest first, with the lines it passed."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    for one in reversed(chain):
        for frame in traceback.extract_tb(one.__traceback__):
            yield f"  {_short(frame.filename)}:{frame.lineno} in {frame.name}"
        yield f"{type(one).__module__}.{type(one).__qualname__}"


def _short(name: str) -> str:
    """A file as it is called in the product or below the packages it was installed with, without the folders of this machine."""
    path = Path(name)
    if path.is_relative_to(_PACKAGE.parent):
        path = path.relative_to(_PACKAGE.parent)
    return "/".join(path.parts[path.parts.index("site-packages") + 1 :]) if "site-packages" in path.parts else str(path)


def _toolkit() -> str:
    try:
        return f"textual {version('textual')}"
    except PackageNotFoundError:
        return "textual of an unknown version"

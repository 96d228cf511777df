"""The agent packed as one file: the same bytes for the same sources, placed whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

_ENTRY = '"""Starts the agent."""\n\nimport sys\n\nfrom fleet_tui.agent.__main__ import main\n\nsys.exit(main(sys.argv[1:]))\n'
_PARENT = '"""Only the agent of fleet-tui is in this archive."""\n'
_EPOCH = (1980, 1, 1, 0, 0, 0)


@lru_cache(maxsize=1)
def agent_archive() -> bytes:
    """The ``.pyz`` of the installed agent. Its modules keep their names, so a trace reads as in the sources."""
    sources = {"__main__.py": _ENTRY.encode(), "fleet_tui/__init__.py": _PARENT.encode()}
    for entry in files("fleet_tui.agent").iterdir():
        if entry.name.endswith(".py"):
            sources[f"fleet_tui/agent/{entry.name}"] = entry.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(sources):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, sources[name])
    return buffer.getvalue()


def place_agent(target: Path) -> str:
    """Have the agent's archive at ``target``; written only when something else is there. Gives its SHA-256."""
    content = agent_archive()
    if not target.exists() or target.read_bytes() != content:
        place(target, content, 0o644)
    return hashlib.sha256(content).hexdigest()


def place(target: Path, content: bytes, mode: int) -> None:
    """Write a file under another name, then rename it: a crash leaves the old one or the new one."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).rename(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

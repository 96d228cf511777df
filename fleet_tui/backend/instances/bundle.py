"""Application bundles: a tar with an ``application.toml`` that says what it is and how to run it."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fleet_tui.backend.errors import InvalidInput, Problem

MANIFEST = "application.toml"
_SIZE_LIMIT = 16 * 1024**3
_COUNT_LIMIT = 500_000
_MANIFEST_LIMIT = 256 * 1024
_COMMAND_LIMIT = 4096
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_VERSION = re.compile(r"\d+(\.\d+){0,4}([-+.][A-Za-z0-9][A-Za-z0-9.-]{0,30})?\Z")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself. Commands are shell text, run in the unpacked bundle; empty means there is none."""

    name: str
    version: str
    start: str
    """Runs in the foreground and opens ``$FLEET_PORT``."""
    install: str = ""
    """Prepares a blank data disk; may be run again after a failure."""
    upgrade: str = ""
    """Brings the data of ``$FLEET_PREVIOUS_VERSION`` to this version; may be run again after a failure."""
    stop: str = ""
    """Asks the process ``$FLEET_PID`` to end; without it SIGTERM does."""
    reload: str = ""
    """Has the process ``$FLEET_PID`` read its certificate again; without it the application is restarted when that was renewed."""
    health: str = ""
    """Path that answers 2xx or 3xx while all is well; empty: an open port is enough."""
    port: int = 8080
    """Used when the instance is given none."""

    def as_document(self) -> dict[str, Any]:
        """As the start-up document has it."""
        return asdict(self)


def read_manifest(path: Path) -> Manifest:
    """Check a bundle and read what it is.

    Raises:
        InvalidInput: it is no tar, has an entry that could leave its folder, or its manifest is wrong; all field problems at once.
    """
    try:
        with tarfile.open(path) as archive:
            return _manifest(_checked(archive, path), path)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidInput(
            f"{path} cannot be read as an application bundle: {error}", problems=[Problem("path", "is not a readable tar file")],
            hint="make it with `tar -cf bundle.tar -C FOLDER .`",
        ) from error


def digest(path: Path) -> str:
    """SHA-256 of a bundle, by which the machine knows that it has the right one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(folder: Path, target: Path) -> Manifest:
    """Make a bundle of a folder: the same bytes for the same content, placed whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in _content(folder):
                _add(archive, path, str(path.relative_to(folder)))
            file.flush()
        manifest = read_manifest(fresh)
        fresh.chmod(0o644)
        fresh.rename(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return manifest


def _content(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    info = archive.gettarinfo(path, name)
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    if info.islnk():  # a second name of a file already added: carried as a file of its own
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
    archive.addfile(info, io.BytesIO(path.read_bytes()) if info.isreg() else None)


def _checked(archive: tarfile.TarFile, path: Path) -> str:
    """Text of the manifest, after a look at every entry."""
    text: str | None = None
    problems: list[Problem] = []
    size = count = 0
    for member in archive:
        if complaint := _complaint(member):
            problems.append(Problem("path", f"{member.name!r} {complaint}"))
        count, size = count + 1, size + member.size
        if count > _COUNT_LIMIT or size > _SIZE_LIMIT:
            problems.append(Problem("path", f"holds more than {_COUNT_LIMIT} entries or {_SIZE_LIMIT} bytes"))
            break
        if PurePosixPath(member.name) == PurePosixPath(MANIFEST) and member.isreg() and member.size <= _MANIFEST_LIMIT:
            file = archive.extractfile(member)
            text = file.read().decode("utf-8", "replace") if file else None
    if text is None:
        problems.append(Problem(MANIFEST, "is missing at the top of the bundle"))
    if problems or text is None:
        raise InvalidInput(f"{path.name} is not an acceptable application bundle", problems=problems[:20])
    return text


def _complaint(member: tarfile.TarInfo) -> str:
    """What makes an entry dangerous; empty when nothing does."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        return "leads outside the bundle"
    if member.issym():
        if member.linkname.startswith("/"):
            return "is an absolute link"
        inside = os.path.normpath(str(name.parent / member.linkname))
        return "is a link that leads outside the bundle" if inside == ".." or inside.startswith("../") else ""
    if member.islnk():
        return "is a hard link; only files, folders and symbolic links are taken"
    return "" if member.isreg() or member.isdir() else "is a device or pipe; only files, folders and symbolic links are taken"


def _manifest(text: str, path: Path) -> Manifest:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{MANIFEST} of {path.name} is not TOML: {error}", problems=[Problem(MANIFEST, str(error))]) from error
    problems = [Problem(key, f"is not known; known are {', '.join(_FIELDS)}") for key in values if key not in _FIELDS]
    for key, (is_needed, check) in _FIELDS.items():
        if key not in values:
            if is_needed:
                problems.append(Problem(key, "is missing"))
        elif complaint := check(values[key]):
            problems.append(Problem(key, complaint))
    if problems:
        raise InvalidInput(f"{MANIFEST} of {path.name} is not acceptable", problems=problems)
    return Manifest(**values)


def _matches(pattern: re.Pattern[str], words: str) -> Callable[[Any], str]:
    return lambda value: "" if isinstance(value, str) and pattern.match(value) else f"must be {words}"


def _command(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _COMMAND_LIMIT or "\0" in value:
        return f"must be shell text of at most {_COMMAND_LIMIT} characters"
    return ""


def _start(value: Any) -> str:
    return _command(value) or ("" if value.strip() else "must not be empty")


def _port(value: Any) -> str:
    is_port = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
    return "" if is_port else "must be a whole number from 1 to 65535"


_FIELDS: Mapping[str, tuple[bool, Callable[[Any], str]]] = {
    "name": (True, _matches(_NAME, "1 to 63 lower-case letters, digits, dots, dashes or underscores")),
    "version": (True, _matches(_VERSION, "numbers with dots, such as 1.4.0 or 2.0-rc1")),
    "install": (False, _command),
    "upgrade": (False, _command),
    "start": (True, _start),
    "stop": (False, _command),
    "reload": (False, _command),
    "health": (False, _matches(re.compile(r"(/[\x21-\x7e]{0,200})?\Z"), "a path that begins with /")),
    "port": (False, _port),
}
"""Key -> whether it is needed, and what is wrong with a value."""

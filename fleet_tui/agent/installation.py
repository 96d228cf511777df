"""Bringing the application onto the machine: unpack the bundle, then install or upgrade what the data disk holds."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import time
from pathlib import Path, PurePosixPath
from typing import Any

from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import read_json, write_json
from fleet_tui.agent.lines import first_line
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.shell import run, told_status

_PHASE = "install-or-upgrade"
_SIZE_LIMIT = 16 * 1024**3
_COUNT_LIMIT = 500_000


def install_or_upgrade(machine: Machine) -> None:
    """Phase ``install-or-upgrade``: absent is installed, older is upgraded, equal is left, newer stops.

    Raises:
        Failure: a damaged bundle, a failing script, or data of a newer version.
    """
    say = machine.sayer(_PHASE)
    name, version = str(machine.application["name"]), str(machine.application["version"])
    found = _recorded(machine)
    if found.get("name", name) != name:
        raise Failure(f"the data disk holds data of {found['name']} {found.get('version')}, not of {name}; choose an image of it")
    held = str(found.get("version", ""))
    if held and version_order(held) > version_order(version):
        raise Failure(
            f"the data disk holds data of {name} {held}, which is newer than the image's {version}; nothing was changed. "
            f"Choose an image of {held} or later, or go back to a snapshot made before the upgrade"
        )
    _unpack(machine)
    if not held:
        say(f"installing {name} {version}")
        _script(machine, "install", "")
    elif held != version and version_order(held) < version_order(version):
        say(f"upgrading {name} from {held} to {version}")
        _script(machine, "upgrade", held)
    else:
        say(f"{name} {version} is installed; its data is left as it is")
    if held != version:
        record = {"name": name, "version": version, "previous": held, "since": int(time.time())}
        write_json(machine.disk.version, record, 0o644)
    machine.standing.set_facts(application=name, installed_version=version)


def _recorded(machine: Machine) -> dict[str, Any]:
    try:
        return read_json(machine.disk.version)
    except ValueError as error:
        raise Failure(f"the version record {machine.disk.version} cannot be read: {error}") from error


def _script(machine: Machine, verb: str, previous: str) -> None:
    command = str(machine.application.get(verb) or "")
    say = machine.sayer(_PHASE)
    if not command:
        say(f"the bundle has no {verb} script")
        return
    say(f"{verb}: {first_line(command)}")
    status = run(
        command, folder=machine.layout.application, environment=machine.surroundings(FLEET_PREVIOUS_VERSION=previous),
        timeout_s=machine.timeout("install_s", 1800.0), say=say, stopped=machine.stopped,
    )
    if status != 0:
        raise Failure(f"the {verb} script ended with {told_status(status)}; its output is in the log")


def version_order(version: str) -> tuple[object, ...]:
    """Sorts versions by their numbers; one with a word after them (``-rc1``) comes before the plain one."""
    plain = version.partition("+")[0]
    numbers = re.match(r"[\d.]*", plain)
    release = [int(number) for number in re.findall(r"\d+", numbers[0] if numbers else "")]
    while release and release[-1] == 0:
        release.pop()
    words = re.findall(r"\d+|[A-Za-z]+", plain[numbers.end() if numbers else 0 :])
    early = tuple((1, int(word), "") if word.isdigit() else (0, 0, word.lower()) for word in words)
    return tuple(release), not early, early


def _unpack(machine: Machine) -> None:
    """Put the bundle's content in the application folder, whole or not at all."""
    layout, wanted = machine.layout, str(machine.application.get("bundle_sha256") or "")
    try:
        digest = _digest(layout.bundle)
    except OSError as error:
        raise Failure(f"the application bundle cannot be read: {error}; reprovision the instance") from error
    if wanted and digest != wanted:
        raise Failure(f"the bundle on the machine is not the registered one (sha256 {digest[:12]}, not {wanted[:12]}); provision again")
    if layout.application.is_dir() and read_json(layout.unpacked).get("sha256") == digest:
        return
    fresh, old = layout.folder / ".application.new", layout.folder / ".application.old"
    for folder in (fresh, old):
        if folder.exists():
            shutil.rmtree(str(folder))
    fresh.mkdir(mode=0o700)
    try:
        count = _extract(layout.bundle, fresh)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Failure(f"the application bundle cannot be unpacked: {error}") from error
    if layout.unpacked.exists():
        layout.unpacked.unlink()
    if layout.application.exists():
        os.rename(layout.application, old)
    os.rename(fresh, layout.application)
    write_json(layout.unpacked, {"sha256": digest})
    shutil.rmtree(str(old), ignore_errors=True)
    machine.journal.say(_PHASE, f"unpacked {count} files of the bundle, sha256 {digest[:12]}")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1024 * 1024), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _extract(bundle: Path, target: Path) -> int:
    """Files, folders and links that stay inside; links come last, so nothing is ever written through one."""
    links: list[tuple[Path, str]] = []
    count = size = 0
    with tarfile.open(str(bundle)) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise Failure(f"the bundle has a path that leads outside: {member.name!r}")
            place = target.joinpath(*path.parts)
            count, size = count + 1, size + member.size
            if count > _COUNT_LIMIT or size > _SIZE_LIMIT:
                raise Failure(f"the bundle is too large: more than {_COUNT_LIMIT} entries or {_SIZE_LIMIT} bytes")
            if member.isdir():
                place.mkdir(mode=0o755, parents=True, exist_ok=True)
            elif member.isfile():
                _write_member(archive, member, place)
            elif member.issym():
                _check_link(path, member.linkname)
                links.append((place, member.linkname))
            else:
                raise Failure(f"the bundle has an entry that is no file, folder or symbolic link: {member.name!r}")
    for place, aim in links:
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.symlink(aim, str(place))
    return count


def _check_link(path: PurePosixPath, aim: str) -> None:
    if aim.startswith("/"):
        raise Failure(f"the bundle has an absolute link: {str(path)!r}")
    inside = os.path.normpath(str(path.parent / aim))
    if inside == ".." or inside.startswith("../"):
        raise Failure(f"the bundle has a link that leads outside: {str(path)!r}")


def _write_member(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    source = archive.extractfile(member)
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle = os.open(str(place), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        if source is not None:
            shutil.copyfileobj(source, file, 1024 * 1024)
        os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)

"""The action ``install_db_driver``: fetch a driver once, check it, and take out of its archive what is wanted."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Any, Callable, Mapping, Sequence

from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import read_json, write_json
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.shell import run, told_status

Say = Callable[[str], None]

_LIMIT = 2 * 1024**3
_CHUNK = 1024 * 1024


def install_db_driver(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    """Have the driver in ``$FLEET_DRIVERS/<database>``.

    Raises:
        Failure: it cannot be fetched, is not the one it is to be, or its archive lacks what is wanted.
    """
    database, url = str(parameters["database"]), str(parameters["url"])
    wanted = [str(path).strip("/") for path in parameters.get("paths") or ()]
    folder = machine.layout.drivers / database
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    order = {"url": url, "paths": wanted, "sha256": str(parameters.get("sha256") or "").lower()}
    mark = folder / f".{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
    done = read_json(mark)
    if {**order, "files": done.get("files")} == done and all((folder / name).exists() for name in done.get("files") or ()):
        say(f"the {database} driver is there already: {', '.join(done['files'])}")
        return
    handle, name = tempfile.mkstemp(prefix=".fetched.", dir=str(folder))
    os.close(handle)
    fetched = Path(name)
    try:
        say(f"fetching {url}")
        _fetch(machine, url, parameters, fetched, say)
        digest = _digest(fetched)
        if order["sha256"] and digest != order["sha256"]:
            raise Failure(f"what was fetched from {url} is not the driver that is wanted: its SHA-256 is {digest}")
        files = _taken_out(fetched, wanted, folder) if wanted else [_whole(fetched, url, folder)]
    finally:
        if fetched.exists():
            fetched.unlink()
    write_json(mark, {**order, "files": files})
    say(f"the {database} driver is in {folder}: {', '.join(files)} (sha256 {digest[:12]})")


def _fetch(machine: Machine, url: str, parameters: Mapping[str, Any], target: Path, say: Say) -> None:
    scheme = url.partition(":")[0]
    if scheme == "s3":
        _fetch_s3(machine, url, parameters, target, say)
        return
    request = urllib.request.Request(url)
    # Not sent on to where a redirect leads: that is somebody else.
    for name, value in dict(parameters.get("headers") or {}).items():
        request.add_unredirected_header(str(name), str(value))
    user, password = str(parameters.get("username") or ""), str(parameters.get("password") or "")
    if user or password:
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    try:
        with _opener(machine, url).open(request, timeout=60) as answer, target.open("wb") as file:
            _copy(machine, answer, file)
    except urllib.error.HTTPError as error:
        raise Failure(f"{url} answered {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise Failure(f"{url} cannot be fetched: {getattr(error, 'reason', None) or error}") from None


def _opener(machine: Machine, url: str) -> urllib.request.OpenerDirector:
    """Through the proxy that an earlier action set up, unless the host is one of its exceptions."""
    host = urllib.parse.urlsplit(url).hostname or ""
    environment = machine.environment
    around = urllib.request.proxy_bypass_environment(host, {"no": environment.get("no_proxy", "")})  # type: ignore[attr-defined]
    proxies = {} if around else {"https": environment["https_proxy"]} if environment.get("https_proxy") else {}
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies))


def _copy(machine: Machine, source: Any, file: IO[bytes]) -> None:
    size = 0
    while True:
        machine.check()
        data = source.read(_CHUNK)
        if not data:
            return
        size += len(data)
        if size > _LIMIT:
            raise Failure(f"the file is larger than {_LIMIT // 1024**3} GiB")
        file.write(data)


def _fetch_s3(machine: Machine, url: str, parameters: Mapping[str, Any], target: Path, say: Say) -> None:
    program = shutil.which("aws", path=machine.environment.get("PATH"))
    if program is None:
        raise Failure("an s3:// URL needs the program `aws` on the machine; install the package awscli before this action, or give an https URL")
    user, password = str(parameters.get("username") or ""), str(parameters.get("password") or "")
    keys = {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": password} if user and password else {}
    command = f"exec {shlex.quote(program)} s3 cp --only-show-errors {shlex.quote(url)} {shlex.quote(str(target))}"
    status = run(
        command, folder=machine.layout.folder, environment={**machine.surroundings(), **keys}, timeout_s=machine.timeout("action_s", 600.0), say=say,
        stopped=machine.stopped,
    )
    if status != 0:
        raise Failure(f"aws s3 cp ended with {told_status(status)}; its output is in the log")


def _whole(fetched: Path, url: str, folder: Path) -> str:
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    if not name or name.startswith("."):
        raise Failure(f"{url} does not end with the name of a file")
    _place(fetched, folder / name)
    return name


def _taken_out(fetched: Path, wanted: Sequence[str], folder: Path) -> list[str]:
    """Members of a zip or tar that are named, or lie in a folder that is; each by its own name alone, so nothing leads elsewhere."""
    files: list[str] = []
    found: set[str] = set()
    if zipfile.is_zipfile(str(fetched)):
        with zipfile.ZipFile(str(fetched)) as archive:
            for info in archive.infolist():
                if not info.is_dir() and (path := _of_wanted(info.filename, wanted)):
                    found.add(path)
                    with archive.open(info) as member_file:
                        files.append(_out(member_file, info.filename, folder))
    elif tarfile.is_tarfile(str(fetched)):
        with tarfile.open(str(fetched)) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None and (path := _of_wanted(member.name, wanted)):
                    found.add(path)
                    files.append(_out(content, member.name, folder))
    else:
        raise Failure("what was fetched is neither a zip nor a tar archive; leave the paths out if it is the driver itself")
    if lost := [path for path in wanted if path not in found]:
        raise Failure(f"the archive has no {lost[0]}")
    return sorted(set(files))


def _of_wanted(name: str, wanted: Sequence[str]) -> str:
    """The path it was wanted by: its own, or that of a folder it lies in; empty when it is not wanted."""
    plain = name[2:] if name.startswith("./") else name
    return next((path for path in wanted if plain == path or plain.startswith(f"{path}/")), "")


def _out(source: IO[bytes], member: str, folder: Path) -> str:
    name = PurePosixPath(member).name
    if not name or name.startswith("."):
        raise Failure(f"the archive has a file named {member!r}, which is not taken")
    handle, part = tempfile.mkstemp(prefix=".part.", dir=str(folder))
    with os.fdopen(handle, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    _place(Path(part), folder / name)
    return name


def _place(part: Path, target: Path) -> None:
    part.chmod(0o644)
    os.rename(part, target)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()

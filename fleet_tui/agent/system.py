"""Actions that change the machine as a whole: packages, keys of its user, trusted CAs. Only where the instance has it to itself."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from fleet_tui.agent.failures import Failure
from fleet_tui.agent.layout import write
from fleet_tui.agent.machine import Machine
from fleet_tui.agent.shell import run, told_status

Say = Callable[[str], None]

_MANAGERS: Mapping[str, tuple[str, str, str]] = {
    "apt-get": (
        "dpkg-query -W -f '${{db:Status-Status}} ${{Version}}' {name}", "apt-get -q update",
        "apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install {names}",
    ),
    "dnf": ("rpm -q --qf 'installed %{{VERSION}}-%{{RELEASE}}' {name}", "", "dnf -q -y install {names}"),
    "yum": ("rpm -q --qf 'installed %{{VERSION}}-%{{RELEASE}}' {name}", "", "yum -q -y install {names}"),
    "zypper": ("rpm -q --qf 'installed %{{VERSION}}-%{{RELEASE}}' {name}", "", "zypper -q -n install {names}"),
    "apk": ("apk info -e {name} && echo installed", "apk -q update", "apk -q add {names}"),
}
"""Program -> how it tells that a package is there (``installed`` and the version), how it learns what there is, how it installs."""
_STORES: Sequence[tuple[str, str]] = (
    ("usr/local/share/ca-certificates", "update-ca-certificates"), ("etc/pki/ca-trust/source/anchors", "update-ca-trust"),
    ("etc/pki/trust/anchors", "update-ca-certificates"),
)
_FONTS: Mapping[str, tuple[str, ...]] = {
    "apt-get": ("fonts-dejavu-core", "fonts-liberation"), "dnf": ("dejavu-sans-fonts", "liberation-fonts"),
    "yum": ("dejavu-sans-fonts", "liberation-fonts"), "zypper": ("dejavu-fonts", "liberation-fonts"), "apk": ("font-dejavu", "font-liberation"),
}
_BROWSERS: Mapping[str, Sequence[str]] = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def install_packages(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    """Install those that are not there yet. Raises Failure where nothing installs packages, or it fails."""
    _install(machine, [str(name) for name in parameters["packages"]], say)


def graphics_export(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    """A browser and fonts; ``FLEET_BROWSER`` says where the browser is."""
    manager, wanted = _manager(machine), str(parameters.get("browser") or "chromium")
    names = _BROWSERS[wanted]
    if not any(_which(machine, name) for name in names):
        _install(machine, ["firefox-esr" if wanted == "firefox" and manager == "apt-get" else names[-1] if wanted == "firefox" else names[0]], say)
    _install(machine, [*_FONTS[manager], *(str(name) for name in parameters.get("fonts") or ())], say)
    found = next((path for path in (_which(machine, name) for name in names) if path), None)
    if found is None:
        raise Failure(f"{wanted} is installed but none of the programs {', '.join(names)} is there")
    machine.environment["FLEET_BROWSER"] = found
    say(f"the browser is {found}")


def add_ssh_key(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    """A private key for what the machine fetches over SSH."""
    name = str(parameters.get("file") or "id_fleet")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
        raise Failure(f"{name!r} is not the name of a file")
    path, text = ssh_folder(machine) / name, str(parameters["private_key"]).strip() + "\n"
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") == text:
        path.chmod(0o600)
        say(f"{path} is as it is to be")
        return
    write(path, text, 0o600)
    say(f"{path} written")


def add_ca_to_truststore(machine: Machine, parameters: Mapping[str, Any], say: Say) -> None:
    """Certificates of CAs that the whole machine trusts from now on."""
    certificates = _CERTIFICATE.findall(str(parameters["certificates"]))
    if not certificates:
        raise Failure("no PEM certificate is in it")
    stores = ((machine.root / folder, program) for folder, program in _STORES)
    found = next(((folder, program) for folder, program in stores if folder.is_dir() and _which(machine, program)), None)
    if found is None:
        raise Failure(f"this machine has no trust store that is known here ({', '.join(folder for folder, _ in _STORES)}); install ca-certificates")
    folder, program = found
    fresh = 0
    for text in certificates:
        path = folder / f"fleet-{hashlib.sha256(text.encode()).hexdigest()[:16]}.crt"
        if not path.exists():
            write(path, text + "\n", 0o644)
            fresh += 1
    say(f"{fresh} of {len(certificates)} certificates are new in {folder}")
    _run(machine, program, say)


def ssh_folder(machine: Machine) -> Path:
    """``~/.ssh`` of the user the agent is, as SSH itself finds it; made when it is not there."""
    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    folder = machine.root / home.relative_to("/") / ".ssh"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _install(machine: Machine, names: Sequence[str], say: Say) -> None:
    manager = _manager(machine)
    asks, learns, installs = _MANAGERS[manager]
    missing = [name for name in names if not _has(machine, asks, name)]
    if not missing:
        say(f"{', '.join(names)}: there already")
        return
    if learns:
        _run(machine, learns, say)
    separator = "=" if manager in ("apt-get", "apk", "zypper") else "-"
    words = " ".join(shlex.quote(name.replace("=", separator, 1)) for name in missing)
    say(f"{manager} installs {', '.join(missing)}")
    _run(machine, installs.format(names=words), say, DEBIAN_FRONTEND="noninteractive")


def _has(machine: Machine, asks: str, name: str) -> bool:
    plain, _, version = name.partition("=")
    lines: list[str] = []
    quiet = run(
        asks.format(name=shlex.quote(plain)) + " 2>/dev/null", folder=machine.layout.folder, environment=machine.surroundings(), timeout_s=60.0,
        say=lines.append, stopped=machine.stopped,
    )
    told = " ".join(lines)
    return quiet == 0 and told.startswith("installed") and (not version or version in told.split()[1:])


def _manager(machine: Machine) -> str:
    found = next((name for name in _MANAGERS if _which(machine, name)), None)
    if found is None:
        raise Failure(f"this machine has none of {', '.join(_MANAGERS)}: packages cannot be installed")
    return found


def _which(machine: Machine, program: str) -> str:
    path = f"{machine.environment.get('PATH', '')}:/usr/sbin:/sbin"
    return shutil.which(program, path=path) or ""


def _run(machine: Machine, command: str, say: Say, **more: str) -> None:
    program, _, rest = command.partition(" ")
    environment = {**machine.surroundings(), **more}
    environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin:/sbin"
    timeout = machine.timeout("install_s", 1800.0)
    status = run(f"exec {program} {rest}".rstrip(), folder=machine.layout.folder, environment=environment, timeout_s=timeout, say=say,
                 stopped=machine.stopped)
    if status != 0:
        raise Failure(f"{program} ended with {told_status(status)}; its output is in the log")
